// Random whole numbers in AVX-512.
#include "integer.inl.h"
