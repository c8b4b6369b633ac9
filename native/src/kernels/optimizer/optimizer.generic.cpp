// Multi-tensor optimiser updates for any machine.
#include "optimizer.inl.h"
