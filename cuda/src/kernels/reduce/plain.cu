// reduce: one block for each output.
#include "../../device/floats.h"
#include "reduction.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class T, class Combine>
FIGMENT_KERNEL(kThreads)
reduceKernel(Combine combine, int64_t outputs, Global<const T> x, Global<T> y,
             ReductionShape shape) {
  const int64_t output = blockInGrid();
  if (output >= outputs) return;
  const int64_t first = shape.firstOf(output), terms = shape.terms();
  T kept = combine.identity();
  for (int64_t i = threadIdx.x; i < terms; i += kThreads)
    kept = combine(kept, T(x[first + shape.termAt(i)]));
  kept = blockReduce<Combine, kThreads>(kept, combine.identity(), combine);
  if (threadIdx.x == 0) y[output] = kept;
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const int64_t outputs = call.out[0].elements();
  forReduction(call, [&]<class T, class Combine>(Combine combine) {
    launch<reduceKernel<T, Combine>>(launcher, blocksFor(outputs), kThreads, 0, combine, outputs,
                                     viewOf<const T>(call.in[0]), viewOf<T>(call.out[0]),
                                     ReductionShape(call));
  });
}

const RegisterVariant registrar{plainVariant("reduce", run)};

}  // namespace
}  // namespace figment::cuda
