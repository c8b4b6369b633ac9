// The softmax of rows of scores that lie in scratch, and its derivative: a warp for each row, which
// it reads twice, the second time from its cache.
#include "../../device/instructions.h"
#include "../../device/warp.h"
#include "products.h"

namespace figment::cuda::products {
namespace {

constexpr int kThreads = 256;
constexpr int kStep = kWarp * 4;  // elements that a warp moves at a time

FIGMENT_DEVICE void storeFour(const Global<float>& to, int64_t i, float4 x) { to.store(i, x); }
template <class T>
FIGMENT_DEVICE void storeFour(const Global<T>& to, int64_t i, float4 x) {
  to.template store<uint2>(i, make_uint2(packPair<T>(x.x, x.y), packPair<T>(x.z, x.w)));
}

/// Calls f(row of all, head, query) for each row, in turns of warps.
template <class F>
FIGMENT_DEVICE void eachRow(const ScoreRows& rows, F&& f) {
  for (int64_t row = threadInGrid() / kWarp; row < rows.count * rows.rows;
       row += threadsOfGrid() / kWarp)
    f(row, rows.task + row / rows.rows * rows.taskStep, rows.firstRow + row % rows.rows);
}

/// Those of elements i … i + 3 that lie before `end`; `rest` in the places of others.
FIGMENT_DEVICE float4 before(float4 x, int64_t i, int64_t end, float rest) {
  return make_float4(i < end ? x.x : rest, i + 1 < end ? x.y : rest, i + 2 < end ? x.z : rest,
                     i + 3 < end ? x.w : rest);
}

/// Scores i … i + 3 of a row, in units of log 2; −Inf from `seen` on. Rounded, so that the highest
/// is exactly that far from itself.
FIGMENT_DEVICE float4 scaledScores(const Global<const float>& scores, int64_t row, int64_t i,
                                   int64_t seen, float factor) {
  const float4 x = scores.load<float4>(row + i);
  return before(make_float4(__fmul_rn(x.x, factor), __fmul_rn(x.y, factor), __fmul_rn(x.z, factor),
                            __fmul_rn(x.w, factor)),
                i, seen, -INFINITY);
}
FIGMENT_DEVICE float4 weightsOf(float4 x, float shift) {
  return make_float4(exp2Fast(x.x - shift), exp2Fast(x.y - shift), exp2Fast(x.z - shift),
                     exp2Fast(x.w - shift));
}
FIGMENT_DEVICE float4 scaled(float4 x, float by) {
  return make_float4(x.x * by, x.y * by, x.z * by, x.w * by);
}
FIGMENT_DEVICE float topOf(float highest, float4 x) {
  return fmaxf(highest, fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w)));
}
/// What weights are relative to: those of a row, or a lane, that has seen no finite score are 0
/// instead of NaN.
FIGMENT_DEVICE float shiftOf(float top) { return top == -INFINITY ? 0.0f : top; }
FIGMENT_DEVICE float topOfWarp(float top) {
  FIGMENT_UNROLL
  for (int step = 1; step < kWarp; step *= 2)
    top = fmaxf(top, __shfl_xor_sync(kWholeWarp, top, step));
  return top;
}

template <class T>
FIGMENT_KERNEL(kThreads)
softmaxKernel(AttentionProblem p, ScoreRows rows, Global<const float> scores, Global<T> weights,
              Global<float> lse) {
  const float factor = float(p.scale * kLog2E);
  eachRow(rows, [&](int64_t row, int64_t task, int64_t query) {
    const int64_t seen = p.visible(p.keysOf(task / p.h), query), at = row * rows.ld;
    const int lane = laneInWarp();
    const auto scoresOf = [&](int64_t i) { return scaledScores(scores, at, i, seen, factor); };
    float highest = -INFINITY, total = 0;  // in units of log 2; of this lane's scores
    for (int64_t i = lane * 4; i < seen; i += kStep) {
      const float4 x = scoresOf(i);
      const float top = topOf(highest, x), shift = shiftOf(top);
      const float4 w = weightsOf(x, shift);
      total = total * exp2Fast(highest - shift) + w.x + w.y + w.z + w.w;
      highest = top;
    }
    const float top = topOfWarp(highest), shift = shiftOf(top);
    total = warpSum(total * exp2Fast(highest - shift));
    const bool blind = top == -INFINITY && total == 0;
    const float share = blind ? 0.0f : 1.0f / total;
    for (int64_t i = lane * 4; i < rows.ld; i += kStep) {
      float4 x = make_float4(0, 0, 0, 0);
      if (i < seen) x = scaled(weightsOf(scoresOf(i), shift), share);
      storeFour(weights, at + i, before(x, i, seen, 0.0f));
    }
    if (lane == 0)
      lse[task * p.sq + query] = blind ? -INFINITY : __fmaf_rn(top, float(kLn2), logf(total));
  });
}

