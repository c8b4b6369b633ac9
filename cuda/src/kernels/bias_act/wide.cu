// biasAct and its gradient in f32 with loads of 16 bytes. The gradient reads and writes each
// element once: blocks take slabs of rows and leave sums of channels, which a second kernel adds up
// in order.
#include "../../device/columns.h"
#include "activation.h"
#include "kernels/params/biasAct.generated.h"
#include "kernels/params/biasActGrad.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = kColumnThreads;

template <int N>
FIGMENT_KERNEL(kThreads)
forwardKernel(int64_t vectors, int64_t c, BiasActivation<float> f, Floats<float> x,
              Floats<float> bias, FloatResults<float> y) {
  for (int64_t v = threadInGrid(); v < vectors; v += threadsOfGrid()) {
    float values[N], added[N];
    loadFloats<N>(x, v * N, values);
    loadFloats<N>(bias, v * N % c, added);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) values[j] = f.value(values[j] + added[j]);
    storeFloats<N>(y, v * N, values);
  }
}

template <int N>
FIGMENT_KERNEL(kThreads)
backwardKernel(Columns columns, BiasActivation<float> f, Floats<float> x, Floats<float> bias,
               Floats<float> dy, FloatResults<float> dx, Global<float> sums) {
  FIGMENT_SHARED(float, shared, kThreads* N);
  const int64_t block = blockInGrid();
  if (block >= columns.slabs * columns.chunks) return;
  const ColumnPlace place(columns, block);
  float total[N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) total[j] = 0;
  if (place.active) {
    float added[N];
    loadFloats<N>(bias, place.channel, added);
    constexpr int kRows = 4;
    const int64_t step = columns.down;
    for (int64_t row = place.firstRow; row < place.lastRow; row += kRows * step) {
      Raw<N> rawX[kRows], rawDy[kRows];
      FIGMENT_UNROLL
      for (int r = 0; r < kRows; r++) {
        if (row + r * step >= place.lastRow) continue;
        rawX[r] = loadRaw<N>(x, place.at(columns, row + r * step));
        rawDy[r] = loadRaw<N>(dy, place.at(columns, row + r * step));
      }
      FIGMENT_UNROLL
      for (int r = 0; r < kRows; r++) {
        if (row + r * step >= place.lastRow) continue;
        float values[N], d[N];
        widenRaw<N>(rawX[r], Format::f32, values);
        widenRaw<N>(rawDy[r], Format::f32, d);
        FIGMENT_UNROLL
        for (int j = 0; j < N; j++) {
          d[j] = f.cotangent(values[j] + added[j], d[j]);
          total[j] += d[j];
        }
        storeFloats<N>(dx, place.at(columns, row + r * step), d);
      }
    }
  }
  sumDown<N>(columns, place, shared, total,
             [&](int64_t channel, float sum) { sums[place.slab * columns.c + channel] = sum; });
}

/// Vectors of 4 or single elements: operands are f32.
template <class F>
void withSingles(int n, F&& f) {
  if (n == 4) return f.template operator()<4>();
  f.template operator()<1>();
}

void forward(const OpCall& call, Context& context) {
  const auto& p = call.as<BiasActParams>();
  Launcher& launcher = launcherOf(context);
  const int n = vectorElements(p.c, {&call.in[0], &call.in[1], &call.out[0]});
  withSingles(n, [&]<int N>() {
    const int64_t vectors = call.in[0].elements() / N;
    launch<forwardKernel<N>>(launcher, gridFor(launcher, vectors, kThreads), kThreads, 0, vectors,
                             p.c, BiasActivation<float>::of(p), floatsOf<float>(call.in[0]),
                             floatsOf<float>(call.in[1]), resultsOf<float>(call.out[0]));
  });
}

Columns columnsOf(const BiasActGradParams& p, int vector) {
  return Columns(1, p.rows, p.c, vector);
}

void backward(const OpCall& call, Context& context) {
  const auto& p = call.as<BiasActGradParams>();
  Launcher& launcher = launcherOf(context);
  const int n = vectorElements(p.c, {&call.in[0], &call.in[1], &call.in[2], &call.out[0]});
  const Columns columns = columnsOf(p, n);
  const auto sums = scratchView<float>(launcher, 0, columns.slabs * p.c);
  withSingles(n, [&]<int N>() {
    launch<backwardKernel<N>>(launcher, columns.grid(), kThreads, 0, columns,
                              BiasActivation<float>::of(p), floatsOf<float>(call.in[0]),
                              floatsOf<float>(call.in[1]), floatsOf<float>(call.in[2]),
                              resultsOf<float>(call.out[0]), sums);
  });
  sumPartials<float>(launcher, 1, columns.slabs, p.c, sums, resultsOf<float>(call.out[1]));
}

size_t backwardScratch(const OpCall& call, int) {
  const auto& p = call.as<BiasActGradParams>();
  // Addresses decide on vectors, and are not known yet.
  int64_t slabs = columnsOf(p, 1).slabs;
  if (p.c % 4 == 0 && columnsOf(p, 4).slabs > slabs) slabs = columnsOf(p, 4).slabs;
  return size_t(slabs * p.c) * sizeof(float);
}

const RegisterVariant forwardVariant{{.op = "biasAct",
                                      .name = "wide",
                                      .isa = Isa::sm75,
                                      .supports = supportsFloats,
                                      .scratch = nullptr,
                                      .run = forward}};
const RegisterVariant backwardVariant{{.op = "biasActGrad",
                                       .name = "wide",
                                       .isa = Isa::sm75,
                                       .supports = supportsFloats,
                                       .scratch = backwardScratch,
                                       .run = backward}};

}  // namespace
}  // namespace figment::cuda
