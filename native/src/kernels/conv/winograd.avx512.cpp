// Winograd's convolutions for AVX-512.
#include "winograd_variants.inl.h"
