// Philox one block at a time, as its paper writes it; the oracle of the vector code. The transform
// to normals is the specified sequence of operations in random/philox.h, here on portable vectors.
#include "../kernel.h"
#include "../params.generated.h"
#include "philox.h"

namespace figment {
namespace {

struct Block {
  uint32_t word[4];
};

Block philoxBlock(const Stream& stream, uint64_t block) {
  const uint64_t counter = stream.counter + block;
  Block x = {{uint32_t(counter), uint32_t(counter >> 32), 0, 0}};
  uint32_t key0 = stream.key0, key1 = stream.key1;
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * x.word[0];
    const uint64_t p1 = uint64_t(0xCD9E8D57u) * x.word[2];
    x = {{uint32_t(p1 >> 32) ^ x.word[1] ^ key0, uint32_t(p1),
          uint32_t(p0 >> 32) ^ x.word[3] ^ key1, uint32_t(p0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

void uniformBlock(const Block& x, float* out) {
  for (int i = 0; i < 4; i++) out[i] = float(x.word[i] >> 8) * 0x1p-24f;
}

void normalBlock(const Block& x, float* out) {
  for (int pair = 0; pair < 4; pair += 2) {
    const generic::NormalPair z =
        generic::boxMuller(generic::I32::broadcast(int32_t(x.word[pair])),
                           generic::I32::broadcast(int32_t(x.word[pair + 1])));
    out[pair] = z.cos.v[0];
    out[pair + 1] = z.sin.v[0];
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

template <auto transform>
constexpr Variant variantOf(const char* op) {
  return {.op = op,
          .name = "reference",
          .isa = Isa::generic,
          .supports = [](const OpCall&) { return kReferencePreference; },
          .scratch = nullptr,
          .run = run<transform>};
}
const RegisterVariant registerUniform{variantOf<uniformBlock>("randomUniform")};
const RegisterVariant registerNormal{variantOf<normalBlock>("randomNormal")};

}  // namespace
}  // namespace figment
