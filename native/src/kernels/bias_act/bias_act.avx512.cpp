// biasAct and its derivative for AVX-512.
#include "bias_act.inl.h"
