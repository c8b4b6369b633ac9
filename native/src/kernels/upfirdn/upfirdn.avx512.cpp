// upfirdn2d for AVX-512.
#include "upfirdn.inl.h"
