// attention, plainly: a warp for each query and strip of head elements, which meets one key after
// the other with a running softmax (Milakov & Gimelshein, 2018). Every call, f64 included.
#include "../../device/warp.h"
#include "../plain.h"
#include "flash_simt.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kStrip = 4;  // head elements that a lane sums at a time

template <class T>
struct Operands {
  AnyFloats<T> q, k, v;
  AnyResults<T> out, lse;
};

template <class T>
FIGMENT_KERNEL(kThreads)
attentionKernel(AttentionProblem p, Operands<T> x, int64_t queries, int64_t strips) {
  const T lowest = T(-INFINITY);
  const T scale = T(p.scale);
  const int lane = laneInWarp();
  for (int64_t piece = threadInGrid() / kWarp; piece < queries * strips;
       piece += threadsOfGrid() / kWarp) {
    const int64_t query = piece / strips, first = piece % strips * kStrip * kWarp;
    const int64_t task = query / p.sq, i = query % p.sq;
    const int64_t qAt = p.headStart(task, p.sq) + i * p.rowStride();
    const int64_t kAt = p.headStart(task, p.sk);
    const int64_t visible = p.visible(p.keysOf(task / p.h), i);
    T highest = lowest, total = 0, sums[kStrip] = {};
    for (int64_t j = 0; j < visible; j++) {
      const int64_t at = kAt + j * p.rowStride();
      T dot = 0;
      for (int64_t e = lane; e < p.d; e += kWarp) dot += x.q[qAt + e] * x.k[at + e];
      const T score = warpSum(dot) * scale;
      const T before = highest;
      highest = Maximum()(before, score);
      if (highest == lowest) continue;
      const T kept = exp(before - highest), weight = exp(score - highest);
      total = total * kept + weight;
      for (int r = 0; r < kStrip; r++) {
        const int64_t e = first + r * kWarp + lane;
        if (e < p.d) sums[r] = sums[r] * kept + weight * x.v[at + e];
      }
    }
    const bool blind = highest == lowest;
    for (int r = 0; r < kStrip; r++) {
      const int64_t e = first + r * kWarp + lane;
      if (e < p.d) x.out.set(qAt + e, blind ? T(0) : sums[r] / total);
    }
    if (first == 0 && lane == 0) x.lse.set(query, blind ? lowest : highest + log(total));
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionParams>(call, 3);
  const Operands<T> x = {AnyFloats<T>::of(call.in[0]), AnyFloats<T>::of(call.in[1]),
                         AnyFloats<T>::of(call.in[2]), AnyResults<T>::of(call.out[0]),
                         AnyResults<T>::of(call.out[1])};
  const int64_t queries = p.heads() * p.sq;
  const int64_t strips = p.d == 0 ? 1 : ceilDiv(p.d, int64_t(kStrip * kWarp));
  launch<attentionKernel<T>>(launcher, gridFor(launcher, queries * strips * kWarp, kThreads),
                             kThreads, 0, p, x, queries, strips);
}

const RegisterVariant registrar{plainVariant("attention", [](const OpCall& call, Context& context) {
  runPlainAttention(call, launcherOf(context));
})};

}  // namespace

void runPlainAttention(const OpCall& call, Launcher& launcher) {
  if (call.in[0].format == Format::f64)
    runAs<double>(call, launcher);
  else
    runAs<float>(call, launcher);
}

}  // namespace figment::cuda
