// Attention of one query to many keys, as decoding token by token needs it: bound by reading k and
// v. Keys are taken in chunks with all heads at a time, in the order in which they lie in memory;
// the chunks' weighted values are merged in order by their maxima ("Flash-Decoding", Dao et al.,
// 2023). Scores are kept in units of log 2.
#pragma once

#include "../params/attention.generated.h"
#include "../simd/math.h"
#include "lengths.h"
#include "panel.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

constexpr int64_t kChunkKeys = 128;
/// Rows of values that are added together.
constexpr int kRows = 4;

struct DecodeCall {
  explicit DecodeCall(const OpCall& call)
      : p(call.as<AttentionParams>()),
        q(Elements::of(call.in[0])),
        k(Elements::of(call.in[1])),
        v(Elements::of(call.in[2])),
        out(Results::of(call.out[0])),
        lse(call.out[1].as<float>()),
        lengths(call, 3, p.sk),
        stride(int64_t(p.h) * p.d),
        chunks(ceilDivide(p.sk, kChunkKeys)),
        partFloats(alignedFloats(int64_t(p.d) + 2)) {}

  /// What a worker keeps: scores, the query of all heads and rows of keys or values as floats.
  int64_t workFloats() const {
    return alignedFloats(p.h * kChunkKeys) + (1 + kRows) * alignedFloats(stride);
  }
  float* queryIn(float* work) const { return work + alignedFloats(p.h * kChunkKeys); }
  float* rowsIn(float* work) const { return queryIn(work) + alignedFloats(stride); }
  int64_t partsFloats() const { return p.b * chunks * p.h * partFloats; }

  /// What a chunk gives for a head: values [d] weighted by 2^(score − maximum), the maximum, and
  /// the sum of the weights.
  float* part(float* parts, int64_t batch, int64_t chunk, int64_t head) const {
    return parts + ((batch * chunks + chunk) * p.h + head) * partFloats;
  }

  FIGMENT_INLINE float dot(const float* a, const float* b) const {
    F32 sum = F32::zero();
    forLanes(p.d, [&](int64_t e, int lanes) {
      sum = mulAdd(loadLanes(a + e, lanes), loadLanes(b + e, lanes), sum);
    });
    return reduceAdd(sum);
  }

  /// scores[head][key] become weights; notes maximum and sum, and clears the values.
  void weigh(float* score, int64_t keys, float* result) const {
    F32 top = F32::broadcast(-__builtin_inff());
    forLanes(keys, [&](int64_t j, int lanes) {
      const F32 seen = lanes == kLanes ? F32::load(score + j) : tail(score + j, lanes);
      top = max(seen, top);
    });
    const float highest = reduceMax(top);
    const F32 shift = F32::broadcast(highest == -__builtin_inff() ? 0 : highest);
    F32 total = F32::zero();
    forLanes(keys, [&](int64_t j, int lanes) {
      const F32 seen = lanes == kLanes ? F32::load(score + j) : tail(score + j, lanes);
      const F32 weight = exp2Bounded(seen - shift);
      storeLanes(score + j, weight, lanes);
      total += weight;
    });
    for (int64_t e = 0; e < p.d; e++) result[e] = 0;
    result[p.d] = highest;
    result[p.d + 1] = reduceAdd(total);
  }
  /// The last lanes of a row; the others see nothing.
  static FIGMENT_INLINE F32 tail(const float* score, int lanes) {
    return blend(lt(I32::iota(), I32::broadcast(lanes)), F32::loadPartial(score, lanes),
                 F32::broadcast(-__builtin_inff()));
  }

  /// result[d] += Σ weight·value over `count` (at most 4) keys.
  template <int kCount>
  FIGMENT_INLINE void addValues(const float* weight, const float* value, float* result) const {
    F32 factor[kCount];
    for (int j = 0; j < kCount; j++) factor[j] = F32::broadcast(weight[j]);
    forLanes(p.d, [&](int64_t e, int lanes) {
      F32 sum = loadLanes(result + e, lanes);
      for (int j = 0; j < kCount; j++)
        sum = mulAdd(factor[j], loadLanes(value + j * stride + e, lanes), sum);
      storeLanes(result + e, sum, lanes);
    });
  }

