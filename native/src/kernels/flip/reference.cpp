// flip element by element.
#include "../reference.h"

#include <cstring>

#include "../params/flip.generated.h"

namespace figment {
namespace {

void flip(const OpCall& call, Context&) {
  const Operand& x = call.in[0];
  const int32_t axes = call.as<FlipParams>().axes;
  const size_t width = formatBytes(x.format);
  const int64_t count = x.elements();
  for (int64_t e = 0; e < count; e++) {
    int64_t rest = e, from = 0, stride = 1;
    for (int i = x.rank - 1; i >= 0; i--) {
      const int64_t place = rest % x.dims[i];
      from += ((axes >> i & 1) != 0 ? x.dims[i] - 1 - place : place) * stride;
      rest /= x.dims[i];
      stride *= x.dims[i];
    }
    std::memcpy(call.out[0].as<char>() + size_t(e) * width, x.as<char>() + size_t(from) * width,
                width);
  }
}

const RegisterVariant registerFlip{referenceVariant("flip", flip)};

}  // namespace
}  // namespace figment
