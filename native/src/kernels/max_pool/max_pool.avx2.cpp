// Max pooling, taking and its transpose for AVX2.
#include "max_pool.inl.h"
