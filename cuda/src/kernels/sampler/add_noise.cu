// addNoise in one launch, four elements of a sample at a time where samples are whole fours. The
// thread with a sample's first element reports its timestep.
#include "../../device/divisor.h"
#include "../../device/four.h"
#include "../../device/launch.h"
#include "kernels/params/addNoise.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

struct Operands {
  Global<const float> x, noise, a, b;
  Global<const int32_t> timesteps;
  Global<float> out;
};

/// One multiplication and one fused multiply-add, as on the CPU.
FIGMENT_DEVICE float mixed(float a, float x, float b, float noise) {
  return __fmaf_rn(b, noise, __fmul_rn(a, x));
}

/// kWidth is 4 or 1; samples are `pieces` of so many elements.
template <int kWidth>
FIGMENT_KERNEL(kThreads)
addNoiseKernel(Operands o, uint32_t count, Divisor pieces, int64_t steps, FailureSink failures) {
  for (int64_t piece = threadInGrid(); piece < count; piece += threadsOfGrid()) {
    const uint32_t sample = pieces.quotient(uint32_t(piece));
    const int32_t t = o.timesteps[sample];
    const bool known = t >= 0 && t < steps;
    if (!known && sample * pieces.divisor == piece) failures.report(0, sample, double(t));
    const float a = known ? o.a[t] : 0, b = known ? o.b[t] : 0;
    const int64_t i = kWidth * piece;
    if constexpr (kWidth == 4) {
      const float4 x = loadFour<true>(o.x, i), noise = loadFour<true>(o.noise, i);
      storeFour<true>(o.out, i,
                      make_float4(mixed(a, x.x, b, noise.x), mixed(a, x.y, b, noise.y),
                                  mixed(a, x.z, b, noise.z), mixed(a, x.w, b, noise.w)));
    } else {
      o.out[i] = mixed(a, o.x[i], b, o.noise[i]);
    }
  }
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<AddNoiseParams>();
  if (p.n == 0 || p.inner == 0) return;
  const Operands operands = {viewOf<const float>(call.in[0]),   viewOf<const float>(call.in[1]),
                             viewOf<const float>(call.in[3]),   viewOf<const float>(call.in[4]),
                             viewOf<const int32_t>(call.in[2]), viewOf<float>(call.out[0])};
  const bool fours = p.inner % 4 == 0 && startsAligned(call.in[0]) && startsAligned(call.in[1]) &&
                     startsAligned(call.out[0]);
  const int64_t pieces = fours ? p.inner / 4 : p.inner;
  const Grid grid = gridFor(launcher, p.n * pieces, kThreads);
  const auto kernel =
      fours ? launch<addNoiseKernel<4>, Operands, uint32_t, Divisor, int64_t, FailureSink>
            : launch<addNoiseKernel<1>, Operands, uint32_t, Divisor, int64_t, FailureSink>;
  kernel(launcher, grid, kThreads, 0, operands, uint32_t(p.n * pieces), Divisor(uint32_t(pieces)),
         p.steps, launcher.failures());
}

/// Elements must be counted in 31 bits.
int supports(const OpCall& call) {
  return call.out[0].format == Format::f32 && call.out[0].elements() < int64_t{1} << 31 ? 20 : -1;
}

const RegisterVariant registrar{{.op = "addNoise",
                                 .name = "vector",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
