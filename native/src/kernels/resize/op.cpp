// resizeNearest: x [N,h,w,C] -> [N,ho,wo,C], source index floor(i h / ho); its gradient is the
// transpose. avgPool: windows kh x kw divided by kh kw, padding included in the count; its gradient
// is the transpose.
#include <string>

#include "../op_spec.h"
#include "../params/avgPool.generated.h"
#include "../params/avgPoolGrad.generated.h"
#include "../params/resizeNearest.generated.h"
#include "../params/resizeNearestGrad.generated.h"

namespace figment::resize {
namespace {

template <class P>
std::string checkCommon(const OpCall& call, bool gradient) {
  if (call.inCount != 1 || call.outCount != 1) return "needs one input and one output";
  const P& p = call.as<P>();
  for (int32_t dim : {p.n, p.h, p.w, p.c, p.ho, p.wo})
    if (dim < 0) return "negative dimension";
  const Operand& x = gradient ? call.out[0] : call.in[0];
  const Operand& y = gradient ? call.in[0] : call.out[0];
  if (x.format != y.format) return "formats differ";
  if (!x.hasShape({p.n, p.h, p.w, p.c})) return "image is not [n, h, w, c]";
  if (!y.hasShape({p.n, p.ho, p.wo, p.c})) return "result is not [n, ho, wo, c]";
  if (!x.contiguous() || !y.contiguous()) return "operands must be contiguous";
  if ((p.h == 0 || p.w == 0) && p.ho > 0 && p.wo > 0) return "nothing to take pixels from";
  return "";
}

std::string checkFloat(const OpCall& call) {
  const Format format = call.out[0].format;
  return format == Format::f32 || format == Format::f64 ? "" : "format must be f32 or f64";
}

std::string checkNearest(const OpCall& call) {
  return checkCommon<ResizeNearestParams>(call, false);
}

std::string checkNearestGrad(const OpCall& call) {
  const std::string problem = checkCommon<ResizeNearestGradParams>(call, true);
  return problem.empty() ? checkFloat(call) : problem;
}

template <class P, bool gradient>
std::string checkPool(const OpCall& call) {
  std::string problem = checkCommon<P>(call, gradient);
  if (problem.empty()) problem = checkFloat(call);
  if (!problem.empty()) return problem;
  const P& p = call.as<P>();
  if (p.kh < 1 || p.kw < 1) return "kernel must be at least 1";
  const int64_t in[2] = {p.h, p.w}, out[2] = {p.ho, p.wo}, kernel[2] = {p.kh, p.kw};
  for (int d = 0; d < 2; d++) {
    if (p.stride[d] < 1) return "stride must be at least 1";
    if (p.padLo[d] < 0 || p.padHi[d] < 0) return "negative padding";
    const int64_t free = in[d] + p.padLo[d] + p.padHi[d] - kernel[d];
    if (free < 0) return "kernel is larger than the padded image";
    if (out[d] != free / p.stride[d] + 1) return "result size does not follow from the window";
  }
  return "";
}

Cost cost(const OpCall& call) {
  const double in = double(call.in[0].elements()), out = double(call.out[0].elements());
  return {.flops = in > out ? in : out, .bytes = operandBytes(call)};
}

const RegisterOp registerNearest{
    specOf<ResizeNearestParams>("resizeNearest", checkNearest, neverAliases, cost)};
const RegisterOp registerNearestGrad{
    specOf<ResizeNearestGradParams>("resizeNearestGrad", checkNearestGrad, neverAliases, cost)};
const RegisterOp registerPool{
    specOf<AvgPoolParams>("avgPool", checkPool<AvgPoolParams, false>, neverAliases, cost)};
const RegisterOp registerPoolGrad{specOf<AvgPoolGradParams>(
    "avgPoolGrad", checkPool<AvgPoolGradParams, true>, neverAliases, cost)};

}  // namespace
}  // namespace figment::resize
