// What derivatives know of each query, 16 threads for one: Σ out·dout, and the shift of its
// weights.
#include "row_statistics.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kAcross = 16;

FIGMENT_KERNEL(kThreads)
statisticsKernel(AttentionProblem p, AnyFloats<float> out, AnyFloats<float> dout,
                 Global<const float> lse, QueryStatistics statistics, int64_t queries,
                 bool vectors) {
  constexpr int kTogether = kWarp / kAcross;
  const int lane = int(threadIdx.x) % kWarp;
  // All threads of a warp take the same turns.
  for (int64_t base = threadInGrid() / kWarp * kTogether; base < queries;
       base += threadsOfGrid() / kWarp * kTogether) {
    const int64_t query = base + lane / kAcross;
    float sum = 0;
    if (query < queries) {
      const int64_t at = p.headStart(query / p.sq, p.sq) + query % p.sq * p.rowStride();
      for (int64_t e = lane % kAcross * 4; e < p.d; e += kAcross * 4) {
        const int there = int(p.d - e < 4 ? p.d - e : 4);
        const float4 a = out.four(at + e, there, vectors), b = dout.four(at + e, there, vectors);
        sum += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
      }
    }
    FIGMENT_UNROLL
    for (int step = 1; step < kAcross; step *= 2) sum += __shfl_xor_sync(kWholeWarp, sum, step);
    if (query >= queries || lane % kAcross != 0) continue;
    statistics.set(query, Softmax<float>::of(lse[query]), sum);
  }
}

}  // namespace

QueryStatistics statisticsIn(const OpCall& call, const Launcher& launcher) {
  const int64_t queries = call.in[4].elements(), pairs = queries * kStatistics;
  return {scratchView<float>(launcher, 0, pairs),
          scratchView<float>(launcher, pairs * int64_t(sizeof(float)), queries)};
}

QueryStatistics rowStatistics(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionGradParams>(call, 6);
  const int64_t queries = p.heads() * p.sq;
  const bool vectors =
      p.d % 4 == 0 && alignedForVectors(call.in + 3, 1) && alignedForVectors(call.in + 5, 1);
  const auto statistics = statisticsIn(call, launcher);
  launch<statisticsKernel>(launcher, gridFor(launcher, queries * kAcross, kThreads), kThreads, 0, p,
                           AnyFloats<float>::of(call.in[3]), AnyFloats<float>::of(call.in[5]),
                           viewOf<const float>(call.in[4]), statistics, queries, vectors);
  return statistics;
}

}  // namespace figment::cuda
