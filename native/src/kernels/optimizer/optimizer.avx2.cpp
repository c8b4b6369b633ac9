// Multi-tensor optimiser updates for AVX2.
#include "optimizer.inl.h"
