// matmul with few rows or few columns, which is bound by reading the larger factor: a dot product
// after the other, without tiles. A warp multiplies one line of the larger factor (a row of a or a
// column of b, `many` of them) by up to kGroup lines of the other (`few`), its lanes along k, four
// elements each; for long k a few warps share a line. The order of sums depends on the shape alone.
#include "../../device/warp.h"
#include "../gemm/epilogue.h"
#include "kernels/params/matmul.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kGroup = 8;            ///< of the few lines, at most, in one warp
constexpr int kStep = 4 * kWarp;     ///< of k, by a warp at once
constexpr int64_t kBusy = 132 * 16;  ///< warps that keep a large GPU's memory busy

/// Lines of a factor: from one to the next, and along k.
struct Lines {
  int64_t count = 0, stride = 0, step = 0, batchStride = 0;
  int32_t fours = 0;  ///< four neighbours along k are aligned, also at the ends of lines
};
struct Dots {
  Lines many, few;
  int64_t batch = 0, k = 0;
  int32_t groups = 0;  ///< of few lines
  int32_t share = 1;   ///< warps of a block to a line
  /// Of the result.
  int64_t manyStride = 0, fewStride = 0, batchStride = 0;
  int32_t fewAcross = 0;  ///< whether the few lines are columns of the result

  int64_t jobs() const { return batch * many.count * groups; }
};

FIGMENT_DEVICE float4 fourAt(const Floats<float>& from, const Lines& lines, int64_t line, int64_t k,
                             int64_t end) {
  const int64_t at = line + k * lines.step;
  if (lines.fours) return from.four(at);
  float4 x = make_float4(from[at], 0, 0, 0);
  if (k + 1 < end) x.y = from[at + lines.step];
  if (k + 2 < end) x.z = from[at + 2 * lines.step];
  if (k + 3 < end) x.w = from[at + 3 * lines.step];
  return x;
}

template <int group>
FIGMENT_KERNEL(kThreads)
dotsKernel(Floats<float> many, Floats<float> few, Epilogue<float> epilogue,
           FIGMENT_GRID_CONSTANT const Dots d) {
  FIGMENT_SHARED(float, shared, kWarps* kGroup);
  const int warp = warpInBlock(), lane = laneInWarp(), part = warp % d.share;
  const int64_t job = blockInGrid() * (kWarps / d.share) + warp / d.share;
  const bool real = job < d.batch * d.many.count * d.groups;
  const int64_t which = job / d.groups, batch = which / d.many.count;
  const int64_t line = which - batch * d.many.count;
  const int64_t first = (job - which * d.groups) * group;
  float sums[group] = {};
  if (real) {
    const int64_t manyAt = batch * d.many.batchStride + line * d.many.stride;
    const int64_t fewAt = batch * d.few.batchStride + first * d.few.stride;
    FIGMENT_UNROLL_BY(group >= 4 ? 2 : 4)
    for (int64_t k = int64_t(part) * kStep + lane * 4; k < d.k; k += int64_t(d.share) * kStep) {
      const float4 x = fourAt(many, d.many, manyAt, k, d.k);
      FIGMENT_UNROLL
      for (int i = 0; i < group; i++) {
        if (first + i >= d.few.count) continue;
        const float4 y = fourAt(few, d.few, fewAt + i * d.few.stride, k, d.k);
        sums[i] = multiplyAdd(x.x, y.x, sums[i]);
        sums[i] = multiplyAdd(x.y, y.y, sums[i]);
        sums[i] = multiplyAdd(x.z, y.z, sums[i]);
        sums[i] = multiplyAdd(x.w, y.w, sums[i]);
      }
    }
  }
  FIGMENT_UNROLL
  for (int i = 0; i < group; i++) {
    const float sum = warpSum(sums[i]);
    if (lane == 0) shared[warp * kGroup + i] = sum;
  }
  __syncthreads();
  // The line's first warp adds its shares up, a lane for each of the few.
  if (!real || part != 0 || lane >= group || first + lane >= d.few.count) return;
  float sum = 0;
  for (int i = 0; i < d.share; i++) sum += shared[(warp + i) * kGroup + lane];
  const int64_t other = first + lane;
  epilogue.store(batch * d.batchStride + line * d.manyStride + other * d.fewStride,
                 d.fewAcross ? other : line, sum);
}

