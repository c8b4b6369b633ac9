// dynamicSlice and dynamicUpdateSlice by runs of neighbouring elements, shared out among workers.
#include <cstring>

#include "box.h"

namespace figment::dynamic_slice {
namespace {

constexpr int64_t kGrainBytes = 1 << 17;

/// Copies the box's runs, or pieces of them where they are long; `move(whole byte, part byte,
/// bytes)`.
template <class Move>
void eachPiece(const Box& box, Context& context, Move move) {
  const int64_t pieces = (box.runBytes + kGrainBytes - 1) / kGrainBytes;
  const int64_t grain = pieces > 1 ? 1 : kGrainBytes / (box.runBytes + 16);
  context.parallelFor(box.runs * pieces, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; p++) {
      const int64_t run = p / pieces, skip = p % pieces * kGrainBytes;
      const int64_t left = box.runBytes - skip;
      move(box.at(run) + skip, run * box.runBytes + skip,
           size_t(left < kGrainBytes ? left : kGrainBytes));
    }
  });
}

void slice(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const char* x = call.in[0].as<char>();
  char* y = call.out[0].as<char>();
  eachPiece(boxOf(call.in[0], call.out[0], call.in[1].as<int32_t>()), context,
            [&](int64_t from, int64_t to, size_t bytes) { std::memcpy(y + to, x + from, bytes); });
}

void update(const OpCall& call, Context& context) {
  const Operand &x = call.in[0], &out = call.out[0];
  if (out.empty()) return;
  char* y = out.as<char>();
  if (x.data != out.data) {
    const int64_t bytes = x.elements() * int64_t(formatBytes(x.format));
    context.parallelFor(bytes, kGrainBytes, [&](int64_t begin, int64_t end, int) {
      std::memcpy(y + begin, x.as<char>() + begin, size_t(end - begin));
    });
  }
  if (call.in[1].empty()) return;
  const char* part = call.in[1].as<char>();
  eachPiece(
      boxOf(out, call.in[1], call.in[2].as<int32_t>()), context,
      [&](int64_t to, int64_t from, size_t bytes) { std::memcpy(y + to, part + from, bytes); });
}

constexpr Variant variantOf(const char* op, void (*run)(const OpCall&, Context&)) {
  return {.op = op,
          .name = "generic-runs",
          .isa = Isa::generic,
          .supports = [](const OpCall&) { return kReferencePreference + 10; },
          .scratch = nullptr,
          .run = run};
}
const RegisterVariant registerSlice{variantOf("dynamicSlice", slice)};
const RegisterVariant registerUpdate{variantOf("dynamicUpdateSlice", update)};

}  // namespace
}  // namespace figment::dynamic_slice
