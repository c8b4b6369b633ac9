// Group normalisation and its derivative for any machine.
#include "group_norm.inl.h"
#include "group_norm_grad.inl.h"
