// attentionGrad, plainly: a warp for each query (each key) and strip of head elements. Every call,
// f64 included. Weights are made of the products themselves: lse is rounded at its size.
#include "../plain.h"
#include "calls.h"
#include "plain_rows.h"
#include "row_statistics.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
using Operands = PlainGrad<T, AnyFloats<T>, AnyResults<T>>;

/// What the second kernel needs of queries, in scratch.
template <class T>
struct QueryNumbers {
  Global<T> bases, shifts, dots;
};

template <class T>
FIGMENT_KERNEL(kThreads)
queryGradKernel(AttentionProblem p, Operands<T> x, AnyFloats<T> out, QueryNumbers<T> numbers,
                int64_t queries, int64_t strips) {
  for (int64_t piece = threadInGrid() / kWarp; piece < queries * strips;
       piece += threadsOfGrid() / kWarp) {
    const int64_t query = piece / strips, first = piece % strips * kPlainStripElements;
    const Softmax<T> softmax = x.softmaxOf(p, query);
    const QueryPlace place(p, query);
    const T dot = dotOf<T>(out, place.at, x.dout, place.at, p.d);
    if (first == 0 && laneInWarp() == 0) {
      numbers.bases[query] = softmax.base;
      numbers.shifts[query] = softmax.shift;
      numbers.dots[query] = dot;
    }
    x.queryStrip(p, softmax, dot, query, first);
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
keyGradKernel(AttentionProblem p, Operands<T> x, QueryNumbers<T> numbers, int64_t keys,
              int64_t strips) {
  const auto softmaxOf = [&](int64_t query) {
    return Softmax<T>{numbers.bases[query], numbers.shifts[query]};
  };
  const auto rowDotOf = [&](int64_t query) { return numbers.dots[query]; };
  for (int64_t piece = threadInGrid() / kWarp; piece < keys * strips;
       piece += threadsOfGrid() / kWarp)
    x.keyStrip(p, softmaxOf, rowDotOf, piece / strips, piece % strips * kPlainStripElements);
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionGradParams>(call, 6);
  const Operands<T> x = plainGrad<T>(call);
  const int64_t queries = p.heads() * p.sq, keys = p.heads() * p.sk;
  const int64_t strips = ceilDiv(p.d, int64_t(kPlainStripElements));
  const auto numbersAt = [&](int which) {
    return scratchView<T>(launcher, which * queries * int64_t(sizeof(T)), queries);
  };
  const QueryNumbers<T> numbers = {numbersAt(0), numbersAt(1), numbersAt(2)};
  launch<queryGradKernel<T>>(launcher, gridFor(launcher, queries * strips * kWarp, kThreads),
                             kThreads, 0, p, x, AnyFloats<T>::of(call.in[3]), numbers, queries,
                             strips);
  launch<keyGradKernel<T>>(launcher, gridFor(launcher, keys * strips * kWarp, kThreads), kThreads,
                           0, p, x, numbers, keys, strips);
}

const RegisterVariant registrar{plainVariant(
    "attentionGrad",
    [](const OpCall& call, Context& context) { runPlainAttentionGrad(call, launcherOf(context)); },
    [](const OpCall& call, int) { return statisticsBytes(call); })};

}  // namespace

void runPlainAttentionGrad(const OpCall& call, Launcher& launcher) {
  if (call.in[0].format == Format::f64)
    runAs<double>(call, launcher);
  else
    runAs<float>(call, launcher);
}

}  // namespace figment::cuda
