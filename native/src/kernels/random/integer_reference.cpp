// Whole numbers one at a time.
#include "../params/randomInteger.generated.h"
#include "../reference.h"
#include "block.h"

namespace figment {
namespace {

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<RandomIntegerParams>();
  const Stream stream = Stream::fromState(call.in[0].as<int32_t>());
  int32_t* out = call.out[0].as<int32_t>();
  const uint64_t range = uint64_t(p.hi - p.lo);
  constexpr int64_t kGrain = 8192;
  context.parallelFor(p.count, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const uint64_t word = wideWord(stream, i);
      const uint64_t carried = (word & UINT32_MAX) * range >> 32;
      out[i] = int32_t(p.lo + int64_t(((word >> 32) * range + carried) >> 32));
    }
  });
  stream.advance(2 * p.count, call.out[1].as<int32_t>());
}

const RegisterVariant registerVariant{referenceVariant("randomInteger", run)};

}  // namespace
}  // namespace figment
