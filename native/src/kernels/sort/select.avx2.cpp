// The first few of long rows for AVX2.
#include "select.inl.h"
