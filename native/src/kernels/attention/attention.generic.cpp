// Attention and its derivative for any machine.
#include "attention.inl.h"
#include "attention_grad.inl.h"
#include "decode.inl.h"
