// Bilinear resizing by its definition (tap.h of the CPU's kernels), one thread for each element of
// the result. The gradient is a gather: every element of the image looks at the results around its
// place and adds up those that read it.
#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/bilinear/tap.h"
#include "kernels/params/resizeBilinear.generated.h"
#include "kernels/params/resizeBilinearGrad.generated.h"

namespace figment::cuda {
namespace {

using bilinear::bilinearTap;
using bilinear::Tap;

constexpr int kThreads = 256;

template <class T>
FIGMENT_KERNEL(kThreads)
bilinearKernel(Global<const T> image, Global<T> result, int64_t count, ResizeBilinearParams p) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t c = e % p.c, x = e / p.c % p.wo, y = e / p.c / p.wo % p.ho,
                  n = e / p.c / p.wo / p.ho;
    const Tap row = bilinearTap(y, p.h, p.ho, p.alignCorners != 0);
    const Tap column = bilinearTap(x, p.w, p.wo, p.alignCorners != 0);
    const int64_t above = (n * p.h + row.at) * p.w, below = (n * p.h + row.next) * p.w;
    T sum = T((1 - row.weight) * (1 - column.weight)) * image[(above + column.at) * p.c + c];
    sum += T((1 - row.weight) * column.weight) * image[(above + column.next) * p.c + c];
    sum += T(row.weight * (1 - column.weight)) * image[(below + column.at) * p.c + c];
    sum += T(row.weight * column.weight) * image[(below + column.next) * p.c + c];
    result[e] = sum;
  }
}

/// Results whose place may lie less than one pixel from i: [begin, end), a few too many.
struct Readers {
  int64_t begin, end;
};
FIGMENT_DEVICE Readers readersOf(int64_t i, int64_t in, int64_t out, bool alignCorners) {
  // The inverse of a result's place, and what rounding and the borders may add to it.
  const double scale = alignCorners ? (in > 1 ? double(out - 1) / double(in - 1) : double(out))
                                    : double(out) / double(in);
  const double slack = scale + 2;
  const double before = (double(i) - 1) * scale - slack, after = (double(i) + 1) * scale + slack;
  const int64_t begin = before < 0 || i == 0 ? 0 : int64_t(before);
  const int64_t end = after > double(out) || i == in - 1 ? out : int64_t(after) + 1;
  return {begin, end < out ? end : out};
}

/// The weight of element i in the result with this tap.
FIGMENT_DEVICE double weightOf(int64_t i, const Tap& tap) {
  return (tap.at == i ? 1 - tap.weight : 0) + (tap.next == i ? tap.weight : 0);
}

template <class T>
FIGMENT_KERNEL(kThreads)
bilinearGradKernel(Global<const T> dy, Global<T> dx, int64_t count, ResizeBilinearGradParams p) {
  const bool align = p.alignCorners != 0;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t c = e % p.c, x = e / p.c % p.w, y = e / p.c / p.w % p.h, n = e / p.c / p.w / p.h;
    const Readers rows = readersOf(y, p.h, p.ho, align), columns = readersOf(x, p.w, p.wo, align);
    T sum = T(0);
    for (int64_t oy = rows.begin; oy < rows.end; oy++) {
      const Tap row = bilinearTap(oy, p.h, p.ho, align);
      if (row.at != y && row.next != y) continue;
      for (int64_t ox = columns.begin; ox < columns.end; ox++) {
        const Tap column = bilinearTap(ox, p.w, p.wo, align);
        if (column.at != x && column.next != x) continue;
        sum +=
            T(weightOf(y, row) * weightOf(x, column)) * dy[((n * p.ho + oy) * p.wo + ox) * p.c + c];
      }
    }
    dx[e] = sum;
  }
}

template <auto kernel, class P, class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const int64_t count = call.out[0].elements();
  launch<kernel>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                 viewOf<const T>(call.in[0]), viewOf<T>(call.out[0]), count, call.as<P>());
}

template <auto kernelF32, auto kernelF64, class P>
void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (call.out[0].format == Format::f64)
    runAs<kernelF64, P, double>(call, launcher);
  else
    runAs<kernelF32, P, float>(call, launcher);
}

const RegisterVariant registerBilinear{plainVariant(
    "resizeBilinear", run<bilinearKernel<float>, bilinearKernel<double>, ResizeBilinearParams>)};
const RegisterVariant registerBilinearGrad{plainVariant(
    "resizeBilinearGrad",
    run<bilinearGradKernel<float>, bilinearGradKernel<double>, ResizeBilinearGradParams>)};

}  // namespace
}  // namespace figment::cuda
