// randomUniform, randomNormal and randomInteger, one thread for each block of four words.
#include "../../device/launch.h"
#include "../../device/philox.h"
#include "../plain.h"
#include "advance.h"
#include "kernels/params/randomInteger.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <bool normal>
FIGMENT_KERNEL(kThreads)
floatKernel(Global<const int32_t> state, Global<float> out, int64_t count) {
  const RandomStream stream = readStream(state);
  for (int64_t block = threadInGrid(); 4 * block < count; block += threadsOfGrid()) {
    const float4 x =
        normal ? normalBlock(stream, uint64_t(block)) : uniformBlock(stream, uint64_t(block));
    for (int k = 0; k < 4 && 4 * block + k < count; k++) out[4 * block + k] = partOf(x, k);
  }
}

FIGMENT_KERNEL(kThreads)
integerKernel(Global<const int32_t> state, Global<int32_t> out, RandomIntegerParams p) {
  const RandomStream stream = readStream(state);
  for (int64_t i = threadInGrid(); i < p.count; i += threadsOfGrid())
    out[i] = integerOf(wideWord(stream, i), p.lo, uint64_t(p.hi - p.lo));
}

template <bool normal>
void runFloat(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const int64_t count = call.out[0].elements();
  launch<floatKernel<normal>>(launcher, gridFor(launcher, ceilDiv(count, 4), kThreads), kThreads, 0,
                              viewOf<const int32_t>(call.in[0]), viewOf<float>(call.out[0]), count);
  advanceStream(launcher, call.in[0], call.out[1], count);
}

void runInteger(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<RandomIntegerParams>();
  launch<integerKernel>(launcher, gridFor(launcher, p.count, kThreads), kThreads, 0,
                        viewOf<const int32_t>(call.in[0]), viewOf<int32_t>(call.out[0]), p);
  advanceStream(launcher, call.in[0], call.out[1], 2 * p.count);
}

const RegisterVariant uniform{plainVariant("randomUniform", runFloat<false>)};
const RegisterVariant normal{plainVariant("randomNormal", runFloat<true>)};
const RegisterVariant integer{plainVariant("randomInteger", runInteger)};

}  // namespace
}  // namespace figment::cuda
