// Running sums for any machine.
#include "cumsum.inl.h"
