// biasAct and its derivative for any machine.
#include "bias_act.inl.h"