  void runChunk(int64_t batch, int64_t chunk, float* scores, float* parts) const {
    float* rows = rowsIn(scores);
    const int64_t first = chunk * kChunkKeys;
    const int64_t keys = larger(0, smaller(kChunkKeys, lengths.of(batch) - first));
    const int64_t at = (batch * p.sk + first) * stride;
    const float* query = floatRows(q + batch * stride, stride, 1, stride, queryIn(scores)).data;
    const float factor = float(p.scale * double(kLog2E));
    for (int64_t j = 0; j < keys; j++) {
      const float* key = floatRows(k + (at + j * stride), stride, 1, stride, rows).data;
      for (int64_t h = 0; h < p.h; h++)
        scores[h * kChunkKeys + j] = factor * dot(query + h * p.d, key + h * p.d);
    }
    for (int64_t h = 0; h < p.h; h++)
      weigh(scores + h * kChunkKeys, keys, part(parts, batch, chunk, h));
    int64_t j = 0;
    for (; j + kRows <= keys; j += kRows) {
      const float* value = floatRows(v + (at + j * stride), stride, kRows, stride, rows).data;
      for (int64_t h = 0; h < p.h; h++)
        addValues<kRows>(scores + h * kChunkKeys + j, value + h * p.d,
                         part(parts, batch, chunk, h));
    }
    for (; j < keys; j++) {
      const float* value = floatRows(v + (at + j * stride), stride, 1, stride, rows).data;
      for (int64_t h = 0; h < p.h; h++)
        addValues<1>(scores + h * kChunkKeys + j, value + h * p.d, part(parts, batch, chunk, h));
    }
  }

  /// `target`: room for [d] floats.
  void merge(int64_t batch, int64_t head, float* parts, float* target) const {
    float highest = -__builtin_inff();
    for (int64_t c = 0; c < chunks; c++) {
      const float top = part(parts, batch, c, head)[p.d];
      if (top > highest) highest = top;
    }
    const float shift = highest == -__builtin_inff() ? 0 : highest;
    F32 total = F32::zero();
    for (int64_t e = 0; e < p.d; e++) target[e] = 0;
    for (int64_t c = 0; c < chunks; c++) {
      const float* from = part(parts, batch, c, head);
      if (from[p.d + 1] == 0) continue;
      const F32 factor = exp2Bounded(F32::broadcast(from[p.d] - shift));
      total = mulAdd(F32::broadcast(from[p.d + 1]), factor, total);
      forLanes(p.d, [&](int64_t e, int lanes) {
        storeLanes(target + e,
                   mulAdd(loadLanes(from + e, lanes), factor, loadLanes(target + e, lanes)), lanes);
      });
    }
    const F32 one = F32::broadcast(1.0f);
    const F32 share = blend(eq(total, F32::zero()), F32::zero(), one / total);
    forLanes(p.d, [&](int64_t e, int lanes) {
      gemm::storeElements(out + (batch * stride + head * p.d + e),
                          loadLanes(target + e, lanes) * share, lanes);
    });
    mulAdd(F32::broadcast(highest), F32::broadcast(float(kLn2)), log(total))
        .storePartial(lse + batch * p.h + head, 1);
  }

  const AttentionParams& p;
  Elements q, k, v;
  Results out;
  float* lse;
  KeyLengths lengths;
  int64_t stride;      ///< between positions
  int64_t chunks;      ///< of keys
  int64_t partFloats;  ///< of a chunk's part of a head
};

int supportsDecode(const OpCall& call) {
  return call.as<AttentionParams>().sq == 1 && gemm::tileFormats(call, 3) ? kVariantPreference + 1
                                                                          : -1;
}

size_t decodeScratch(const OpCall& call, int threads) {
  const DecodeCall decode(call);
  return size_t(threads * decode.workFloats() + decode.partsFloats()) * sizeof(float);
}

void runDecode(const OpCall& call, Context& context) {
  const DecodeCall decode(call);
  float* work = reinterpret_cast<float*>(context.scratch());
  const int64_t workFloats = decode.workFloats();
  float* parts = work + context.threads() * workFloats;
  const int64_t chunks = decode.chunks, heads = decode.p.h;
  context.parallelFor(decode.p.b * chunks, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; task++)
      decode.runChunk(task / chunks, task % chunks, work + worker * workFloats, parts);
  });
  constexpr int64_t kGrain = 16;
  context.parallelFor(decode.p.b * heads, kGrain, [&](int64_t begin, int64_t end, int worker) {
    float* target = decode.queryIn(work + worker * workFloats);
    for (int64_t i = begin; i < end; i++) decode.merge(i / heads, i % heads, parts, target);
  });
}

constexpr Variant decodeVariant{.op = "attention",
                                .name = FIGMENT_TEXT(FIGMENT_ISA) "-decode",
                                .isa = kVariantIsa,
                                .supports = supportsDecode,
                                .scratch = decodeScratch,
                                .run = runDecode};
const RegisterVariant decodeVariantRegistrar{decodeVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
