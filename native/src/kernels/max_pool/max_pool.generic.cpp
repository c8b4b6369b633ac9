// Max pooling, taking and its transpose for any machine.
#include "max_pool.inl.h"
