// softmax and its derivative for AVX2.
#include "softmax.inl.h"