template <class T>
FIGMENT_KERNEL(kThreads)
softmaxGradKernel(AttentionProblem p, ScoreRows rows, Global<const float> scores,
                  Global<const float> weightGrads, Global<T> weights, Global<T> scoreGrads) {
  const float factor = float(p.scale * kLog2E), scale = float(p.scale);
  eachRow(rows, [&](int64_t row, int64_t task, int64_t query) {
    const int64_t seen = p.visible(p.keysOf(task / p.h), query), at = row * rows.ld;
    const int lane = laneInWarp();
    const auto scoresOf = [&](int64_t i) { return scaledScores(scores, at, i, seen, factor); };
    const auto gradsOf = [&](int64_t i) {
      return before(weightGrads.load<float4>(at + i), i, seen, 0.0f);
    };
    // Weights are those of the scores that are here: log-sum-exps are rounded at their size. Σ
    // weight · its derivative is Σ out·dout.
    float highest = -INFINITY, total = 0, dot = 0;  // as above
    for (int64_t i = lane * 4; i < seen; i += kStep) {
      const float4 x = scoresOf(i), g = gradsOf(i);
      const float top = topOf(highest, x), shift = shiftOf(top);
      const float4 w = weightsOf(x, shift);
      const float kept = exp2Fast(highest - shift);
      total = total * kept + w.x + w.y + w.z + w.w;
      dot = dot * kept + w.x * g.x + w.y * g.y + w.z * g.z + w.w * g.w;
      highest = top;
    }
    const float top = topOfWarp(highest), shift = shiftOf(top), kept = exp2Fast(highest - shift);
    total = warpSum(total * kept);
    const float share = top == -INFINITY && total == 0 ? 0.0f : 1.0f / total;
    dot = warpSum(dot * kept) * share;
    for (int64_t i = lane * 4; i < rows.ld; i += kStep) {
      float4 x = make_float4(0, 0, 0, 0), g = x;
      if (i < seen) {
        x = scaled(weightsOf(scoresOf(i), shift), share);
        g = gradsOf(i);
      }
      // A row with a weight of NaN has no others, but hidden keys beside seen ones are none of its.
      const float4 ds = make_float4(x.x * (g.x - dot) * scale, x.y * (g.y - dot) * scale,
                                    x.z * (g.z - dot) * scale, x.w * (g.w - dot) * scale);
      storeFour(weights, at + i, before(x, i, seen, 0.0f));
      storeFour(scoreGrads, at + i, before(ds, i, seen, 0.0f));
    }
  });
}

Grid gridOf(const ScoreRows& rows, const Launcher& launcher) {
  return gridFor(launcher, rows.count * rows.rows * kWarp, kThreads);
}

}  // namespace

void softmaxRows(const AttentionProblem& p, const ScoreRows& rows, const Operand& scores,
                 const Operand& weights, const Operand& lse, Launcher& launcher) {
  const auto run = [&]<class T>(T) {
    launch<softmaxKernel<T>>(launcher, gridOf(rows, launcher), kThreads, 0, p, rows,
                             viewOf<const float>(scores), viewOf<T>(weights), viewOf<float>(lse));
  };
  if (weights.format == Format::f32) return run(float());
  weights.format == Format::bf16 ? run(Bf16()) : run(F16());
}

void softmaxGradRows(const AttentionProblem& p, const ScoreRows& rows, const Operand& scores,
                     const Operand& weightGrads, const Operand& weights, const Operand& scoreGrads,
                     Launcher& launcher) {
  const auto run = [&]<class T>(T) {
    launch<softmaxGradKernel<T>>(launcher, gridOf(rows, launcher), kThreads, 0, p, rows,
                                 viewOf<const float>(scores), viewOf<const float>(weightGrads),
                                 viewOf<T>(weights), viewOf<T>(scoreGrads));
  };
  if (weights.format == Format::f32) return run(float());
  weights.format == Format::bf16 ? run(Bf16()) : run(F16());
}

}  // namespace figment::cuda::products
