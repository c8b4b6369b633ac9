// Places of extremes for AVX-512.
#include "arg_reduce.inl.h"
