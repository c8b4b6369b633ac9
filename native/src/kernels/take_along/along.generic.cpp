// takeAlong and scatterAddAlong by elements of a known width, shared out among workers.
#include <cstring>

#include "../indexing/rows.h"
#include "../params/scatterAddAlong.generated.h"
#include "../params/takeAlong.generated.h"

namespace figment {
namespace {

using indexing::inRange;
using indexing::validateIndices;

constexpr int64_t kGrain = 16384;  // elements

/// Rows [begin, end) of the result, numbered over outer and count.
template <class T>
void takeRows(const OpCall& call, int64_t begin, int64_t end) {
  const auto& p = call.as<TakeAlongParams>();
  for (int64_t row = begin; row < end; row++) {
    const int32_t* indices = call.in[1].as<int32_t>() + row * p.inner;
    const T* from = call.in[0].as<T>() + row / p.count * p.axis * p.inner;
    T* to = call.out[0].as<T>() + row * p.inner;
    for (int64_t i = 0; i < p.inner; i++)
      to[i] = inRange(indices[i], p.axis) ? from[indices[i] * p.inner + i] : T(0);
  }
}

void take(const OpCall& call, Context& context) {
  const auto& p = call.as<TakeAlongParams>();
  if (call.out[0].elements() == 0) return;
  validateIndices(context, "takeAlong", call.in[1].as<int32_t>(), call.out[0].elements(), p.axis);
  context.parallelFor(p.outer * p.count, kGrain / p.inner, [&](int64_t begin, int64_t end, int) {
    switch (formatBytes(call.in[0].format)) {
      case 1:
        return takeRows<uint8_t>(call, begin, end);
      case 2:
        return takeRows<uint16_t>(call, begin, end);
      case 4:
        return takeRows<uint32_t>(call, begin, end);
      default:
        return takeRows<uint64_t>(call, begin, end);
    }
  });
}

/// A worker owns whole outer rows, or bands of `inner`, so additions to one place keep their order.
constexpr int64_t kBand = 256;

void scatter(const OpCall& call, Context& context) {
  const auto& p = call.as<ScatterAddAlongParams>();
  const int32_t* allIndices = call.in[1].as<int32_t>();
  if (call.out[0].elements() == 0) return;
  validateIndices(context, "scatterAddAlong", allIndices, call.in[0].elements(), p.axis);
  const int64_t bands = (p.inner + kBand - 1) / kBand;
  const int64_t bandElements = (p.axis + p.count) * (p.inner < kBand ? p.inner : kBand);
  context.parallelFor(p.outer * bands, kGrain / (bandElements + 1),
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t u = begin; u < end; u++) {
                          const int64_t outer = u / bands, first = u % bands * kBand;
                          const int64_t width = p.inner - first < kBand ? p.inner - first : kBand;
                          float* out = call.out[0].as<float>() + outer * p.axis * p.inner + first;
                          for (int64_t a = 0; a < p.axis; a++)
                            std::memset(out + a * p.inner, 0, size_t(width) * sizeof(float));
                          for (int64_t c = 0; c < p.count; c++) {
                            const int64_t row = (outer * p.count + c) * p.inner + first;
                            const float* updates = call.in[0].as<float>() + row;
                            for (int64_t i = 0; i < width; i++)
                              if (inRange(allIndices[row + i], p.axis))
                                out[allIndices[row + i] * p.inner + i] += updates[i];
                          }
                        }
                      });
}

constexpr int kPreference = 10;

const RegisterVariant registerTake{{.op = "takeAlong",
                                    .name = "generic-along",
                                    .isa = Isa::generic,
                                    .supports = [](const OpCall&) { return kPreference; },
                                    .scratch = nullptr,
                                    .run = take}};
const RegisterVariant registerScatter{
    {.op = "scatterAddAlong",
     .name = "generic-along",
     .isa = Isa::generic,
     .supports =
         [](const OpCall& call) { return call.in[0].format == Format::f32 ? kPreference : -1; },
     .scratch = nullptr,
     .run = scatter}};

}  // namespace
}  // namespace figment
