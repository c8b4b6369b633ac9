// biasAct and its derivative for AVX2.
#include "bias_act.inl.h"
