// The three convolutions as they are defined: a thread for each element of the result, its sum over
// the taps and channels (or images and positions) in order. Runs every call.
#include "../gemm/epilogue.h"
#include "../plain.h"
#include "window.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class Sum>
FIGMENT_KERNEL(kThreads)
forwardKernel(Floats<Sum> x, Floats<Sum> w, Epilogue<Sum> epilogue, int64_t count, Conv2dParams p) {
  const int64_t cg = p.c / p.groups, og = p.o / p.groups, kh = cg == 0 ? 0 : p.kh, kw = p.kw;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t o = e % p.o, j = e / p.o % p.wo, i = e / p.o / p.wo % p.ho;
    const int64_t n = e / p.o / p.wo / p.ho;
    Sum sum = 0;
    for (int64_t u = 0; u < kh; u++) {
      const int64_t h = sourceOf(p, 0, i, u);
      if (h < 0) continue;
      for (int64_t v = 0; v < kw; v++) {
        const int64_t q = sourceOf(p, 1, j, v);
        if (q < 0) continue;
        const int64_t xs = ((n * p.h + h) * p.w + q) * p.c + o / og * cg;
        const int64_t ws = ((o * p.kh + u) * p.kw + v) * cg;
        for (int64_t c = 0; c < cg; c++) sum = multiplyAdd(x[xs + c], w[ws + c], sum);
      }
    }
    epilogue.store(e, o, sum);
  }
}

template <class Sum>
FIGMENT_KERNEL(kThreads)
inputGradKernel(Floats<Sum> dy, Floats<Sum> w, Epilogue<Sum> epilogue, int64_t count,
                Conv2dInputGradParams p) {
  const int64_t cg = p.c / p.groups, og = p.o / p.groups, kh = og == 0 ? 0 : p.kh, kw = p.kw;
  const int64_t step = kh * kw * cg;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t c = e % p.c, q = e / p.c % p.w, h = e / p.c / p.w % p.h, n = e / p.c / p.w / p.h;
    const int64_t first = c / cg * og;
    Sum sum = 0;
    for (int64_t u = 0; u < kh; u++) {
      const int64_t i = readerOf(p, 0, h, u);
      if (i < 0) continue;
      for (int64_t v = 0; v < kw; v++) {
        const int64_t j = readerOf(p, 1, q, v);
        if (j < 0) continue;
        const int64_t ds = ((n * p.ho + i) * p.wo + j) * p.o + first;
        const int64_t ws = ((first * kh + u) * kw + v) * cg + c % cg;
        for (int64_t o = 0; o < og; o++) sum = multiplyAdd(dy[ds + o], w[ws + o * step], sum);
      }
    }
    epilogue.store(e, c, sum);
  }
}

template <class Sum>
FIGMENT_KERNEL(kThreads)
weightGradKernel(Floats<Sum> x, Floats<Sum> dy, Epilogue<Sum> epilogue, int64_t count,
                 Conv2dWeightGradParams p) {
  const int64_t cg = p.c / p.groups, og = p.o / p.groups;
  const int64_t images = p.ho == 0 || p.wo == 0 ? 0 : p.n;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t c = e % cg, v = e / cg % p.kw, u = e / cg / p.kw % p.kh, o = e / cg / p.kw / p.kh;
    Sum sum = 0;
    for (int64_t n = 0; n < images; n++) {
      for (int64_t i = 0; i < p.ho; i++) {
        const int64_t h = sourceOf(p, 0, i, u);
        if (h < 0) continue;
        for (int64_t j = 0; j < p.wo; j++) {
          const int64_t q = sourceOf(p, 1, j, v);
          if (q < 0) continue;
          sum = multiplyAdd(x[((n * p.h + h) * p.w + q) * p.c + o / og * cg + c],
                            dy[((n * p.ho + i) * p.wo + j) * p.o + o], sum);
        }
      }
    }
    epilogue.store(e, 0, sum);
  }
}

template <auto kernel, class P, class Sum>
void start(const OpCall& call, Launcher& launcher, const Epilogue<Sum>& epilogue) {
  const int64_t count = call.out[0].elements();
  launch<kernel>(launcher, gridFor(launcher, count, kThreads), kThreads, 0, Floats<Sum>(call.in[0]),
                 Floats<Sum>(call.in[1]), epilogue, count, call.as<P>());
}

template <class Sum>
void forwardAs(const OpCall& call, Launcher& launcher) {
  start<forwardKernel<Sum>, Conv2dParams>(call, launcher,
                                          Epilogue<Sum>::template of<Conv2dParams>(call));
}
template <class Sum>
void inputGradAs(const OpCall& call, Launcher& launcher) {
  start<inputGradKernel<Sum>, Conv2dInputGradParams>(call, launcher, Epilogue<Sum>(call.out[0]));
}
template <class Sum>
void weightGradAs(const OpCall& call, Launcher& launcher) {
  start<weightGradKernel<Sum>, Conv2dWeightGradParams>(call, launcher, Epilogue<Sum>(call.out[0]));
}

using RunAs = void (*)(const OpCall&, Launcher&);
template <RunAs single, RunAs wide>
void run(const OpCall& call, Context& context) {
  (call.out[0].format == Format::f64 ? wide : single)(call, launcherOf(context));
}

const RegisterVariant forward{plainVariant("conv2d", run<forwardAs<float>, forwardAs<double>>)};
const RegisterVariant inputGrad{
    plainVariant("conv2dInputGrad", run<inputGradAs<float>, inputGradAs<double>>)};
const RegisterVariant weightGrad{
    plainVariant("conv2dWeightGrad", run<weightGradAs<float>, weightGradAs<double>>)};

}  // namespace
}  // namespace figment::cuda
