// softmax, its logarithm and their derivatives for AVX-512.
#include "softmax.inl.h"
