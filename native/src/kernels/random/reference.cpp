// Uniforms and normals one block at a time; the oracle of the vector code. The transform to
// normals is the specified sequence of operations in random/normal.h, here on portable vectors.
#include "../reference.h"

#include "block.h"
#include "normal.h"

namespace figment {
namespace {

void uniformBlock(const Block& x, float* out) {
  for (int i = 0; i < 4; i++) out[i] = float(x.word[i] >> 8) * 0x1p-24f;
}

void normalBlock(const Block& x, float* out) {
  for (int pair = 0; pair < 4; pair += 2) {
    const generic::Pair z = generic::boxMuller(generic::I32::broadcast(int32_t(x.word[pair])),
                                               generic::I32::broadcast(int32_t(x.word[pair + 1])));
    out[pair] = z.first.v[0];
    out[pair + 1] = z.second.v[0];
  }
}

template <auto transform>
void run(const OpCall& call, Context& context) {
  const Stream stream = Stream::fromState(call.in[0].as<int32_t>());
  const int64_t count = call.out[0].elements();
  float* out = call.out[0].as<float>();
  constexpr int64_t kGrainBlocks = 4096;
  context.parallelFor((count + 3) / 4, kGrainBlocks, [&](int64_t begin, int64_t end, int) {
    for (int64_t block = begin; block < end; block++) {
      float element[4];
      transform(philoxBlock(stream, uint64_t(block)), element);
      for (int i = 0; i < 4 && 4 * block + i < count; i++) out[4 * block + i] = element[i];
    }
  });
  stream.advance(count, call.out[1].as<int32_t>());
}

const RegisterVariant registerUniform{referenceVariant("randomUniform", run<uniformBlock>)};
const RegisterVariant registerNormal{referenceVariant("randomNormal", run<normalBlock>)};

}  // namespace
}  // namespace figment
