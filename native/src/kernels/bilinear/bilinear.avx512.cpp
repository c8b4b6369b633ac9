// Bilinear resizing and its transpose for AVX-512.
#include "bilinear.inl.h"
