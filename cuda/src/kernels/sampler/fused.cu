// samplerStep in one pass and one launch, four elements at a time: operands are read once, noise is
// drawn in registers, and the last block writes the next state. The same operations in the same
// order as the CPU's vectors.
#include "../../device/four.h"
#include "../../device/last_block.h"
#include "../../device/launch.h"
#include "../../device/philox.h"
#include "../../device/vectors.h"
#include "kernels/params/samplerStep.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <int kTensors>
struct Operands {
  Global<const float> coef;
  Floats<float> tensor[kTensors];
  Global<const int32_t> state;
  FloatResults<float> out;
  Global<int32_t> next;
};

template <int kTensors>
struct Weights {
  float first, second, clean, sigma, tensor[kTensors];
};

/// One element before noise.
template <int kTensors>
FIGMENT_DEVICE float meanOf(const SamplerStepParams& p, const Weights<kTensors>& w,
                            const float (&t)[kTensors]) {
  float x0 = __fmul_rn(w.first, t[0]);
  if constexpr (kTensors > 1) x0 = __fmaf_rn(w.second, t[1], x0);
  if (p.clamp) {
    x0 = p.lo > x0 ? p.lo : x0;  // in this order of operands NaN stays NaN
    x0 = p.hi < x0 ? p.hi : x0;
  }
  float sum = __fmul_rn(w.clean, x0);
  FIGMENT_UNROLL
  for (int k = 0; k < kTensors; k++) sum = __fmaf_rn(w.tensor[k], t[k], sum);
  return sum;
}

/// Elements i to i + 3. f32 operands have a kernel of their own, which asks for no format.
template <bool kHalf, bool kAligned>
FIGMENT_DEVICE float4 fourOf(const Floats<float>& x, int64_t i) {
  if constexpr (!kHalf) {
    return loadFour<kAligned>(x.as<float>(), i);
  } else if constexpr (kAligned) {
    float values[4];
    loadFloats<4>(x, i, values);
    return make_float4(values[0], values[1], values[2], values[3]);
  } else {
    return make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
  }
}
template <bool kHalf, bool kAligned>
FIGMENT_DEVICE void keepFour(const FloatResults<float>& y, int64_t i, const float (&values)[4]) {
  if constexpr (!kHalf) {
    storeFour<kAligned>(y.as<float>(), i, make_float4(values[0], values[1], values[2], values[3]));
  } else if constexpr (kAligned) {
    storeFloats<4>(y, i, values);
  } else {
    FIGMENT_UNROLL
    for (int part = 0; part < 4; part++) y.set(i + part, values[part]);
  }
}

template <int kTensors, bool kHalf, bool kAligned>
FIGMENT_KERNEL(kThreads)
stepKernel(SamplerStepParams p, FIGMENT_GRID_CONSTANT const Operands<kTensors> operands,
           uint32_t* arrivals) {
  RandomStream stream = {};
  if (p.noise) stream = readStream(operands.state);
  Weights<kTensors> w = {
      operands.coef[0], operands.coef[1], operands.coef[2], operands.coef[3], {}};
  FIGMENT_UNROLL
  for (int k = 0; k < kTensors; k++) w.tensor[k] = operands.coef[4 + k];
  for (int64_t four = threadInGrid(); 4 * four < p.size; four += threadsOfGrid()) {
    const int64_t i = 4 * four;
    const bool whole = i + 4 <= p.size;
    float4 t[kTensors];
    FIGMENT_UNROLL
    for (int k = 0; k < kTensors; k++) {
      const auto& x = operands.tensor[k];
      if (whole)
        t[k] = fourOf<kHalf, kAligned>(x, i);
      else
        t[k] = make_float4(x[i], i + 1 < p.size ? x[i + 1] : 0, i + 2 < p.size ? x[i + 2] : 0, 0);
    }
    float4 z = make_float4(0, 0, 0, 0);
    if (p.noise) z = normalBlock(stream, uint64_t(four));
    float result[4];
    FIGMENT_UNROLL
    for (int part = 0; part < 4; part++) {
      float of[kTensors];
      FIGMENT_UNROLL
      for (int k = 0; k < kTensors; k++) of[k] = partOf(t[k], part);
      result[part] = meanOf(p, w, of);
      if (p.noise) result[part] = __fmaf_rn(w.sigma, partOf(z, part), result[part]);
    }
    if (whole) {
      keepFour<kHalf, kAligned>(operands.out, i, result);
      continue;
    }
    operands.out.set(i, result[0]);
    if (i + 1 < p.size) operands.out.set(i + 1, result[1]);
    if (i + 2 < p.size) operands.out.set(i + 2, result[2]);
  }
  // `next` may be `state`, so all blocks must have read it.
  if (p.noise && isLastBlock(arrivals) && threadIdx.x == 0)
    writeAdvanced(stream, p.size, operands.next);
}

template <int kTensors, bool kHalf>
void runStepOf(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<SamplerStepParams>();
  Operands<kTensors> operands;
  operands.coef = viewOf<const float>(call.in[0]);
  operands.out = resultsOf<float>(call.out[0]);
  if (p.noise) {
    operands.state = viewOf<const int32_t>(call.in[1 + kTensors]);
    operands.next = viewOf<int32_t>(call.out[1]);
  }
  bool aligned = startsAligned(call.out[0]);
  for (int k = 0; k < kTensors; k++) {
    operands.tensor[k] = floatsOf<float>(call.in[1 + k]);
    aligned = aligned && startsAligned(call.in[1 + k]);
  }
  const Grid grid = gridFor(launcher, p.size > 0 ? ceilDiv(p.size, 4) : 1, kThreads);
  if (aligned)
    launch<stepKernel<kTensors, kHalf, true>>(launcher, grid, kThreads, 0, p, operands,
                                              launcher.arrivals());
  else
    launch<stepKernel<kTensors, kHalf, false>>(launcher, grid, kThreads, 0, p, operands,
                                               launcher.arrivals());
}

template <int kTensors>
void runStep(const OpCall& call, Launcher& launcher) {
  call.out[0].format == Format::f32 ? runStepOf<kTensors, false>(call, launcher)
                                    : runStepOf<kTensors, true>(call, launcher);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  switch (call.as<SamplerStepParams>().tensors) {
    case 1:
      return runStep<1>(call, launcher);
    case 2:
      return runStep<2>(call, launcher);
    case 3:
      return runStep<3>(call, launcher);
    case 4:
      return runStep<4>(call, launcher);
    case 5:
      return runStep<5>(call, launcher);
    default:
      return runStep<6>(call, launcher);
  }
}

const RegisterVariant registrar{
    {.op = "samplerStep",
     .name = "fused",
     .isa = Isa::sm75,
     .supports = [](const OpCall& call) { return call.out[0].format == Format::f64 ? -1 : 20; },
     .scratch = nullptr,
     .run = run}};

}  // namespace
}  // namespace figment::cuda
