// Multi-tensor optimiser updates for any machine.
#include "optimizer.inl.h"
#include "rmsprop.inl.h"
#include "sgd.inl.h"
