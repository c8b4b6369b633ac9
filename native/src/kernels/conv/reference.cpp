// The plain meaning of the three convolutions, each as a sum over the taps of the kernel,
// accumulated in double:
//   y[n,i,j,o]  = act(scale[o] Σ_{u,v,c} x[n, i·s − pad + u·dil, j·s − pad + v·dil, c] w[o,u,v,c]
//                     + bias[o]) + addend[n,i,j,o]
//   dx[n,h,w,c] = Σ_{o,u,v : the forward pass read (h,w) through tap (u,v)} dy[n,i,j,o] w[o,u,v,c]
//   dw[o,u,v,c] = Σ_{n,i,j} x[n, i·s − pad + u·dil, j·s − pad + v·dil, c] dy[n,i,j,o]
// The only variants that run f64.
#include "../reference.h"

#include "kernels/gemm/plain_epilogue.h"
#include "kernels/kernel.h"
#include "kernels/params/conv2d.generated.h"
#include "kernels/params/conv2dInputGrad.generated.h"
#include "kernels/params/conv2dWeightGrad.generated.h"
#include "kernels/widened.h"

namespace figment {
namespace {

/// Asked before any product of dims: one of them may be zero and the others beyond all memory.
bool isEmpty(const Operand& operand) {
  for (int i = 0; i < operand.rank; i++)
    if (operand.dims[i] == 0) return true;
  return false;
}

template <class P>
struct Geometry {
  const P& p;
  int64_t groupIn() const { return p.c / p.groups; }
  int64_t groupOut() const { return p.o / p.groups; }
  /// Index in the image that output position `at` reads through tap `tap`, or -1 in the padding.
  int64_t source(int axis, int64_t at, int64_t tap) const {
    const int64_t i = at * p.stride[axis] - p.padLo[axis] + tap * p.dilation[axis];
    return i >= 0 && i < (axis == 0 ? p.h : p.w) ? i : -1;
  }
  /// Output position that reads image index `i` through tap `tap`, or -1 when there is none.
  int64_t reader(int axis, int64_t i, int64_t tap) const {
    const int64_t scaled = i + p.padLo[axis] - tap * p.dilation[axis];
    if (scaled < 0 || scaled % p.stride[axis] != 0) return -1;
    const int64_t at = scaled / p.stride[axis];
    return at < (axis == 0 ? p.ho : p.wo) ? at : -1;
  }
};

template <class T>
void forwardTyped(const OpCall& call, Context& context) {
  const auto& p = call.as<Conv2dParams>();
  if (isEmpty(call.out[0])) return;
  const Geometry<Conv2dParams> g{p};
  const T *x = call.in[0].as<const T>(), *w = call.in[1].as<const T>();
  const PlainEpilogue<T> epilogue = PlainEpilogue<T>::template of<Conv2dParams>(call);
  const int64_t cg = g.groupIn(), og = g.groupOut(), kh = cg == 0 ? 0 : p.kh, kw = p.kw;
  context.parallelFor(int64_t(p.n) * p.ho, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t n = row / p.ho, i = row % p.ho;
      T* y = call.out[0].as<T>() + row * p.wo * p.o;
      for (int64_t j = 0; j < p.wo; j++) {
        for (int64_t o = 0; o < p.o; o++) {
          double sum = 0.0;
          for (int64_t u = 0; u < kh; u++) {
            const int64_t h = g.source(0, i, u);
            if (h < 0) continue;
            for (int64_t v = 0; v < kw; v++) {
              const int64_t q = g.source(1, j, v);
              if (q < 0) continue;
              const T* xs = x + ((n * p.h + h) * p.w + q) * p.c + o / og * cg;
              const T* ws = w + ((o * p.kh + u) * p.kw + v) * cg;
              for (int64_t c = 0; c < cg; c++) sum += double(xs[c]) * double(ws[c]);
            }
          }
          y[j * p.o + o] = T(epilogue.finished(sum, o, (row * p.wo + j) * p.o + o));
        }
      }
    }
  });
}

template <class T>
void inputGradTyped(const OpCall& call, Context& context) {
  const auto& p = call.as<Conv2dInputGradParams>();
  if (isEmpty(call.out[0])) return;
  const Geometry<Conv2dInputGradParams> g{p};
  const T *dy = call.in[0].as<const T>(), *w = call.in[1].as<const T>();
  const int64_t cg = g.groupIn(), og = g.groupOut(), kh = og == 0 ? 0 : p.kh, kw = p.kw;
  context.parallelFor(int64_t(p.n) * p.h, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t n = row / p.h, h = row % p.h;
      T* dx = call.out[0].as<T>() + row * p.w * p.c;
      for (int64_t q = 0; q < p.w; q++) {
        for (int64_t c = 0; c < p.c; c++) {
          double sum = 0;
          for (int64_t u = 0; u < kh; u++) {
            const int64_t i = g.reader(0, h, u);
            if (i < 0) continue;
            for (int64_t v = 0; v < kw; v++) {
              const int64_t j = g.reader(1, q, v);
              if (j < 0) continue;
              const int64_t first = c / cg * og;
              const T* ds = dy + ((n * p.ho + i) * p.wo + j) * p.o + first;
              const T* ws = w + ((first * p.kh + u) * p.kw + v) * cg + c % cg;
              for (int64_t o = 0; o < og; o++)
                sum += double(ds[o]) * double(ws[o * p.kh * p.kw * cg]);
            }
          }
          dx[q * p.c + c] = T(sum);
        }
      }
    }
  });
}

template <class T>
void weightGradTyped(const OpCall& call, Context& context) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  if (isEmpty(call.out[0])) return;
  const Geometry<Conv2dWeightGradParams> g{p};
  const T *x = call.in[0].as<const T>(), *dy = call.in[1].as<const T>();
  const int64_t cg = g.groupIn(), og = g.groupOut();
  const int64_t images = p.ho == 0 || p.wo == 0 ? 0 : p.n;
  context.parallelFor(int64_t(p.o) * p.kh * p.kw, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t v = row % p.kw, u = row / p.kw % p.kh, o = row / p.kw / p.kh;
      T* dw = call.out[0].as<T>() + row * cg;
      for (int64_t c = 0; c < cg; c++) {
        double sum = 0;
        for (int64_t n = 0; n < images; n++) {
          for (int64_t i = 0; i < p.ho; i++) {
            const int64_t h = g.source(0, i, u);
            if (h < 0) continue;
            for (int64_t j = 0; j < p.wo; j++) {
              const int64_t q = g.source(1, j, v);
              if (q < 0) continue;
              sum += double(x[((n * p.h + h) * p.w + q) * p.c + o / og * cg + c]) *
                     double(dy[((n * p.ho + i) * p.wo + j) * p.o + o]);
            }
          }
        }
        dw[c] = T(sum);
      }
    }
  });
}

const RegisterVariant forward{
    referenceVariant("conv2d", byWidened<forwardTyped<float>, forwardTyped<double>>)};
const RegisterVariant inputGrad{
    referenceVariant("conv2dInputGrad", byWidened<inputGradTyped<float>, inputGradTyped<double>>)};
const RegisterVariant weightGrad{referenceVariant(
    "conv2dWeightGrad", byWidened<weightGradTyped<float>, weightGradTyped<double>>)};

}  // namespace
}  // namespace figment
