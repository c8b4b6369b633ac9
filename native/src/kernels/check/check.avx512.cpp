// checkFinite for AVX-512.
#include "check.inl.h"
