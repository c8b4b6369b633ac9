// How the plain variant of an operation is registered: it runs every legal call, and is chosen when
// nothing else can.
#pragma once

#include "kernels/kernel.h"

namespace figment::cuda {

constexpr Variant plainVariant(const char* op, void (*run)(const OpCall&, Context&),
                               size_t (*scratch)(const OpCall&, int) = nullptr) {
  return {.op = op,
          .name = "plain",
          .isa = Isa::sm75,
          .supports = [](const OpCall&) { return kReferencePreference; },
          .scratch = scratch,
          .run = run};
}

}  // namespace figment::cuda
