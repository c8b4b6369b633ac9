// upfirdn2d by its definition, one thread for each element of the result: every tap of the filter
// looks at the upsampled, padded image.
#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/params/upfirdn2d.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// The element of the image at position `at` of the upsampled axis; −1 where there is a zero.
FIGMENT_DEVICE int64_t elementAt(int64_t at, int64_t up, int64_t in) {
  if (at < 0 || at % up != 0 || at / up >= in) return -1;
  return at / up;
}

template <class T>
FIGMENT_KERNEL(kThreads)
upfirdnKernel(Global<const T> image, Global<const T> filter, Global<T> result, int64_t count,
              Upfirdn2dParams p) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t c = e % p.c, x = e / p.c % p.wo, y = e / p.c / p.wo % p.ho,
                  n = e / p.c / p.wo / p.ho;
    T sum = T(0);
    for (int64_t ky = 0; ky < p.kh; ky++) {
      const int64_t iy = elementAt(y * p.down[0] + ky - p.padLo[0], p.up[0], p.h);
      if (iy < 0) continue;
      for (int64_t kx = 0; kx < p.kw; kx++) {
        const int64_t ix = elementAt(x * p.down[1] + kx - p.padLo[1], p.up[1], p.w);
        if (ix < 0) continue;
        const int64_t fy = p.flip ? ky : p.kh - 1 - ky, fx = p.flip ? kx : p.kw - 1 - kx;
        sum += filter[fy * p.kw + fx] * image[((n * p.h + iy) * p.w + ix) * p.c + c];
      }
    }
    result[e] = sum;
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const int64_t count = call.out[0].elements();
  launch<upfirdnKernel<T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                           viewOf<const T>(call.in[0]), viewOf<const T>(call.in[1]),
                           viewOf<T>(call.out[0]), count, call.as<Upfirdn2dParams>());
}

void run(const OpCall& call, Context& context) {
  call.out[0].format == Format::f64 ? runAs<double>(call, launcherOf(context))
                                    : runAs<float>(call, launcherOf(context));
}

const RegisterVariant registrar{plainVariant("upfirdn2d", run)};

}  // namespace
}  // namespace figment::cuda
