// What calls that hide keys from queries do in the end. What is not finite among hidden keys
// reaches no score, but sums over tiles multiply hidden values, and hidden queries in derivatives,
// by weights of 0, which leaves NaN. Such rows of results are computed again plainly, a warp for
// each, of what their query (their key) sees.
#include "../../device/warp.h"
#include "calls.h"
#include "row_statistics.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;
/// Log-sum-exps beyond this, in units of log 2, are rounded by more than 2^-19.
constexpr float kCoarseShift = 64;

/// 0, or NaN if the number is not finite; adds up.
FIGMENT_DEVICE float spoiled(float x, float before) { return __fmaf_rn(x, 0.0f, before); }

/// Whether all elements of a head at a position are finite: each lane looks at its own.
FIGMENT_DEVICE bool finiteRow(const AnyFloats<float>& x, int64_t at, int64_t d) {
  float sum = 0;
  for (int64_t e = laneInWarp(); e < d; e += kWarp) sum = spoiled(x[at + e], sum);
  return !__any_sync(kWholeWarp, sum != 0);
}

/// Calls f(row) by whole warps for each of `rows`.
template <class F>
FIGMENT_DEVICE void eachRow(int64_t rows, F&& f) {
  for (int64_t row = threadInGrid() / kWarp; row < rows; row += threadsOfGrid() / kWarp) f(row);
}

FIGMENT_KERNEL(kThreads)
mendKernel(AttentionProblem p, PlainForward<float, AnyFloats<float>, AnyResults<float>> plain,
           AnyFloats<float> out, int64_t queries) {
  eachRow(queries, [&](int64_t query) {
    if (!finiteRow(out, QueryPlace(p, query).at, p.d)) plain.row(p, query);
  });
}

/// Of each head, which rows may have spoiled others that do not see them, as counts that are 0
/// where all numbers are finite.
struct Spoilers {
  Global<uint32_t> queries;  ///< from the first that is not finite to the last
  Global<uint32_t> keys;     ///< from the first key to the last that is not finite
};

struct Given {
  AnyFloats<float> q, k, out, dout, dq, dk, dv;
  Global<const float> lse;
};

constexpr int kAcross = 16;  // threads of a row of operands

/// Derivatives by queries add up rows of k, those by keys rows of q and dout.
FIGMENT_KERNEL(kThreads)
findKernel(AttentionProblem p, Given given, Spoilers spoilers, int64_t queries, int64_t keys,
           bool vectors) {
  const auto finite = [&](const AnyFloats<float>& x, int64_t at) {
    float sum = 0;
    for (int64_t e = threadIdx.x % kAcross * 4; e < p.d; e += kAcross * 4) {
      const float4 four = x.four(at + e, int(p.d - e < 4 ? p.d - e : 4), vectors);
      sum = spoiled(four.x, spoiled(four.y, spoiled(four.z, spoiled(four.w, sum))));
    }
    return sum == 0;
  };
  for (int64_t row = threadInGrid() / kAcross; row < queries + keys;
       row += threadsOfGrid() / kAcross) {
    const bool ofKey = row >= queries;
    const int64_t length = ofKey ? p.sk : p.sq, place = ofKey ? row - queries : row;
    const int64_t task = place / length, i = place % length;
    const int64_t at = p.headStart(task, length) + i * p.rowStride();
    if (ofKey) {
      if (!finite(given.k, at)) atomicMaxAt(spoilers.keys, task, uint32_t(i + 1));
    } else if (!finite(given.q, at) || !finite(given.dout, at)) {
      atomicMaxAt(spoilers.queries, task, uint32_t(length - i));
    }
  }
}

using Plain = PlainGrad<float, AnyFloats<float>, AnyResults<float>>;

