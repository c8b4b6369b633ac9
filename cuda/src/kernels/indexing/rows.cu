// gather by rows in pieces of up to 16 bytes, one thread for each. The thread with the first piece
// that an index picks reports it where it is outside the axis.
#include "../../device/divisor.h"
#include "../../device/launch.h"
#include "../../device/units.h"
#include "kernels/params/gather.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// Rows are `width` pieces. Those at indices outside the axis become zero.
template <class Unit>
FIGMENT_KERNEL(kThreads)
rowsKernel(Global<const Unit> x, Global<const int32_t> indices, Global<Unit> y, int64_t pieces,
           Divisor width, Divisor count, int64_t axis, FailureSink failures) {
  for (int64_t i = threadInGrid(); i < pieces; i += threadsOfGrid()) {
    const uint32_t row = width.quotient(uint32_t(i));
    const uint32_t piece = uint32_t(i) - row * width.divisor;
    const uint32_t outer = count.quotient(row), position = row - outer * count.divisor;
    const int32_t index = indices[position];
    if (index >= 0 && index < axis) {
      y[i] = x[(outer * axis + index) * width.divisor + piece];
    } else {
      y[i] = Unit{};
      if (outer == 0 && piece == 0) failures.report(0, position, double(index));
    }
  }
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<GatherParams>();
  if (call.out[0].elements() == 0) return;
  const int64_t rowBytes = p.inner * int64_t(formatBytes(call.in[0].format));
  byUnit(unitOf(rowBytes, addressOf(call.in[0]), addressOf(call.out[0])), [&](auto unit) {
    using Unit = decltype(unit);
    const int64_t width = rowBytes / int64_t(sizeof(Unit)), pieces = p.outer * p.count * width;
    launch<rowsKernel<Unit>>(launcher, gridFor(launcher, pieces, kThreads), kThreads, 0,
                             Global<const Unit>(unitsOf<Unit>(call.in[0])),
                             viewOf<const int32_t>(call.in[1]), unitsOf<Unit>(call.out[0]), pieces,
                             Divisor(uint32_t(width)), Divisor(uint32_t(p.count)), p.axis,
                             launcher.failures());
  });
}

/// Pieces must be counted in 31 bits.
int supports(const OpCall& call) { return call.out[0].elements() < int64_t{1} << 31 ? 20 : -1; }

const RegisterVariant registrar{{.op = "gather",
                                 .name = "rows",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
