// upfirdn2d: x [N,h,w,C], filter [kh,kw] -> [N,ho,wo,C]. Each axis of the image is upsampled with
// zeros between its elements (up − 1 of them after each), padded (or cropped, where the padding is
// negative), convolved with the filter, and every down-th result kept (Karras et al. 2020):
// ho = ⌊(h·up + padLo + padHi − kh) / down⌋ + 1. `flip` correlates instead: the filter is not
// turned around. The transpose is the same operation with up and down exchanged and the filter the
// other way around.
#include <string>

#include "../op_spec.h"
#include "../params/upfirdn2d.generated.h"

namespace figment::upfirdn {
namespace {

std::string check(const OpCall& call) {
  if (call.inCount != 2 || call.outCount != 1) return "needs two inputs and one output";
  const auto& p = call.as<Upfirdn2dParams>();
  for (int32_t dim : {p.n, p.h, p.w, p.c, p.ho, p.wo})
    if (dim < 0) return "negative dimension";
  if (p.kh < 1 || p.kw < 1) return "the filter has no taps";
  if (p.flip != 0 && p.flip != 1) return "flip is 0 or 1";
  const Format format = call.out[0].format;
  if (format != Format::f32 && format != Format::f64) return "format must be f32 or f64";
  if (call.in[0].format != format || call.in[1].format != format) return "formats differ";
  if (!call.in[0].hasShape({p.n, p.h, p.w, p.c})) return "image is not [n, h, w, c]";
  if (!call.in[1].hasShape({p.kh, p.kw})) return "filter is not [kh, kw]";
  if (!call.out[0].hasShape({p.n, p.ho, p.wo, p.c})) return "result is not [n, ho, wo, c]";
  if (!call.in[0].contiguous() || !call.in[1].contiguous() || !call.out[0].contiguous())
    return "operands must be contiguous";
  const int64_t in[2] = {p.h, p.w}, out[2] = {p.ho, p.wo}, taps[2] = {p.kh, p.kw};
  for (int d = 0; d < 2; d++) {
    if (p.up[d] < 1 || p.down[d] < 1) return "up and down must be at least 1";
    // 32-bit parameters: the product and the sums fit 64 bits.
    const int64_t room = in[d] * p.up[d] + p.padLo[d] + p.padHi[d] - taps[d];
    if (room < 0) return "the filter is larger than the padded image";
    if (out[d] != room / p.down[d] + 1) return "result size does not follow from the parameters";
  }
  return "";
}

Cost cost(const OpCall& call) {
  const auto& p = call.as<Upfirdn2dParams>();
  const double taps = double(p.kh) * double(p.kw) / (double(p.up[0]) * double(p.up[1]));
  return {.flops = 2 * double(call.out[0].elements()) * (taps > 1 ? taps : 1),
          .bytes = operandBytes(call)};
}

const RegisterOp registerUpfirdn{specOf<Upfirdn2dParams>("upfirdn2d", check, neverAliases, cost)};

}  // namespace
}  // namespace figment::upfirdn
