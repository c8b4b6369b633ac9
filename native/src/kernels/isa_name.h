// The instruction set that a file is compiled for, as its variants are named after it.
#pragma once

#include "kernel.h"
#include "simd/vec.h"

#define FIGMENT_TEXT_(text) #text
#define FIGMENT_TEXT(text) FIGMENT_TEXT_(text)

namespace figment::FIGMENT_ISA {

constexpr const char* kVariantName = FIGMENT_TEXT(FIGMENT_ISA);
constexpr Isa kVariantIsa = Isa(FIGMENT_LEVEL);

}  // namespace figment::FIGMENT_ISA
