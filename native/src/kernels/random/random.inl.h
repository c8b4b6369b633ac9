// Uniforms and normals by the draw; included by one file for each instruction set.
#pragma once

#include "../kernel.h"
#include "normal.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Fills `out` with elements [first, first + count) of a stream; `first` is a multiple of 4. The
/// stream is a copy, which no store can change, so that its key stays in vectors.
template <auto pairOf, bool kStream>
void fill(Stream stream, int64_t first, float* out, int64_t count) {
  int64_t i = 0;
  for (; i + kNormals <= count; i += kNormals)
    drawElements<pairOf, kStream>(stream, uint64_t(first + i) / 4, out + i);
  if (kStream) streamFence();
  if (i == count) return;
  float last[kNormals];
  drawElements<pairOf>(stream, uint64_t(first + i) / 4, last);
  __builtin_memcpy(out + i, last, size_t(count - i) * sizeof(float));
}

template <auto pairOf>
void runRandom(const OpCall& call, Context& context) {
  const Stream stream = Stream::fromState(call.in[0].as<int32_t>());
  const int64_t count = call.out[0].elements();
  float* out = call.out[0].as<float>();
  constexpr int64_t kGrain = 16384;  // elements; a multiple of every kNormals
  const bool past = worthStreaming(out, count * int64_t(sizeof(float)));
  context.parallelFor(count, kGrain, [&](int64_t begin, int64_t end, int) {
    const auto fillPart = past ? fill<pairOf, true> : fill<pairOf, false>;
    fillPart(stream, begin, out + begin, end - begin);
  });
  stream.advance(count, call.out[1].as<int32_t>());
}

/// Constant-initialised: registering must not run instructions that the machine may lack.
constexpr Variant uniformVariant(const char* name, Isa isa, int (*preference)(const OpCall&)) {
  return {.op = "randomUniform",
          .name = name,
          .isa = isa,
          .supports = preference,
          .scratch = nullptr,
          .run = runRandom<uniformPair>};
}
constexpr Variant normalVariant(const char* name, Isa isa, int (*preference)(const OpCall&)) {
  return {.op = "randomNormal",
          .name = name,
          .isa = isa,
          .supports = preference,
          .scratch = nullptr,
          .run = runRandom<boxMuller>};
}

}  // namespace
}  // namespace figment::FIGMENT_ISA
