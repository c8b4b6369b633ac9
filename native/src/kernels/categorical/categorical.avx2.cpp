// Draws of categories in AVX2.
#include "categorical.inl.h"
