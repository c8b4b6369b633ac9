// The first few of long rows for AVX-512.
#include "select.inl.h"
