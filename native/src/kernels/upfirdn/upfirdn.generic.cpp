// upfirdn2d for any machine.
#include "upfirdn.inl.h"
