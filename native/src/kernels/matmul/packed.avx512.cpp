// The fast matmuls for AVX-512.
#include "outer.inl.h"
#include "packed.inl.h"
