// softmax, its logarithm and their derivatives for AVX2.
#include "softmax.inl.h"
