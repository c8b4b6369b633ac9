// softmax and its derivative for any machine.
#include "softmax.inl.h"
