// matmul as it is defined: a thread for each element of the result, its sum in the order of k. Runs
// every call.
#include "../gemm/epilogue.h"
#include "../plain.h"
#include "kernels/params/matmul.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class Sum>
FIGMENT_KERNEL(kThreads)
plainKernel(Floats<Sum> a, Floats<Sum> b, Epilogue<Sum> epilogue, int64_t count, MatmulParams p) {
  const int64_t rowStepA = p.transA ? 1 : p.k, stepA = p.transA ? p.m : 1;
  const int64_t stepB = p.transB ? 1 : p.n, columnStepB = p.transB ? p.k : 1;
  const int64_t columns = resultColumns(p.n, p.activation);
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t column = e % columns, row = e / columns % p.m, batch = e / columns / p.m;
    const auto sumOf = [&](int64_t columnOfB) {
      int64_t i = batch * p.batchStrideA + row * rowStepA;
      int64_t j = batch * p.batchStrideB + columnOfB * columnStepB;
      Sum sum = 0;
      for (int64_t k = 0; k < p.k; k++, i += stepA, j += stepB) sum = multiplyAdd(a[i], b[j], sum);
      return sum;
    };
    if (p.activation == kGeglu)
      epilogue.storeGated(e, column, sumOf(column), columns + column, sumOf(columns + column));
    else
      epilogue.store(e, column, sumOf(column));
  }
}

template <class Sum>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<MatmulParams>();
  const int64_t count = call.out[0].elements();
  const auto epilogue = Epilogue<Sum>::template of<MatmulParams>(call);
  launch<plainKernel<Sum>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                           Floats<Sum>(call.in[0]), Floats<Sum>(call.in[1]), epilogue, count, p);
}

void run(const OpCall& call, Context& context) {
  if (call.out[0].format == Format::f64) return runAs<double>(call, launcherOf(context));
  runAs<float>(call, launcherOf(context));
}

const RegisterVariant registrar{plainVariant("matmul", run)};

}  // namespace
}  // namespace figment::cuda
