// dynamicSlice and dynamicUpdateSlice, one thread for each element of the box. Starts lie in device
// memory, and are clamped so that the box lies inside.
#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/params/dynamicSlice.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

struct Extents {
  int rank;
  int64_t whole[kMaxRank], part[kMaxRank];
};

/// The element of the whole tensor at which the box puts its element e.
FIGMENT_DEVICE int64_t placeOf(int64_t e, const Extents& extents,
                               const Global<const int32_t>& starts) {
  int64_t at = 0, stride = 1;
  for (int i = extents.rank - 1; i >= 0; i--) {
    const int64_t room = extents.whole[i] - extents.part[i], wished = starts[i];
    const int64_t start = wished < 0 ? 0 : wished > room ? room : wished;
    at += (start + e % extents.part[i]) * stride;
    e /= extents.part[i];
    stride *= extents.whole[i];
  }
  return at;
}

template <class T>
FIGMENT_KERNEL(kThreads)
sliceKernel(Global<const T> x, Global<const int32_t> starts, Global<T> y, int64_t count,
            Extents extents) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid())
    y[e] = x[placeOf(e, extents, starts)];
}

template <class T>
FIGMENT_KERNEL(kThreads)
updateKernel(Global<const T> part, Global<const int32_t> starts, Global<T> y, int64_t count,
             Extents extents) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid())
    y[placeOf(e, extents, starts)] = part[e];
}

Extents extentsOf(const Operand& whole, const Operand& part) {
  Extents extents = {whole.rank, {}, {}};
  for (int i = 0; i < whole.rank; i++) {
    extents.whole[i] = whole.dims[i];
    extents.part[i] = part.dims[i];
  }
  return extents;
}

template <class T>
void sliceAs(const OpCall& call, Launcher& launcher) {
  const int64_t count = call.out[0].elements();
  launch<sliceKernel<T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                         viewOf<const T>(call.in[0]), viewOf<const int32_t>(call.in[1]),
                         viewOf<T>(call.out[0]), count, extentsOf(call.in[0], call.out[0]));
}

template <class T>
void updateAs(const OpCall& call, Launcher& launcher) {
  const Operand &x = call.in[0], &part = call.in[1], &out = call.out[0];
  if (x.data != out.data)
    launcher.copy(out.data, x.data, size_t(x.elements()) * formatBytes(x.format));
  launch<updateKernel<T>>(launcher, gridFor(launcher, part.elements(), kThreads), kThreads, 0,
                          viewOf<const T>(part), viewOf<const int32_t>(call.in[2]), viewOf<T>(out),
                          part.elements(), extentsOf(out, part));
}

using Run = void (*)(const OpCall&, Launcher&);

template <Run k1, Run k2, Run k4, Run k8>
void byWidth(const OpCall& call, Context& context) {
  switch (formatBytes(call.in[0].format)) {
    case 1:
      return k1(call, launcherOf(context));
    case 2:
      return k2(call, launcherOf(context));
    case 4:
      return k4(call, launcherOf(context));
    default:
      return k8(call, launcherOf(context));
  }
}

const RegisterVariant slice{plainVariant(
    "dynamicSlice",
    byWidth<sliceAs<uint8_t>, sliceAs<uint16_t>, sliceAs<uint32_t>, sliceAs<uint64_t>>)};
const RegisterVariant update{plainVariant(
    "dynamicUpdateSlice",
    byWidth<updateAs<uint8_t>, updateAs<uint16_t>, updateAs<uint32_t>, updateAs<uint64_t>>)};

}  // namespace
}  // namespace figment::cuda
