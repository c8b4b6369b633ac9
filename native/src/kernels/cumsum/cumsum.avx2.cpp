// Running sums for AVX2.
#include "cumsum.inl.h"
