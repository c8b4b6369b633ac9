// gather and scatterAdd element by element.
#include "../reference.h"

#include "../params/gather.generated.h"
#include "../params/scatterAdd.generated.h"
#include "rows.h"

namespace figment::indexing {
namespace {

void gather(const OpCall& call, Context& context) {
  const GatherParams& p = call.as<GatherParams>();
  const int32_t* indices = call.in[1].as<int32_t>();
  const int64_t width = int64_t(formatBytes(call.in[0].format));
  if (call.out[0].elements() == 0) return;
  validateIndices(context, "gather", indices, p.count, p.axis);
  const int64_t row = p.inner * width;
  for (int64_t o = 0; o < p.outer; o++)
    for (int64_t i = 0; i < p.count; i++)
      for (int64_t b = 0; b < row; b++)
        call.out[0].as<char>()[(o * p.count + i) * row + b] =
            inRange(indices[i], p.axis) ? call.in[0].as<char>()[(o * p.axis + indices[i]) * row + b]
                                        : char(0);
}

template <class T>
void scatterAdd(const OpCall& call, Context& context) {
  const ScatterAddParams& p = call.as<ScatterAddParams>();
  const int32_t* indices = call.in[1].as<int32_t>();
  T* out = call.out[0].as<T>();
  for (int64_t e = 0; e < call.out[0].elements(); e++) out[e] = T(0);
  if (call.in[0].elements() == 0) return;
  validateIndices(context, "scatterAdd", indices, p.count, p.axis);
  for (int64_t o = 0; o < p.outer; o++)
    for (int64_t i = 0; i < p.count; i++)
      for (int64_t e = 0; e < p.inner; e++)
        if (inRange(indices[i], p.axis))
          out[(o * p.axis + indices[i]) * p.inner + e] +=
              call.in[0].as<T>()[(o * p.count + i) * p.inner + e];
}

const RegisterVariant registerGather{referenceVariant("gather", gather)};
const RegisterVariant registerScatterAdd{
    referenceVariant("scatterAdd", byFloat<scatterAdd<float>, scatterAdd<double>>)};

}  // namespace
}  // namespace figment::indexing
