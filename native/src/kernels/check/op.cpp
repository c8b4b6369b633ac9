// checkFinite: fails the run when an element of any input is NaN or infinite. No output. The tail
// holds the inputs' names, each ended by a zero byte; an input without one is told by its number.
#include <cstring>

#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/checkFinite.generated.h"
#include "report.h"

namespace figment {
namespace {

constexpr int32_t kMaxTensors = 1 << 20;

/// Elements of an operand whose extents have not been checked; −1 when out of range, which no
/// operand equals.
int64_t flatSize(const Operand& operand) {
  int64_t product = 1;
  for (int i = 0; i < operand.rank && i < kMaxRank; i++)
    if (operand.dims[i] < 0 || __builtin_mul_overflow(product, operand.dims[i], &product))
      return -1;
  return product;
}

bool isFloat(Format format) {
  return format == Format::f32 || format == Format::f64 || format == Format::bf16 ||
         format == Format::f16;
}

std::string checkCall(const OpCall& call) {
  const int32_t count = call.as<CheckFiniteParams>().count;
  DenseCheck check("checkFinite", call, count, 0);
  check.require(count >= 0 && count <= kMaxTensors, "count is out of range");
  for (int32_t i = 0; i < count && check.ok(); i++)
    check.require(isFloat(call.in[i].format), "checks floating-point numbers only")
        .input(i, "x", call.in[i].format, {flatSize(call.in[i])});
  return check.done();
}

Cost cost(const OpCall& call) {
  double elements = 0;
  for (int i = 0; i < call.inCount; i++) elements += double(call.in[i].elements());
  return {elements, operandBytes(call)};
}

const RegisterOp checkFinite{{"checkFinite", CheckFiniteParams::kHash, sizeof(CheckFiniteParams),
                              true, checkCall, neverAliases, cost}};

std::string nameOf(const OpCall& call, int tensor) {
  const auto* text = static_cast<const char*>(call.params) + sizeof(CheckFiniteParams);
  const auto* end = static_cast<const char*>(call.params) + call.paramBytes;
  for (int i = 0; text < end; i++) {
    const auto* zero = static_cast<const char*>(std::memchr(text, 0, size_t(end - text)));
    if (!zero) break;
    if (i == tensor) return std::string(text, zero);
    text = zero + 1;
  }
  return "value " + std::to_string(tensor);
}

uint64_t bitsAt(const Operand& x, int64_t i) {
  switch (formatBytes(x.format)) {
    case 2:
      return x.as<const uint16_t>()[i];
    case 8:
      return x.as<const uint64_t>()[i];
    default:
      return x.as<const uint32_t>()[i];
  }
}

}  // namespace

std::string notFiniteText(const OpCall& call, int tensor, int64_t at, const char* what) {
  return nameOf(call, tensor) + " is not finite: element " + std::to_string(at) + " of " +
         std::to_string(call.in[tensor].elements()) + " is " + what;
}

void reportFirst(const OpCall& call, Context& context, int tensor, int64_t first,
                 int64_t elements) {
  const Operand& x = call.in[tensor];
  const uint64_t exponent = exponentBits(x.format);
  const uint64_t sign = uint64_t(1) << (8 * formatBytes(x.format) - 1);
  for (int64_t i = first; i < first + elements; i++) {
    const uint64_t bits = bitsAt(x, i);
    if ((bits & exponent) != exponent) continue;
    const bool nan = (bits & ~sign) != exponent;
    const char* what = nan ? "NaN" : bits & sign ? "-Infinity" : "Infinity";
    return context.fail(kNonFinite, notFiniteText(call, tensor, i, what));
  }
}

}  // namespace figment
