// Casts of many tensors for any machine.
#include "cast_all.inl.h"
