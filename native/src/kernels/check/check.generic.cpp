// checkFinite for any machine.
#include "check.inl.h"
