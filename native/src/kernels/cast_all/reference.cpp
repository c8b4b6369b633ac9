// The plain castAll, the oracle of the variants: element by element.
#include "../reference.h"

#include <cstring>

#include "../params/castAll.generated.h"
#include "../simd/half.h"

namespace figment {
namespace {

float read(const Operand& x, int64_t i) {
  if (x.format == Format::f32) return x.as<const float>()[i];
  const uint16_t bits = x.as<const uint16_t>()[i];
  return fromBits(x.format == Format::bf16 ? uint32_t(bits) << 16 : widenF16(bits));
}

void write(const Operand& y, int64_t i, float value) {
  if (y.format == Format::f32)
    y.as<float>()[i] = value;
  else
    y.as<uint16_t>()[i] =
        y.format == Format::bf16 ? narrowBf16(toBits(value)) : narrowF16(toBits(value));
}

void run(const OpCall& call, Context&) {
  for (int t = 0; t < call.inCount; t++) {
    const Operand &x = call.in[t], &y = call.out[t];
    const int64_t count = x.elements();
    if (count == 0) continue;
    if (x.format == y.format) {
      std::memcpy(y.data, x.data, size_t(count) * formatBytes(x.format));
      continue;
    }
    for (int64_t i = 0; i < count; i++) write(y, i, read(x, i));
  }
}

const RegisterVariant registrar{referenceVariant("castAll", run)};

}  // namespace
}  // namespace figment
