// Attention and its derivative for AVX-512.
#include "attention.inl.h"
#include "attention_grad.inl.h"
#include "decode.inl.h"
