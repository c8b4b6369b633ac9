// The first few of long rows for any machine.
#include "select.inl.h"
