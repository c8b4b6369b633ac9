// Draws of categories in AVX-512.
#include "categorical.inl.h"
