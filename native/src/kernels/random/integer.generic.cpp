// Random whole numbers in portable code.
#include "integer.inl.h"
