// Running sums for AVX-512.
#include "cumsum.inl.h"
