// Which kernel a call gets.
#include <algorithm>

#include "evaluate.h"
#include "ptx.h"

namespace figment::cuda::elementwise {
namespace {

using figment::elementwise::Space;

/// Of a kernel's text: what the driver assembles in about a tenth of a second.
constexpr int64_t kMostInstructions = 6000;
/// A thread's instructions; with more of them per byte, more groups would win nothing.
constexpr int64_t kFewInstructions = 400;
/// Bytes that a thread should have under way.
constexpr size_t kBytesUnderWay = 32;

const Operand& operandAt(const OpCall& call, int i) {
  return i < call.inCount ? call.in[i] : call.out[i - call.inCount];
}

/// Elements of a group: 16 bytes of them, unless rows are short or the code long.
int groupFor(const OpCall& call, const Space& space, const Code& code) {
  // f32 takes 4: 16 bytes of a thread lie beside those of its neighbour, so one instruction of a
  // warp moves four whole lines of 128 bytes. With 2-byte elements 8 do the same; more only where
  // all are narrow, since wider operands would come in pieces that skip every other half of a
  // sector.
  size_t widest = 1;
  for (int i = 0; i < call.inCount + call.outCount; i++)
    if (stridesOf(space, i).inner == 1)
      widest = std::max(widest, formatBytes(operandAt(call, i).format));
  int group = widest >= 4 ? 4 : 8;
  const int64_t length = space.rank > 0 ? space.dims[space.rank - 1] : 1;
  constexpr int64_t kLongRow = 64;  // groups; the last one, element by element, is lost among them
  while (group > 1 && ((length % group != 0 && length < kLongRow * group) ||
                       costOf(code) * (group + 1) > kMostInstructions))
    group /= 2;
  return group;
}

}  // namespace

bool isPrintable(const OpCall& call, const Code& code) {
  if (code.hasDoubles() || costOf(code) > kMostInstructions) return false;
  // Threads are numbered by 31 bits, even where a group is one element and the last block not full.
  return call.out[0].elements() < (int64_t(1) << 31) - 4096;
}

Shape shapeOf(const OpCall& call, const Space& space, Code code, int64_t busyThreads,
              bool hasBf16) {
  Shape shape;
  shape.perGroup = groupFor(call, space, code);
  shape.inputs = call.inCount;
  shape.hasBf16 = hasBf16;
  const Rows rows = rowsOf(space, shape.perGroup);
  shape.outerRank = rows.outerRank;
  size_t underWay = 0;
  for (int i = 0; i < call.inCount + call.outCount; i++) {
    const Operand& operand = operandAt(call, i);
    const Strides strides = stridesOf(space, i);
    const size_t bytes = formatBytes(operand.format) * size_t(shape.perGroup);
    const bool words = bytes % 4 == 0 && formatBytes(operand.format) < 8;
    shape.formats.push_back(operand.format);
    shape.lies.push_back(strides.inner == 0                                         ? Lie::same
                         : words && aligned(rows, strides, operand, shape.perGroup) ? Lie::together
                                                                                    : Lie::apart);
    if (i < call.inCount && strides.inner != 0) underWay += bytes;
  }
  // At 4.3 TB/s and about 0.8 µs a GPU of 132 multiprocessors has 26 KB under way on each: 2048
  // threads with one load of 16 bytes have 32 KB, but wait for no load half of the time. Two groups
  // a thread where loads are few and there is work for all.
  const int64_t cost = costOf(code);
  const bool cheap = 2 * cost * shape.perGroup <= kFewInstructions;
  if (cheap && shape.outerRank == 0 && underWay > 0 && underWay < kBytesUnderWay &&
      rows.groups >= 2 * busyThreads)
    shape.groups = 2;
  shape.code = std::move(code);
  return shape;
}

}  // namespace figment::cuda::elementwise
