// Merging dimensions, choosing tiles, and moving rows between operands and tile buffers.
#include "layout.h"

#include <cstring>

namespace figment::elementwise {
namespace {

const Operand& operandAt(const OpCall& call, int i) {
  return i < call.inCount ? call.in[i] : call.out[i - call.inCount];
}

void swapDimensions(Space& space, int a, int b) {
  const int64_t dim = space.dims[a];
  space.dims[a] = space.dims[b];
  space.dims[b] = dim;
  for (int i = 0; i < space.operands; i++) {
    const int64_t stride = space.strides[i][a];
    space.strides[i][a] = space.strides[i][b];
    space.strides[i][b] = stride;
  }
}

bool mergeable(const Space& space, int outer) {
  for (int i = 0; i < space.operands; i++)
    if (space.strides[i][outer] != space.strides[i][outer + 1] * space.dims[outer + 1])
      return false;
  return true;
}

/// The operand's own view of dimensions [first, rank): neighbours merge where it alone allows it.
void viewInner(const Space& space, int operand, int first, Access& access) {
  const int64_t* strides = space.strides[operand];
  access.rank = 0;
  for (int d = first; d < space.rank; d++) {
    const int last = access.rank - 1;
    if (last >= 0 && access.strides[last] == strides[d] * space.dims[d]) {
      access.dims[last] *= space.dims[d];
      access.strides[last] = strides[d];
    } else {
      access.dims[access.rank] = space.dims[d];
      access.strides[access.rank++] = strides[d];
    }
  }
}

/// Length of the pattern that the operand repeats throughout a block; 0 when there is none.
int64_t periodOf(const Access& access) {
  if (access.rank == 0) return 1;
  if (access.strides[0] != 0) return 0;
  int64_t period = 1;
  for (int d = 1; d < access.rank; d++) period *= access.dims[d];
  return period;
}

int greatestCommonDivisor(int a, int b) { return b == 0 ? a : greatestCommonDivisor(b, a % b); }

/// The largest tile that is a multiple of `period`, and of a cache line if it can be.
int tileFor(int period) {
  constexpr int kLineElements = 16;
  const int aligned = period / greatestCommonDivisor(period, kLineElements) * kLineElements;
  const int unit = aligned <= kTileElements ? aligned : period;
  return kTileElements / unit * unit;
}

// Rough costs in nanoseconds that rank the possible splits.
constexpr double kTileOverhead = 25, kStepOverhead = 4, kRowOverhead = 2;
constexpr double kElementInRow = 0.15, kStridedElement = 0.8;

double rowCost(const Access& access) {
  const double row = double(access.dims[access.rank - 1]);
  const bool unit = access.strides[access.rank - 1] <= 1;
  return (unit ? kElementInRow : kStridedElement) + kRowOverhead / row;
}

/// Fills `tiling` for blocks of dimensions [first, rank); answers its estimated cost per element.
double split(int first, int steps, Tiling& tiling) {
  const Space& space = tiling.space;
  tiling.outerRank = first;
  tiling.outerCount = tiling.inner = 1;
  for (int d = 0; d < space.rank; d++)
    (d < first ? tiling.outerCount : tiling.inner) *= space.dims[d];
  int period = 1;
  double cost = 0;
  for (int i = 0; i < space.operands; i++) {
    Access& access = tiling.access[i];
    viewInner(space, i, first, access);
    access.kind = Access::kRows;
    const int64_t own = periodOf(access);
    if (access.rank == 0 || (access.rank == 1 && access.strides[0] == 1)) {
      access.kind = Access::kDirect;
    } else if (own > 0 && own <= kTileElements) {
      const int64_t common = period / greatestCommonDivisor(period, int(own)) * own;
      if (common <= kTileElements) {
        period = int(common);
        access.kind = Access::kRepeat;
      }
    }
    if (access.kind == Access::kRows) cost += rowCost(access);
  }
  tiling.tile = tileFor(period);
  const double tileSize = double(tiling.inner < tiling.tile ? tiling.inner : tiling.tile);
  for (int i = 0; i < space.operands; i++)
    if (tiling.access[i].kind == Access::kRepeat)
      cost += rowCost(tiling.access[i]) * tileSize / double(tiling.inner);
  return cost + (kTileOverhead + kStepOverhead * steps) / tileSize;
}

/// Walks the rows of [position, position + count): f(elements of the operand to skip, count,
/// stride).
template <class F>
void forRows(const Access& access, int64_t position, int count, F f) {
  const int last = access.rank - 1;
  int64_t index[kMaxRank] = {};
  int64_t offset = 0;
  for (int d = last; d >= 0; d--) {
    index[d] = position % access.dims[d];
    position /= access.dims[d];
    offset += index[d] * access.strides[d];
  }
  const int64_t row = access.dims[last];
  int64_t start = index[last];
  while (count > 0) {
    const int take = int(row - start < count ? row - start : count);
    f(offset, take);
    count -= take;
    offset -= start * access.strides[last];
    start = 0;
    for (int d = last - 1; d >= 0; d--) {
      offset += access.strides[d];
      if (++index[d] < access.dims[d]) break;
      offset -= access.dims[d] * access.strides[d];
      index[d] = 0;
    }
  }
}

template <class T>
void gather(const Access& access, T* buffer, const T* operand, int64_t position, int count) {
  const int64_t stride = access.strides[access.rank - 1];
  forRows(access, position, count, [&](int64_t offset, int take) {
    const T* from = operand + offset;
    constexpr int kShortRow = 16;
    if (stride == 1 && take >= kShortRow)
      std::memcpy(buffer, from, size_t(take) * sizeof(T));
    else if (stride == 0)
      for (int i = 0; i < take; i++) buffer[i] = *from;
    else
      for (int i = 0; i < take; i++) buffer[i] = from[i * stride];
    buffer += take;
  });
}

template <class T>
void scatter(const Access& access, const T* buffer, T* operand, int64_t position, int count) {
  const int64_t stride = access.strides[access.rank - 1];
  forRows(access, position, count, [&](int64_t offset, int take) {
    T* to = operand + offset;
    if (stride == 1)
      std::memcpy(to, buffer, size_t(take) * sizeof(T));
    else
      for (int i = 0; i < take; i++) to[i * stride] = buffer[i];
    buffer += take;
  });
}

}  // namespace

Space mergeDimensions(const OpCall& call) {
  Space space;
  space.operands = call.inCount + call.outCount;
  for (int d = 0; d < call.out[0].rank; d++) {
    if (call.out[0].dims[d] == 1) continue;
    space.dims[space.rank] = call.out[0].dims[d];
    for (int i = 0; i < space.operands; i++)
      space.strides[i][space.rank] = operandAt(call, i).strides[d];
    space.rank++;
  }
  const int64_t* order = space.strides[call.inCount];
  for (int d = 1; d < space.rank; d++)
    for (int e = d; e > 0 && order[e - 1] < order[e]; e--) swapDimensions(space, e - 1, e);
  for (int d = space.rank - 2; d >= 0; d--) {
    if (!mergeable(space, d)) continue;
    space.dims[d] *= space.dims[d + 1];
    for (int i = 0; i < space.operands; i++) space.strides[i][d] = space.strides[i][d + 1];
    space.rank--;
    for (int e = d + 1; e < space.rank; e++) {
      space.dims[e] = space.dims[e + 1];
      for (int i = 0; i < space.operands; i++) space.strides[i][e] = space.strides[i][e + 1];
    }
  }
  return space;
}

void chooseTiling(const OpCall& call, int steps, Tiling& tiling) {
  tiling.space = mergeDimensions(call);
  int best = 0;
  double bestCost = split(0, steps, tiling);
  for (int first = 1; first < tiling.space.rank; first++) {
    const double cost = split(first, steps, tiling);
    if (cost < bestCost) {
      best = first;
      bestCost = cost;
    }
  }
  if (tiling.space.rank > 1) split(best, steps, tiling);
}

void gatherRows(const Access& access, int width, void* buffer, const void* operand,
                int64_t position, int count) {
  switch (width) {
    case 1:
      return gather(access, static_cast<uint8_t*>(buffer), static_cast<const uint8_t*>(operand),
                    position, count);
    case 2:
      return gather(access, static_cast<uint16_t*>(buffer), static_cast<const uint16_t*>(operand),
                    position, count);
    case 4:
      return gather(access, static_cast<uint32_t*>(buffer), static_cast<const uint32_t*>(operand),
                    position, count);
    default:
      return gather(access, static_cast<uint64_t*>(buffer), static_cast<const uint64_t*>(operand),
                    position, count);
  }
}

void scatterRows(const Access& access, int width, const void* buffer, void* operand,
                 int64_t position, int count) {
  switch (width) {
    case 1:
      return scatter(access, static_cast<const uint8_t*>(buffer), static_cast<uint8_t*>(operand),
                     position, count);
    case 2:
      return scatter(access, static_cast<const uint16_t*>(buffer), static_cast<uint16_t*>(operand),
                     position, count);
    case 4:
      return scatter(access, static_cast<const uint32_t*>(buffer), static_cast<uint32_t*>(operand),
                     position, count);
    default:
      return scatter(access, static_cast<const uint64_t*>(buffer), static_cast<uint64_t*>(operand),
                     position, count);
  }
}

}  // namespace figment::elementwise
