// attention, plainly: a warp for each query and strip of head elements. Every call, f64 included.
#include "../plain.h"
#include "calls.h"
#include "plain_rows.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
FIGMENT_KERNEL(kThreads)
attentionKernel(AttentionProblem p, PlainForward<T, AnyFloats<T>, AnyResults<T>> x, int64_t queries,
                int64_t strips) {
  for (int64_t piece = threadInGrid() / kWarp; piece < queries * strips;
       piece += threadsOfGrid() / kWarp)
    x.strip(p, piece / strips, piece % strips * kPlainStripElements);
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionParams>(call, 3);
  const int64_t queries = p.heads() * p.sq;
  const int64_t strips = p.d == 0 ? 1 : ceilDiv(p.d, int64_t(kPlainStripElements));
  launch<attentionKernel<T>>(launcher, gridFor(launcher, queries * strips * kWarp, kThreads),
                             kThreads, 0, p, plainForward<T>(call), queries, strips);
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
