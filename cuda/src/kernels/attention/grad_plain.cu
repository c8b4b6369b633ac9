// attentionGrad, plainly: a warp for each query (each key) and strip of head elements, which meets
// one key (one query) after the other. With p = exp(s − lse), D = Σ out·dout and ds = p·(dout·vᵀ −
// D)·scale: dq = ds·k,  dv = pᵀ·dout,  dk = dsᵀ·q. Every call, f64 included.
#include "../../device/warp.h"
#include "../plain.h"
#include "flash_simt.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kStrip = 4;  // head elements that a lane sums at a time

template <class T>
struct Operands {
  AnyFloats<T> q, k, v, out, lse, dout;
  AnyResults<T> dq, dk, dv;
};

/// Σ a·b over a head's elements, in every lane.
template <class T>
FIGMENT_DEVICE T dotOf(const AnyFloats<T>& a, int64_t aAt, const AnyFloats<T>& b, int64_t bAt,
                       int64_t d) {
  T sum = 0;
  for (int64_t e = laneInWarp(); e < d; e += kWarp) sum += a[aAt + e] * b[bAt + e];
  return warpSum(sum);
}

template <class T>
struct Pair {
  T weight, scoreGrad;
};

/// The weight of a key for a query, and the derivative by the unscaled score.
template <class T>
FIGMENT_DEVICE Pair<T> pairOf(const AttentionProblem& p, const Operands<T>& x, int64_t qAt,
                              int64_t kAt, T lse, T rowDot) {
  const T score = dotOf(x.q, qAt, x.k, kAt, p.d) * T(p.scale);
  const T weight = lse == T(-INFINITY) ? T(0) : T(exp(score - lse));
  return {weight, weight * (dotOf(x.dout, qAt, x.v, kAt, p.d) - rowDot) * T(p.scale)};
}

template <class T>
FIGMENT_KERNEL(kThreads)
queryGradKernel(AttentionProblem p, Operands<T> x, Global<T> rowDots, int64_t queries,
                int64_t strips) {
  const int lane = laneInWarp();
  for (int64_t piece = threadInGrid() / kWarp; piece < queries * strips;
       piece += threadsOfGrid() / kWarp) {
    const int64_t query = piece / strips, first = piece % strips * kStrip * kWarp;
    const int64_t task = query / p.sq, i = query % p.sq;
    const int64_t qAt = p.headStart(task, p.sq) + i * p.rowStride();
    const int64_t visible = p.visible(p.keysOf(task / p.h), i);
    const T lse = x.lse[query], rowDot = dotOf(x.out, qAt, x.dout, qAt, p.d);
    if (first == 0 && lane == 0) rowDots[query] = rowDot;
    T sums[kStrip] = {};
    for (int64_t j = 0; j < visible; j++) {
      const int64_t kAt = p.headStart(task, p.sk) + j * p.rowStride();
      const Pair<T> pair = pairOf(p, x, qAt, kAt, lse, rowDot);
      for (int r = 0; r < kStrip; r++) {
        const int64_t e = first + r * kWarp + lane;
        if (e < p.d) sums[r] += pair.scoreGrad * x.k[kAt + e];
      }
    }
    for (int r = 0; r < kStrip; r++) {
      const int64_t e = first + r * kWarp + lane;
      if (e < p.d) x.dq.set(qAt + e, sums[r]);
    }
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
keyGradKernel(AttentionProblem p, Operands<T> x, Global<const T> rowDots, int64_t keys,
              int64_t strips) {
  const int lane = laneInWarp();
  for (int64_t piece = threadInGrid() / kWarp; piece < keys * strips;
       piece += threadsOfGrid() / kWarp) {
    const int64_t key = piece / strips, first = piece % strips * kStrip * kWarp;
    const int64_t task = key / p.sk, j = key % p.sk;
    const int64_t kAt = p.headStart(task, p.sk) + j * p.rowStride();
    T keySums[kStrip] = {}, valueSums[kStrip] = {};
    for (int64_t i = p.firstQuery(p.keysOf(task / p.h), j); i < p.sq; i++) {
      const int64_t qAt = p.headStart(task, p.sq) + i * p.rowStride();
      const int64_t query = task * p.sq + i;
      const Pair<T> pair = pairOf(p, x, qAt, kAt, T(x.lse[query]), T(rowDots[query]));
      for (int r = 0; r < kStrip; r++) {
        const int64_t e = first + r * kWarp + lane;
        if (e >= p.d) continue;
        keySums[r] += pair.scoreGrad * x.q[qAt + e];
        valueSums[r] += pair.weight * x.dout[qAt + e];
      }
    }
    for (int r = 0; r < kStrip; r++) {
      const int64_t e = first + r * kWarp + lane;
      if (e >= p.d) continue;
      x.dk.set(kAt + e, keySums[r]);
      x.dv.set(kAt + e, valueSums[r]);
    }
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionGradParams>(call, 6);
  const Operands<T> x = {AnyFloats<T>::of(call.in[0]),   AnyFloats<T>::of(call.in[1]),
                         AnyFloats<T>::of(call.in[2]),   AnyFloats<T>::of(call.in[3]),
                         AnyFloats<T>::of(call.in[4]),   AnyFloats<T>::of(call.in[5]),
                         AnyResults<T>::of(call.out[0]), AnyResults<T>::of(call.out[1]),
                         AnyResults<T>::of(call.out[2])};
  const int64_t queries = p.heads() * p.sq, keys = p.heads() * p.sk;
  const int64_t strips = ceilDiv(p.d, int64_t(kStrip * kWarp));
  const auto rowDots = scratchView<T>(launcher, 0, queries);
  launch<queryGradKernel<T>>(launcher, gridFor(launcher, queries * strips * kWarp, kThreads),
                             kThreads, 0, p, x, rowDots, queries, strips);
  launch<keyGradKernel<T>>(launcher, gridFor(launcher, keys * strips * kWarp, kThreads), kThreads,
                           0, p, x, Global<const T>(rowDots), keys, strips);
}

size_t scratch(const OpCall& call, int) {
  return size_t(call.in[4].elements()) * formatBytes(call.in[4].format);
}

const RegisterVariant registrar{plainVariant(
    "attentionGrad",
    [](const OpCall& call, Context& context) { runPlainAttentionGrad(call, launcherOf(context)); },
    scratch)};

}  // namespace

void runPlainAttentionGrad(const OpCall& call, Launcher& launcher) {
  if (call.in[0].format == Format::f64)
    runAs<double>(call, launcher);
  else
    runAs<float>(call, launcher);
}

}  // namespace figment::cuda
