// Group, batch, layer and RMS normalisation and their derivatives for any machine.
#include "group_norm.inl.h"
#include "group_norm_grad.inl.h"
#include "row_norm.inl.h"
#include "row_norm_grad.inl.h"
