// resizeBilinear: x [N,h,w,C] -> [N,ho,wo,C], each pixel blended from the four around its place;
// see tap.h. resizeBilinearGrad is the transpose.
#include <string>

#include "../op_spec.h"
#include "../params/resizeBilinear.generated.h"
#include "../params/resizeBilinearGrad.generated.h"

namespace figment::bilinear {
namespace {

template <class P, bool gradient>
std::string check(const OpCall& call) {
  if (call.inCount != 1 || call.outCount != 1) return "needs one input and one output";
  const P& p = call.as<P>();
  for (int32_t dim : {p.n, p.h, p.w, p.c, p.ho, p.wo})
    if (dim < 0) return "negative dimension";
  if (p.alignCorners != 0 && p.alignCorners != 1) return "alignCorners is 0 or 1";
  const Operand& x = gradient ? call.out[0] : call.in[0];
  const Operand& y = gradient ? call.in[0] : call.out[0];
  if (x.format != y.format) return "formats differ";
  if (x.format != Format::f32 && x.format != Format::f64) return "format must be f32 or f64";
  if (!x.hasShape({p.n, p.h, p.w, p.c})) return "image is not [n, h, w, c]";
  if (!y.hasShape({p.n, p.ho, p.wo, p.c})) return "result is not [n, ho, wo, c]";
  if (!x.contiguous() || !y.contiguous()) return "operands must be contiguous";
  if ((p.h == 0 || p.w == 0) && p.ho > 0 && p.wo > 0) return "nothing to take pixels from";
  return "";
}

Cost cost(const OpCall& call) {
  const double in = double(call.in[0].elements()), out = double(call.out[0].elements());
  return {.flops = 8 * (in > out ? in : out), .bytes = operandBytes(call)};
}

const RegisterOp registerBilinear{specOf<ResizeBilinearParams>(
    "resizeBilinear", check<ResizeBilinearParams, false>, neverAliases, cost)};
const RegisterOp registerBilinearGrad{specOf<ResizeBilinearGradParams>(
    "resizeBilinearGrad", check<ResizeBilinearGradParams, true>, neverAliases, cost)};

}  // namespace
}  // namespace figment::bilinear
