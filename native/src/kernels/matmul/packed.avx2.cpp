// The fast matmuls for AVX2.
#include "outer.inl.h"
#include "packed.inl.h"
