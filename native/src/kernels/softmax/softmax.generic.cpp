// softmax, its logarithm and their derivatives for any machine.
#include "softmax.inl.h"
