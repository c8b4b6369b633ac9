// The plain meaning of matmul: a triple loop, each sum in the order of k, accumulated in double.
// Parallel over the rows of the result; the only variant that runs f64.
#include "../reference.h"

#include <vector>

#include "kernels/gemm/plain_epilogue.h"
#include "kernels/kernel.h"
#include "kernels/params/matmul.generated.h"
#include "kernels/widened.h"

namespace figment {
namespace {

template <class T>
void runTyped(const OpCall& call, Context& context) {
  const auto& p = call.as<MatmulParams>();
  if (p.batch == 0 || p.m == 0 || p.n == 0) return;
  const int64_t rowStepA = p.transA ? 1 : p.k, stepA = p.transA ? p.m : 1;
  const int64_t stepB = p.transB ? 1 : p.n, columnStepB = p.transB ? p.k : 1;
  const PlainEpilogue<T> epilogue = PlainEpilogue<T>::template of<MatmulParams>(call);
  context.parallelFor(p.batch * p.m, 1, [&](int64_t begin, int64_t end, int) {
    std::vector<double> sums(static_cast<size_t>(p.n));
    for (int64_t row = begin; row < end; row++) {
      const int64_t batch = row / p.m;
      const T* a = call.in[0].as<const T>() + batch * p.batchStrideA + row % p.m * rowStepA;
      const T* b = call.in[1].as<const T>() + batch * p.batchStrideB;
      for (int64_t j = 0; j < p.n; j++) sums[j] = 0.0;
      for (int64_t k = 0; k < p.k; k++)
        for (int64_t j = 0; j < p.n; j++)
          sums[j] += double(a[k * stepA]) * double(b[k * stepB + j * columnStepB]);
      const int64_t columns = resultColumns(p.n, p.activation);
      T* out = call.out[0].as<T>() + row * columns;
      for (int64_t j = 0; j < columns; j++)
        out[j] =
            T(p.activation == kGeglu ? gatePlainly(epilogue.shifted(sums[j], j),
                                                   epilogue.shifted(sums[columns + j], columns + j))
                                     : epilogue.finished(sums[j], j, row * columns + j));
    }
  });
}

const RegisterVariant registration{
    referenceVariant("matmul", byWidened<runTyped<float>, runTyped<double>>)};

}  // namespace
}  // namespace figment
