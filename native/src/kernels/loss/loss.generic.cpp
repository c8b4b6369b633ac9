// Cross entropy and its derivative for any machine.
#include "cross_entropy.inl.h"
