// takeAlong in one launch, a thread for each element, which also looks whether its index is on the
// axis.
#include "../../device/divisor.h"
#include "../../device/launch.h"
#include "../first.h"
#include "kernels/params/takeAlong.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// An outer entry of the result is `span` elements, of which `inner` are one row. Elements at
/// indices outside the axis become zero.
template <class T>
FIGMENT_KERNEL(kThreads)
takeKernel(Global<const T> x, Global<const int32_t> indices, Global<T> y, int64_t count,
           Divisor span, Divisor inner, int64_t axis, FailureSink failures) {
  int64_t first = count;
  double value = 0;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int32_t index = indices[e];
    const auto element = uint32_t(e);
    const uint32_t outer = span.quotient(element);
    const uint32_t column = element - inner.quotient(element) * inner.divisor;
    const bool known = index >= 0 && index < axis;
    y[e] = known ? x[(outer * axis + index) * inner.divisor + column] : T(0);
    if (!known && first == count) {
      first = e;
      value = double(index);
    }
  }
  reportLeast<kThreads>(first, count, value, 0, failures);
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<TakeAlongParams>();
  const int64_t count = call.out[0].elements();
  if (count == 0) return;
  launch<takeKernel<T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                        viewOf<const T>(call.in[0]), viewOf<const int32_t>(call.in[1]),
                        viewOf<T>(call.out[0]), count, Divisor(uint32_t(p.count * p.inner)),
                        Divisor(uint32_t(p.inner)), p.axis, launcher.failures());
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  switch (formatBytes(call.in[0].format)) {
    case 1:
      return runAs<uint8_t>(call, launcher);
    case 2:
      return runAs<uint16_t>(call, launcher);
    case 4:
      return runAs<uint32_t>(call, launcher);
    default:
      return runAs<uint64_t>(call, launcher);
  }
}

/// Elements must be counted in 31 bits.
int supports(const OpCall& call) { return call.out[0].elements() < int64_t{1} << 31 ? 20 : -1; }

const RegisterVariant registrar{{.op = "takeAlong",
                                 .name = "elements",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
