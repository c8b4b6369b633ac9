// Winograd's convolutions for any machine.
#include "winograd_variants.inl.h"
