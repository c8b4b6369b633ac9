// Group normalisation and its derivative for AVX2.
#include "group_norm.inl.h"
#include "group_norm_grad.inl.h"
