// The packed convolutions for AVX2.
#include "packed.inl.h"
