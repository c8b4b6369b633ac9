// reduce: one block for each output.
#include "../../device/floats.h"
#include "reduction.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class Combine, class T>
FIGMENT_KERNEL(kThreads)
reduceKernel(int64_t outputs, Global<const T> x, Global<T> y, ReductionShape shape) {
  using Kept = typename Combine::Kept;
  const int64_t output = blockInGrid();
  if (output >= outputs) return;
  const Combine combine;
  const int64_t first = shape.firstOf(output), terms = shape.terms();
  Kept kept = Combine::identity();
  for (int64_t i = threadIdx.x; i < terms; i += kThreads)
    kept = combine(kept, Kept(x[first + shape.termAt(i)]));
  kept = blockReduce<Combine, kThreads>(kept, Combine::identity());
  if (threadIdx.x == 0) y[output] = T(kept);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const int64_t outputs = call.out[0].elements();
  forReduction(call, [&]<class Combine, class T>() {
    launch<reduceKernel<Combine, T>>(launcher, blocksFor(outputs), kThreads, 0, outputs,
                                     viewOf<const T>(call.in[0]), viewOf<T>(call.out[0]),
                                     ReductionShape(call));
  });
}

const RegisterVariant registrar{plainVariant("reduce", run)};

}  // namespace
}  // namespace figment::cuda
