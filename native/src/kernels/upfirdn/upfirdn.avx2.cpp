// upfirdn2d for AVX2.
#include "upfirdn.inl.h"