/// Also writes what the kernel by keys needs of queries: a softmax of the products as they are
/// added up there.
FIGMENT_KERNEL(kThreads)
mendQueriesKernel(AttentionProblem p, Plain plain, Given given, Spoilers spoilers,
                  QueryStatistics statistics, int64_t queries) {
  eachRow(queries, [&](int64_t query) {
    const QueryPlace place(p, query);
    const bool wrong =
        spoilers.keys[place.task] > place.visible && !finiteRow(given.dq, place.at, p.d);
    if (!wrong && spoilers.queries[place.task] == 0) return;
    auto softmax = Softmax<float>::of(given.lse[query]);
    if (Coarse{.most = kCoarseShift, .off = INFINITY}.shift(softmax.shift))
      softmax = plain.softmaxOf(p, query);
    const float dot = dotOf<float>(given.out, place.at, given.dout, place.at, p.d);
    if (laneInWarp() == 0) statistics.set(query, softmax, dot);
    if (wrong) plain.queryRow(p, softmax, dot, query);
  });
}

FIGMENT_KERNEL(kThreads)
mendKeysKernel(AttentionProblem p, Plain plain, Given given, Spoilers spoilers,
               QueryStatistics statistics, int64_t keys) {
  eachRow(keys, [&](int64_t key) {
    const int64_t task = key / p.sk, j = key % p.sk;
    if (p.sq - spoilers.queries[task] >= p.firstQuery(p.keysOf(task / p.h), j)) return;
    const int64_t at = p.headStart(task, p.sk) + j * p.rowStride();
    if (finiteRow(given.dk, at, p.d) && finiteRow(given.dv, at, p.d)) return;
    plain.keyRow(
        p,
        [&](int64_t query) {
          return Softmax<float>{statistics.bases[query], statistics.shift(query)};
        },
        [&](int64_t query) { return statistics.dot(query); }, key);
  });
}

}  // namespace

/// Statistics of queries, then two numbers of each head.
size_t mendGradBytes(const OpCall& call) {
  const auto& p = call.as<AttentionGradParams>();
  return statisticsBytes(call) + size_t(p.b) * p.h * 2 * sizeof(uint32_t);
}

void mendAttention(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionParams>(call, 3);
  if (!p.hides()) return;
  const int64_t queries = p.heads() * p.sq;
  launch<mendKernel>(launcher, gridFor(launcher, queries * kWarp, kThreads), kThreads, 0, p,
                     plainForward<float>(call), AnyFloats<float>::of(call.out[0]), queries);
}

void mendAttentionGrad(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionGradParams>(call, 6);
  if (!p.hides()) return;
  const int64_t heads = p.heads(), queries = heads * p.sq, keys = heads * p.sk;
  const auto in = [&](int i) { return AnyFloats<float>::of(call.in[i]); };
  const auto result = [&](int i) { return AnyFloats<float>::of(call.out[i]); };
  const Given given = {in(0),     in(1),     in(3),     in(5),
                       result(0), result(1), result(2), viewOf<const float>(call.in[4])};
  const int64_t at = int64_t(statisticsBytes(call)), bytes = heads * int64_t(sizeof(uint32_t));
  const Spoilers spoilers = {scratchView<uint32_t>(launcher, at, heads),
                             scratchView<uint32_t>(launcher, at + bytes, heads)};
  const auto statistics = statisticsIn(call, launcher);
  const bool vectors =
      p.d % 4 == 0 && alignedForVectors(call.in, 2) && alignedForVectors(call.in + 5, 1);
  const auto gridOf = [&](int64_t threads) { return gridFor(launcher, threads, kThreads); };
  launcher.fill(launcher.scratch() + at, 0, size_t(2 * bytes));
  launch<findKernel>(launcher, gridOf((queries + keys) * kAcross), kThreads, 0, p, given, spoilers,
                     queries, keys, vectors);
  const Plain plain = plainGrad<float>(call);
  launch<mendQueriesKernel>(launcher, gridOf(queries * kWarp), kThreads, 0, p, plain, given,
                            spoilers, statistics, queries);
  launch<mendKeysKernel>(launcher, gridOf(keys * kWarp), kThreads, 0, p, plain, given, spoilers,
                         statistics, keys);
}

}  // namespace figment::cuda
