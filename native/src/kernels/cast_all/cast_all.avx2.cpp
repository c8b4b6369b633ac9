// Casts of many tensors for AVX2.
#include "cast_all.inl.h"
