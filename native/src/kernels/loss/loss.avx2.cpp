// Cross entropy and its derivative for AVX2.
#include "cross_entropy.inl.h"
