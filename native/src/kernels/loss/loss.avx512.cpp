// Cross entropy and its derivative for AVX-512.
#include "cross_entropy.inl.h"
