// The plain addNoise and samplerStep, the oracle of the variants: one element at a time in f64. The
// noise of samplerStep is the f32 stream of randomNormal in every format.
#include "../reference.h"

#include "../params/addNoise.generated.h"
#include "../params/samplerStep.generated.h"
#include "../random/normal.h"
#include "timesteps.h"

namespace figment {
namespace {

/// Elements per task.
constexpr int64_t kGrain = 4096;

template <class T>
void runAddNoise(const OpCall& call, Context& context) {
  const auto& p = call.as<AddNoiseParams>();
  const T* x = call.in[0].as<const T>();
  const T* noise = call.in[1].as<const T>();
  const int32_t* t = call.in[2].as<const int32_t>();
  const T* a = call.in[3].as<const T>();
  const T* b = call.in[4].as<const T>();
  T* out = call.out[0].as<T>();
  if (p.inner == 0 || !timestepsInRange(t, p.n, p.steps, context)) return;
  context.parallelFor(p.n * p.inner, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int32_t step = t[i / p.inner];
      out[i] = T(double(a[step]) * double(x[i]) + double(b[step]) * double(noise[i]));
    }
  });
}

template <class T>
void runSamplerStep(const OpCall& call, Context& context) {
  const auto& p = call.as<SamplerStepParams>();
  const float* coef = call.in[0].as<const float>();
  Stream stream = {};
  if (p.noise) stream = Stream::fromState(call.in[1 + p.tensors].as<const int32_t>());
  const auto tensor = [&](int k, int64_t i) { return double(call.in[1 + k].as<const T>()[i]); };
  T* out = call.out[0].as<T>();
  static_assert(kGrain % generic::kNormals == 0);
  context.parallelFor(p.size, kGrain, [&](int64_t begin, int64_t end, int) {
    float z[generic::kNormals] = {};
    for (int64_t i = begin; i < end; i++) {
      const int64_t drawn = i % generic::kNormals;
      if (p.noise && drawn == 0) generic::normals(stream, uint64_t(i) / 4, z);
      double x0 = double(coef[0]) * tensor(0, i);
      if (p.tensors > 1) x0 += double(coef[1]) * tensor(1, i);
      if (p.clamp) x0 = x0 < double(p.lo) ? double(p.lo) : x0 > double(p.hi) ? double(p.hi) : x0;
      double sum = double(coef[2]) * x0;
      for (int k = 0; k < p.tensors; k++) sum += double(coef[4 + k]) * tensor(k, i);
      if (p.noise) sum += double(coef[3]) * double(z[drawn]);
      out[i] = T(sum);
    }
  });
  if (p.noise) stream.advance(p.size, call.out[1].as<int32_t>());
}

const RegisterVariant addNoiseVariant{
    referenceVariant("addNoise", byFloat<runAddNoise<float>, runAddNoise<double>>)};
const RegisterVariant samplerStepVariant{
    referenceVariant("samplerStep", byWidened<runSamplerStep<float>, runSamplerStep<double>>)};

}  // namespace
}  // namespace figment
