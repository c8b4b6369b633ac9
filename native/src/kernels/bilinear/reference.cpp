// Bilinear resizing by its definition: forward one output at a time, the transpose by scattering.
#include "../reference.h"

#include "../params/resizeBilinear.generated.h"
#include "../params/resizeBilinearGrad.generated.h"
#include "tap.h"

namespace figment::bilinear {
namespace {

/// Visits (pixel of the image, pixel of the result, weight) of every pair that is joined in sample
/// n, counted in pixels.
template <class P, class F>
void forPairs(const P& p, int64_t n, F f) {
  for (int64_t y = 0; y < p.ho; y++) {
    const Tap row = bilinearTap(y, p.h, p.ho, p.alignCorners != 0);
    for (int64_t x = 0; x < p.wo; x++) {
      const Tap column = bilinearTap(x, p.w, p.wo, p.alignCorners != 0);
      const int64_t to = (n * p.ho + y) * p.wo + x;
      const int64_t above = (n * p.h + row.at) * p.w, below = (n * p.h + row.next) * p.w;
      f(above + column.at, to, (1 - row.weight) * (1 - column.weight));
      f(above + column.next, to, (1 - row.weight) * column.weight);
      f(below + column.at, to, row.weight * (1 - column.weight));
      f(below + column.next, to, row.weight * column.weight);
    }
  }
}

template <class P, class T, bool gradient>
void run(const OpCall& call, Context& context) {
  const P& p = call.as<P>();
  if (call.out[0].empty()) return;
  const T* in = call.in[0].as<const T>();
  T* out = call.out[0].as<T>();
  const int64_t image = call.out[0].elements() / p.n;
  context.parallelFor(p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++) {
      for (int64_t i = 0; i < image; i++) out[n * image + i] = T(0);
      forPairs(p, n, [&](int64_t x, int64_t y, double weight) {
        const int64_t from = gradient ? y : x, to = gradient ? x : y;
        for (int64_t c = 0; c < p.c; c++) out[to * p.c + c] += T(weight) * in[from * p.c + c];
      });
    }
  });
}

const RegisterVariant referenceBilinear{referenceVariant(
    "resizeBilinear",
    byFloat<run<ResizeBilinearParams, float, false>, run<ResizeBilinearParams, double, false>>)};
const RegisterVariant referenceBilinearGrad{
    referenceVariant("resizeBilinearGrad", byFloat<run<ResizeBilinearGradParams, float, true>,
                                                   run<ResizeBilinearGradParams, double, true>>)};

}  // namespace
}  // namespace figment::bilinear
