// gather and scatterAdd row by row, shared out among workers.
#include "rows.h"

#include <cstring>

#include "../params/gather.generated.h"
#include "../params/scatterAdd.generated.h"

namespace figment::indexing {
namespace {

constexpr int64_t kGrainBytes = 1 << 17;

/// kRow: bytes of a row when they are few and known, else 0.
template <size_t kRow>
void copyRows(const GatherParams& p, const char* x, const int32_t* indices, char* y, size_t row,
              int64_t begin, int64_t end) {
  const size_t bytes = kRow != 0 ? kRow : row;
  int64_t outer = begin / p.count;
  int64_t i = begin % p.count;
  for (int64_t r = begin; r < end; r++) {
    char* to = y + size_t(r) * bytes;
    if (inRange(indices[i], p.axis))
      std::memcpy(to, x + size_t(outer * p.axis + indices[i]) * bytes, bytes);
    else
      std::memset(to, 0, bytes);
    if (++i == p.count) {
      i = 0;
      outer++;
    }
  }
}

void gather(const OpCall& call, Context& context) {
  const GatherParams& p = call.as<GatherParams>();
  if (call.out[0].elements() == 0) return;
  const int32_t* indices = call.in[1].as<int32_t>();
  validateIndices(context, "gather", indices, p.count, p.axis);
  const size_t row = size_t(p.inner) * formatBytes(call.in[0].format);
  const char* x = call.in[0].as<char>();
  char* y = call.out[0].as<char>();
  const auto copy = row == 4 ? copyRows<4> : row == 8 ? copyRows<8> : copyRows<0>;
  context.parallelFor(
      p.outer * p.count, kGrainBytes / int64_t(row + 16),
      [&](int64_t begin, int64_t end, int) { copy(p, x, indices, y, row, begin, end); });
}

/// A worker owns a range of places on the axis and looks through all indices for them: additions to
/// one place keep their order, and no two workers share a place.
void scatterAdd(const OpCall& call, Context& context) {
  const ScatterAddParams& p = call.as<ScatterAddParams>();
  const float* updates = call.in[0].as<float>();
  const int32_t* indices = call.in[1].as<int32_t>();
  float* out = call.out[0].as<float>();
  if (call.in[0].elements() != 0) validateIndices(context, "scatterAdd", indices, p.count, p.axis);
  if (call.out[0].elements() == 0) return;
  constexpr int64_t kParts = 16;  // at most so many passes over the indices
  const int64_t places = (p.axis + kParts - 1) / kParts;
  const int64_t parts = (p.axis + places - 1) / places;
  const int64_t partBytes = (places + p.count / parts) * p.inner * 4 + p.count;
  context.parallelFor(
      p.outer * parts, kGrainBytes / (partBytes + 1), [&](int64_t begin, int64_t end, int) {
        for (int64_t u = begin; u < end; u++) {
          const int64_t outer = u / parts;
          const int64_t first = u % parts * places;
          const int64_t last = first + places < p.axis ? first + places : p.axis;
          float* rows = out + outer * p.axis * p.inner;
          std::memset(rows + first * p.inner, 0, size_t((last - first) * p.inner) * sizeof(float));
          for (int64_t i = 0; i < p.count; i++) {
            if (indices[i] < first || indices[i] >= last) continue;
            float* to = rows + indices[i] * p.inner;
            const float* from = updates + (outer * p.count + i) * p.inner;
            for (int64_t e = 0; e < p.inner; e++) to[e] += from[e];
          }
        }
      });
}

constexpr int kPreference = 10;

const RegisterVariant registerGather{{.op = "gather",
                                      .name = "generic-rows",
                                      .isa = Isa::generic,
                                      .supports = [](const OpCall&) { return kPreference; },
                                      .scratch = nullptr,
                                      .run = gather}};
const RegisterVariant registerScatterAdd{
    {.op = "scatterAdd",
     .name = "generic-rows",
     .isa = Isa::generic,
     .supports =
         [](const OpCall& call) { return call.in[0].format == Format::f32 ? kPreference : -1; },
     .scratch = nullptr,
     .run = scatterAdd}};

}  // namespace
}  // namespace figment::indexing
