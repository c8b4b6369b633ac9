// The fast matmuls for any machine.
#include "outer.inl.h"
#include "packed.inl.h"
