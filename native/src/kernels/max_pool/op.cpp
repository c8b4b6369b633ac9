// maxPool: x [N,h,w,C] -> [N,ho,wo,C], the largest element under each window kh x kw; the padding
// takes no part. Of equal elements the first in row-major order is the one; NaN counts as larger
// than any number. maxPoolTake(x, v) takes v where x is largest; maxPoolGrad(x, dy) is its
// transpose in v: it adds dy where x is largest. The two are each other's derivative.
#include <string>

#include "../op_spec.h"
#include "../params/maxPool.generated.h"
#include "../params/maxPoolGrad.generated.h"
#include "../params/maxPoolTake.generated.h"

namespace figment::max_pool {
namespace {

/// Which operands stand beside x: nothing, another image, or windows.
enum class Beside { nothing, image, windows };

template <class P, Beside beside>
std::string check(const OpCall& call) {
  constexpr int inputs = beside == Beside::nothing ? 1 : 2;
  if (call.inCount != inputs || call.outCount != 1) return "wrong number of operands";
  const P& p = call.as<P>();
  for (int32_t dim : {p.n, p.h, p.w, p.c, p.ho, p.wo})
    if (dim < 0) return "negative dimension";
  const Format format = call.out[0].format;
  if (format != Format::f32 && format != Format::f64) return "format must be f32 or f64";
  if (!call.in[0].hasShape({p.n, p.h, p.w, p.c})) return "image is not [n, h, w, c]";
  const Operand& y = beside == Beside::windows ? call.in[1] : call.out[0];
  if (!y.hasShape({p.n, p.ho, p.wo, p.c})) return "result is not [n, ho, wo, c]";
  if (beside == Beside::image && !call.in[1].hasShape({p.n, p.h, p.w, p.c}))
    return "values are not [n, h, w, c]";
  if (beside == Beside::windows && !call.out[0].hasShape({p.n, p.h, p.w, p.c}))
    return "result is not [n, h, w, c]";
  for (int i = 0; i < inputs; i++) {
    if (call.in[i].format != format) return "formats differ";
    if (!call.in[i].contiguous()) return "operands must be contiguous";
  }
  if (!call.out[0].contiguous()) return "operands must be contiguous";
  if (p.kh < 1 || p.kw < 1) return "kernel must be at least 1";
  const int64_t in[2] = {p.h, p.w}, out[2] = {p.ho, p.wo}, kernel[2] = {p.kh, p.kw};
  for (int d = 0; d < 2; d++) {
    if (in[d] < 1) return "the image has no pixels";
    if (p.stride[d] < 1) return "stride must be at least 1";
    if (p.padLo[d] < 0 || p.padHi[d] < 0) return "negative padding";
    if (p.padLo[d] >= kernel[d] || p.padHi[d] >= kernel[d])
      return "padding must be smaller than the kernel";
    const int64_t free = in[d] + p.padLo[d] + p.padHi[d] - kernel[d];
    if (free < 0) return "kernel is larger than the padded image";
    if (out[d] != free / p.stride[d] + 1) return "result size does not follow from the window";
  }
  return "";
}

template <class P>
Cost cost(const OpCall& call) {
  const P& p = call.as<P>();
  const double windows = double(p.n) * double(p.ho) * double(p.wo) * double(p.c);
  return {.flops = windows * double(p.kh < p.h ? p.kh : p.h) * double(p.kw < p.w ? p.kw : p.w),
          .bytes = operandBytes(call)};
}

const RegisterOp registerPool{specOf<MaxPoolParams>(
    "maxPool", check<MaxPoolParams, Beside::nothing>, neverAliases, cost<MaxPoolParams>)};
const RegisterOp registerTake{specOf<MaxPoolTakeParams>(
    "maxPoolTake", check<MaxPoolTakeParams, Beside::image>, neverAliases, cost<MaxPoolTakeParams>)};
const RegisterOp registerGrad{specOf<MaxPoolGradParams>("maxPoolGrad",
                                                        check<MaxPoolGradParams, Beside::windows>,
                                                        neverAliases, cost<MaxPoolGradParams>)};

}  // namespace
}  // namespace figment::max_pool
