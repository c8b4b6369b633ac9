// Bilinear resizing and its transpose for AVX2.
#include "bilinear.inl.h"
