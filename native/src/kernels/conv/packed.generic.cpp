// The packed convolutions for any machine.
#include "packed.inl.h"
