// Winograd's convolutions for AVX2.
#include "winograd_variants.inl.h"
