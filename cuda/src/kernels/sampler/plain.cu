// addNoise and samplerStep: one thread for each element (for each four where noise is drawn),
// arithmetic in f64 as in the reference on the CPU (native/src/kernels/sampler, which has the
// formulas).
#include "../../device/floats.h"
#include "../../device/launch.h"
#include "../../device/philox.h"
#include "../random/advance.h"
#include "kernels/params/addNoise.generated.h"
#include "kernels/params/samplerStep.generated.h"
#include "timesteps.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMostTensors = 6;

/// Samples with a timestep outside the tables become zero.
template <class T>
FIGMENT_KERNEL(kThreads)
addNoiseKernel(AddNoiseParams p, Global<const T> x, Global<const T> noise,
               Global<const int32_t> timesteps, Global<const T> a, Global<const T> b,
               Global<T> out) {
  for (int64_t i = threadInGrid(); i < p.n * p.inner; i += threadsOfGrid()) {
    const int32_t t = timesteps[i / p.inner];
    const bool known = t >= 0 && t < p.steps;
    out[i] = known ? T(double(a[t]) * double(x[i]) + double(b[t]) * double(noise[i])) : T(0);
  }
}

template <class W>
struct Tensors {
  Floats<W> at[kMostTensors];
};

template <class W>
FIGMENT_KERNEL(kThreads)
samplerKernel(SamplerStepParams p, Global<const float> coef, Global<const int32_t> state,
              Tensors<W> tensors, FloatResults<W> out) {
  RandomStream stream = {};
  if (p.noise) stream = readStream(state);
  for (int64_t block = threadInGrid(); 4 * block < p.size; block += threadsOfGrid()) {
    float4 z = make_float4(0, 0, 0, 0);
    if (p.noise) z = normalBlock(stream, uint64_t(block));
    for (int part = 0; part < 4 && 4 * block + part < p.size; part++) {
      const int64_t i = 4 * block + part;
      double x0 = double(coef[0]) * double(tensors.at[0][i]);
      if (p.tensors > 1) x0 += double(coef[1]) * double(tensors.at[1][i]);
      if (p.clamp) x0 = x0 < double(p.lo) ? double(p.lo) : x0 > double(p.hi) ? double(p.hi) : x0;
      double sum = double(coef[2]) * x0;
      for (int k = 0; k < p.tensors; k++) sum += double(coef[4 + k]) * double(tensors.at[k][i]);
      if (p.noise) sum += double(coef[3]) * double(partOf(z, part));
      out.set(i, W(sum));
    }
  }
}

template <class T>
void addNoiseAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<AddNoiseParams>();
  if (p.inner == 0) return;
  checkTimesteps(call, launcher);
  launch<addNoiseKernel<T>>(launcher, gridFor(launcher, p.n * p.inner, kThreads), kThreads, 0, p,
                            viewOf<const T>(call.in[0]), viewOf<const T>(call.in[1]),
                            viewOf<const int32_t>(call.in[2]), viewOf<const T>(call.in[3]),
                            viewOf<const T>(call.in[4]), viewOf<T>(call.out[0]));
}

template <class W>
void samplerAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<SamplerStepParams>();
  Tensors<W> tensors;
  for (int k = 0; k < p.tensors; k++) tensors.at[k] = floatsOf<W>(call.in[1 + k]);
  Global<const int32_t> state;
  if (p.noise) state = viewOf<const int32_t>(call.in[1 + p.tensors]);
  launch<samplerKernel<W>>(launcher, gridFor(launcher, ceilDiv(p.size, 4), kThreads), kThreads, 0,
                           p, viewOf<const float>(call.in[0]), state, tensors,
                           resultsOf<W>(call.out[0]));
  if (p.noise) advanceStream(launcher, call.in[1 + p.tensors], call.out[1], p.size);
}

template <void (*kSingle)(const OpCall&, Launcher&), void (*kDouble)(const OpCall&, Launcher&)>
void byFloat(const OpCall& call, Context& context) {
  (call.out[0].format == Format::f64 ? kDouble : kSingle)(call, launcherOf(context));
}

const RegisterVariant addNoise{
    plainVariant("addNoise", byFloat<addNoiseAs<float>, addNoiseAs<double>>)};
const RegisterVariant samplerStep{
    plainVariant("samplerStep", byFloat<samplerAs<float>, samplerAs<double>>)};

}  // namespace
}  // namespace figment::cuda
