// Multi-tensor optimiser updates for AVX-512.
#include "optimizer.inl.h"
