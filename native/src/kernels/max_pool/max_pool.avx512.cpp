// Max pooling, taking and its transpose for AVX-512.
#include "max_pool.inl.h"