/// Few lines that a warp takes together.
int groupOf(int64_t few) { return few == 1 ? 1 : few == 2 ? 2 : few <= 4 ? 4 : kGroup; }

Dots dotsOf(const MatmulParams& p) {
  const Lines rows = {.count = p.m,
                      .stride = p.transA ? 1 : p.k,
                      .step = p.transA ? p.m : 1,
                      .batchStride = p.batchStrideA};
  const Lines columns = {.count = p.n,
                         .stride = p.transB ? p.k : 1,
                         .step = p.transB ? 1 : p.n,
                         .batchStride = p.batchStrideB};
  Dots d;
  d.fewAcross = p.n < p.m;
  d.many = d.fewAcross ? rows : columns;
  d.few = d.fewAcross ? columns : rows;
  d.manyStride = d.fewAcross ? p.n : 1;
  d.fewStride = d.fewAcross ? 1 : p.n;
  d.batchStride = p.m * p.n;
  d.batch = p.batch;
  d.k = p.k;
  d.groups = int32_t(ceilDiv(d.few.count, int64_t(groupOf(d.few.count))));
  while (d.share < kWarps && d.jobs() * d.share < kBusy && p.k >= 2 * kStep * d.share) d.share *= 2;
  return d;
}

/// Fours of a factor are aligned, wherever they begin.
bool inFours(const Lines& lines, const Operand& factor, int64_t k) {
  const auto address = reinterpret_cast<uintptr_t>(factor.data);
  return lines.step == 1 && k % 4 == 0 && lines.batchStride % 4 == 0 &&
         address % (4 * formatBytes(factor.format)) == 0;
}

void run(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const auto& p = call.as<MatmulParams>();
  Launcher& launcher = launcherOf(context);
  Dots d = dotsOf(p);
  const Operand& many = call.in[d.fewAcross ? 0 : 1];
  const Operand& few = call.in[d.fewAcross ? 1 : 0];
  d.many.fours = inFours(d.many, many, p.k);
  d.few.fours = inFours(d.few, few, p.k);
  const auto epilogue = Epilogue<float>::of<MatmulParams>(call);
  const auto start = [&]<int group>() {
    launch<dotsKernel<group>>(launcher, blocksFor(ceilDiv(d.jobs(), int64_t(kWarps / d.share))),
                              kThreads, 0, Floats<float>(many), Floats<float>(few), epilogue, d);
  };
  switch (groupOf(d.few.count)) {
    case 1:
      return start.template operator()<1>();
    case 2:
      return start.template operator()<2>();
    case 4:
      return start.template operator()<4>();
    default:
      return start.template operator()<kGroup>();
  }
}

/// Where tiles would stay empty, or must be filled element by element, and lines are read along k.
int supports(const OpCall& call) {
  constexpr int kPreference = 40;
  constexpr int64_t kMostCached = 16384, kMostLoose = 32;
  constexpr double kMostProducts = 1 << 26, kMostLooseProducts = 1 << 22;
  const auto& p = call.as<MatmulParams>();
  const Format format = call.out[0].format;
  if (format == Format::f64 || call.out[0].empty() || p.k < kStep / 2) return -1;
  if (p.activation == kGeglu) return -1;
  const Dots d = dotsOf(p);
  const bool read = d.many.step == 1 && (d.few.step == 1 || d.few.count * p.k <= kMostCached);
  const double products = double(p.batch) * double(p.m) * double(p.n) * double(p.k);
  if (!read || products > kMostProducts) return -1;
  if (d.few.count <= kGroup) return kPreference;
  const bool loose = p.n % 8 != 0 || p.k % 8 != 0;
  return loose && d.few.count <= kMostLoose && products <= kMostLooseProducts ? kPreference : -1;
}

const RegisterVariant registrar{{.op = "matmul",
                                 .name = "dots",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
