// Places of extremes for AVX2.
#include "arg_reduce.inl.h"
