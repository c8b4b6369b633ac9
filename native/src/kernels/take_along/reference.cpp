// takeAlong and scatterAddAlong element by element.
#include "../reference.h"

#include "../indexing/rows.h"
#include "../params/scatterAddAlong.generated.h"
#include "../params/takeAlong.generated.h"

namespace figment {
namespace {

using indexing::inRange;
using indexing::validateIndices;

void take(const OpCall& call, Context& context) {
  const auto& p = call.as<TakeAlongParams>();
  const int32_t* indices = call.in[1].as<int32_t>();
  const int64_t width = int64_t(formatBytes(call.in[0].format));
  const int64_t count = call.out[0].elements();
  validateIndices(context, "takeAlong", indices, count, p.axis);
  for (int64_t e = 0; e < count; e++) {
    const int64_t from = (e / (p.count * p.inner) * p.axis + indices[e]) * p.inner + e % p.inner;
    for (int64_t b = 0; b < width; b++)
      call.out[0].as<char>()[e * width + b] =
          inRange(indices[e], p.axis) ? call.in[0].as<char>()[from * width + b] : char(0);
  }
}

template <class T>
void scatter(const OpCall& call, Context& context) {
  const auto& p = call.as<ScatterAddAlongParams>();
  const T* updates = call.in[0].as<T>();
  const int32_t* indices = call.in[1].as<int32_t>();
  T* out = call.out[0].as<T>();
  const int64_t count = call.in[0].elements();
  for (int64_t e = 0; e < call.out[0].elements(); e++) out[e] = T(0);
  validateIndices(context, "scatterAddAlong", indices, count, p.axis);
  for (int64_t e = 0; e < count; e++)
    if (inRange(indices[e], p.axis))
      out[(e / (p.count * p.inner) * p.axis + indices[e]) * p.inner + e % p.inner] += updates[e];
}

const RegisterVariant registerTake{referenceVariant("takeAlong", take)};
const RegisterVariant registerScatter{
    referenceVariant("scatterAddAlong", byFloat<scatter<float>, scatter<double>>)};

}  // namespace
}  // namespace figment
