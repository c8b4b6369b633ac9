// The packed convolutions for AVX-512.
#include "packed.inl.h"
