// Draws of categories in portable code.
#include "categorical.inl.h"
