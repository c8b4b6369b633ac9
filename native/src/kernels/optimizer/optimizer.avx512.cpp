// Multi-tensor optimiser updates for AVX-512.
#include "optimizer.inl.h"
#include "rmsprop.inl.h"
#include "sgd.inl.h"
