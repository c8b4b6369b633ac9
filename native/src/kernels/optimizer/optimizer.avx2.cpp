// Multi-tensor optimiser updates for AVX2.
#include "optimizer.inl.h"
#include "rmsprop.inl.h"
#include "sgd.inl.h"
