// softmax and its derivative for AVX-512.
#include "softmax.inl.h"
