// checkFinite for AVX2.
#include "check.inl.h"
