// Bilinear resizing and its transpose for any machine.
#include "bilinear.inl.h"
