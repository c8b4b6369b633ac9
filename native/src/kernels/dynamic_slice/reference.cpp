// dynamicSlice and dynamicUpdateSlice element by element.
#include "../reference.h"

#include <cstring>

namespace figment {
namespace {

/// Visits each element of `part` with the element of `whole` that the box puts it at.
template <class Visit>
void eachElement(const Operand& whole, const Operand& part, const int32_t* starts, Visit visit) {
  for (int64_t e = 0; e < part.elements(); e++) {
    int64_t rest = e, at = 0, stride = 1;
    for (int i = whole.rank - 1; i >= 0; i--) {
      const int64_t room = whole.dims[i] - part.dims[i];
      const int64_t start = starts[i] < 0 ? 0 : starts[i] > room ? room : starts[i];
      at += (start + rest % part.dims[i]) * stride;
      rest /= part.dims[i];
      stride *= whole.dims[i];
    }
    visit(at, e);
  }
}

void slice(const OpCall& call, Context&) {
  const size_t width = formatBytes(call.in[0].format);
  eachElement(call.in[0], call.out[0], call.in[1].as<int32_t>(), [&](int64_t from, int64_t to) {
    std::memcpy(call.out[0].as<char>() + size_t(to) * width,
                call.in[0].as<char>() + size_t(from) * width, width);
  });
}

void update(const OpCall& call, Context&) {
  const Operand &x = call.in[0], &out = call.out[0];
  const size_t width = formatBytes(x.format);
  if (x.data != out.data && !x.empty()) std::memcpy(out.data, x.data, size_t(x.elements()) * width);
  eachElement(out, call.in[1], call.in[2].as<int32_t>(), [&](int64_t to, int64_t from) {
    std::memcpy(out.as<char>() + size_t(to) * width, call.in[1].as<char>() + size_t(from) * width,
                width);
  });
}

const RegisterVariant registerSlice{referenceVariant("dynamicSlice", slice)};
const RegisterVariant registerUpdate{referenceVariant("dynamicUpdateSlice", update)};

}  // namespace
}  // namespace figment
