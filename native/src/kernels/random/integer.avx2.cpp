// Random whole numbers in AVX2.
#include "integer.inl.h"
