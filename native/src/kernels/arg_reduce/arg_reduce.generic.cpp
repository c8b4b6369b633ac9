// Places of extremes for any machine.
#include "arg_reduce.inl.h"
