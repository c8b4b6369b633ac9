// Nearest-neighbour resizing: pixels are copied in units of up to 16 bytes, whatever their format
// is.
#include "kernels/params/resizeNearest.generated.h"
#include "pixels.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

struct Source {
  Pixels to;
  Divisor ho, wo;
  int h, w, c;  // c in units
};

template <class Unit>
FIGMENT_KERNEL(kThreads)
nearestKernel(Global<const Unit> x, Global<Unit> y, Source source) {
  const auto step = uint32_t(threadsOfGrid());
  for (auto item = uint32_t(threadInGrid()); item < source.to.count; item += step) {
    const Pixel at = source.to.at(item);
    const auto row = int(source.ho.quotient(uint32_t(at.y) * uint32_t(source.h)));
    const auto column = int(source.wo.quotient(uint32_t(at.x) * uint32_t(source.w)));
    y[int(item)] = x[((at.n * source.h + row) * source.w + column) * source.c + at.c];
  }
}

/// The largest unit that pixels and addresses are made of.
size_t unitBytes(const OpCall& call) {
  const Operand &x = call.in[0], &y = call.out[0];
  const size_t format = formatBytes(x.format);
  for (const size_t unit : {size_t(16), size_t(4)}) {
    const bool pixels = size_t(x.dims[3]) * format % unit == 0;
    const auto address = reinterpret_cast<uintptr_t>(x.data) | reinterpret_cast<uintptr_t>(y.data);
    if (pixels && address % unit == 0 && unit >= format) return unit;
  }
  return format;
}

template <class Unit>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<ResizeNearestParams>();
  const int64_t scale = int64_t(formatBytes(call.in[0].format));
  const int64_t units = p.c * scale / int64_t(sizeof(Unit));
  const Source source = {Pixels(p.n, p.ho, p.wo, units, 1),
                         Divisor(uint32_t(p.ho)),
                         Divisor(uint32_t(p.wo)),
                         p.h,
                         p.w,
                         int(units)};
  const auto view = [&]<class U>(const Operand& x) {
    return Global<U>(x.as<U>(), x.elements() * scale / int64_t(sizeof(Unit)));
  };
  launch<nearestKernel<Unit>>(launcher, gridFor(launcher, source.to.count, kThreads), kThreads, 0,
                              view.template operator()<const Unit>(call.in[0]),
                              view.template operator()<Unit>(call.out[0]), source);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  switch (unitBytes(call)) {
    case 16:
      return runAs<uint4>(call, launcher);
    case 8:
      return runAs<uint64_t>(call, launcher);
    case 4:
      return runAs<uint32_t>(call, launcher);
    case 2:
      return runAs<uint16_t>(call, launcher);
    default:
      return runAs<uint8_t>(call, launcher);
  }
}

int supports(const OpCall& call) {
  const auto& p = call.as<ResizeNearestParams>();
  const bool small = int64_t(p.h) * p.ho < int64_t(1) << 31 && int64_t(p.w) * p.wo < int64_t(1)
                                                                                         << 31;
  return small && smallImages(call) ? kVectorPreference : -1;
}

const RegisterVariant registrar{{.op = "resizeNearest",
                                 .name = "vector",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
