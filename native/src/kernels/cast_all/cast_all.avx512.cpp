// Casts of many tensors for AVX-512.
#include "cast_all.inl.h"
