// upfirdn2d by its definition: every tap of every output looks at the upsampled, padded image.
#include "../reference.h"

#include "../params/upfirdn2d.generated.h"

namespace figment::upfirdn {
namespace {

/// The element of the image at position `at` of the upsampled axis; −1 where there is a zero.
int64_t elementAt(int64_t at, int64_t up, int64_t in) {
  if (at < 0 || at % up != 0 || at / up >= in) return -1;
  return at / up;
}

template <class T>
void run(const OpCall& call, Context& context) {
  const auto& p = call.as<Upfirdn2dParams>();
  if (call.out[0].empty()) return;
  const T* x = call.in[0].as<const T>();
  const T* filter = call.in[1].as<const T>();
  T* y = call.out[0].as<T>();
  context.parallelFor(int64_t(p.n) * p.ho, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++)
      for (int64_t j = 0; j < p.wo; j++) {
        T* to = y + (r * p.wo + j) * p.c;
        for (int64_t c = 0; c < p.c; c++) to[c] = T(0);
        for (int64_t ky = 0; ky < p.kh; ky++)
          for (int64_t kx = 0; kx < p.kw; kx++) {
            const int64_t iy = elementAt(r % p.ho * p.down[0] + ky - p.padLo[0], p.up[0], p.h);
            const int64_t ix = elementAt(j * p.down[1] + kx - p.padLo[1], p.up[1], p.w);
            if (iy < 0 || ix < 0) continue;
            const int64_t fy = p.flip ? ky : p.kh - 1 - ky, fx = p.flip ? kx : p.kw - 1 - kx;
            const T weight = filter[fy * p.kw + fx];
            const T* from = x + ((r / p.ho * p.h + iy) * p.w + ix) * p.c;
            for (int64_t c = 0; c < p.c; c++) to[c] += weight * from[c];
          }
      }
  });
}

const RegisterVariant registerReference{
    referenceVariant("upfirdn2d", byFloat<run<float>, run<double>>)};

}  // namespace
}  // namespace figment::upfirdn
