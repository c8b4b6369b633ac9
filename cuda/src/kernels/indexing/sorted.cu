// scatterAdd by sorting: the positions of all indices in the order (index, position), so that the
// updates of a place are neighbours, in their order. A thread then sums those of its elements of
// the result; where there are few elements and many updates, a warp does, each lane every 32nd.
#include "../../device/divisor.h"
#include "../../device/four.h"
#include "../../device/warp.h"
#include "../first.h"
#include "../sort/keys.h"
#include "kernels/params/scatterAdd.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
/// So many keys are sorted by one block.
constexpr int64_t kBlockKeys = 4096;
/// Below this the plain kernel looks through all indices in less time than sorting takes.
constexpr int64_t kFewest = 64;

/// Indices outside the axis come last, as if at its end.
FIGMENT_DEVICE uint64_t keyAt(const Global<const int32_t>& indices, int64_t i, int64_t axis) {
  const int32_t index = indices[i];
  return uint64_t(index >= 0 && index < axis ? index : axis) << 32 | uint64_t(i);
}

FIGMENT_DEVICE void reportIndices(const Global<const int32_t>& indices, int64_t count, int64_t axis,
                                  const FailureSink& failures) {
  reportFirst<kThreads>(count, 0, failures, [&](int64_t i, double& value) {
    const int32_t index = indices[i];
    value = double(index);
    return index < 0 || index >= axis;
  });
}

/// By one block, in `size` keys of dynamic shared memory.
FIGMENT_KERNEL(kThreads)
sortFewKernel(Global<const int32_t> indices, Global<uint64_t> sorted, int count, int size,
              int64_t axis, FailureSink failures) {
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto keys = shared.view<uint64_t>(0, size);
  for (int i = int(threadIdx.x); i < size; i += kThreads)
    keys[i] = i < count ? keyAt(indices, i, axis) : kNoKey;
  __syncthreads();
  bitonicSort(keys, size);
  for (int i = int(threadIdx.x); i < count; i += kThreads) sorted[i] = keys[i];
  reportIndices(indices, count, axis, failures);
}

FIGMENT_KERNEL(kThreads)
keysKernel(Global<const int32_t> indices, Global<uint64_t> keys, int64_t count, int64_t axis,
           FailureSink failures) {
  for (int64_t i = threadInGrid(); i < count; i += threadsOfGrid())
    keys[i] = keyAt(indices, i, axis);
  reportIndices(indices, count, axis, failures);
}

/// Where the keys of each place begin; those of place `axis` are no place's.
FIGMENT_KERNEL(kThreads)
beginsKernel(Global<const uint64_t> keys, Global<uint32_t> begins, int64_t count, int64_t axis) {
  for (int64_t place = threadInGrid(); place <= axis; place += threadsOfGrid()) {
    int64_t low = 0, high = count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (int64_t(keys[middle] >> 32) < place)
        low = middle + 1;
      else
        high = middle;
    }
    begins[place] = uint32_t(low);
  }
}

struct Sorted {
  Global<const uint64_t> keys;
  Global<const uint32_t> begins;
  Divisor axis, width;  ///< places, and pieces of each
  int64_t count;
};

/// Pieces are of kWidth elements, 4 or 1; each is summed by kLanes threads, 32 or 1.
template <int kWidth, int kLanes>
FIGMENT_KERNEL(kThreads)
sumKernel(Global<const float> updates, Global<float> out, int64_t pieces, Sorted sorted) {
  const int lane = kLanes > 1 ? laneInWarp() : 0;
  for (int64_t piece = threadInGrid() / kLanes; piece < pieces; piece += threadsOfGrid() / kLanes) {
    const uint32_t row = sorted.width.quotient(uint32_t(piece));
    const uint32_t part = uint32_t(piece) - row * sorted.width.divisor;
    const uint32_t outer = sorted.axis.quotient(row), place = row - outer * sorted.axis.divisor;
    const uint32_t end = sorted.begins[place + 1];
    float sum[kWidth] = {};
    for (uint32_t i = sorted.begins[place] + uint32_t(lane); i < end; i += kLanes) {
      const int64_t from =
          ((outer * sorted.count + positionOf(sorted.keys[i])) * sorted.width.divisor + part) *
          kWidth;
      if constexpr (kWidth == 4) {
        const float4 x = loadFour<true>(updates, from);
        sum[0] += x.x;
        sum[1] += x.y;
        sum[2] += x.z;
        sum[3] += x.w;
      } else {
        sum[0] += updates[from];
      }
    }
    if constexpr (kLanes > 1) {
      FIGMENT_UNROLL
      for (int k = 0; k < kWidth; k++) sum[k] = warpSum(sum[k]);
    }
    if (lane != 0) continue;
    if constexpr (kWidth == 4)
      storeFour<true>(out, piece * 4, make_float4(sum[0], sum[1], sum[2], sum[3]));
    else
      out[piece] = sum[0];
  }
}

/// What the scratch holds, in bytes from its beginning.
struct Layout {
  int64_t spare, counts, begins, end;
};
Layout layoutOf(const ScatterAddParams& p) {
  const int64_t keys = p.count * int64_t(sizeof(uint64_t));
  const bool few = p.count <= kBlockKeys;
  const int64_t begins = few ? keys : 2 * keys + int64_t(radixBytes(1, p.count));
  return {keys, 2 * keys, begins, begins + (p.axis + 1) * int64_t(sizeof(uint32_t))};
}

Global<uint64_t> sortIndices(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<ScatterAddParams>();
  const Layout at = layoutOf(p);
  const auto indices = viewOf<const int32_t>(call.in[1]);
  const auto keys = scratchView<uint64_t>(launcher, 0, p.count);
  if (p.count <= kBlockKeys) {
    int size = 2;
    while (size < p.count) size *= 2;
    launch<sortFewKernel>(launcher, {}, kThreads, size_t(size) * sizeof(uint64_t), indices, keys,
                          int(p.count), size, p.axis, launcher.failures());
    return keys;
  }
  launch<keysKernel>(launcher, gridFor(launcher, p.count, kThreads), kThreads, 0, indices, keys,
                     p.count, p.axis, launcher.failures());
  int bits = 1;
  while (p.axis >> bits != 0) bits++;
  return radixSort(launcher, keys, scratchView<uint64_t>(launcher, at.spare, p.count),
                   scratchView<uint32_t>(launcher, at.counts,
                                         int64_t(radixBytes(1, p.count) / sizeof(uint32_t))),
                   1, p.count, bits);
}

template <int kWidth>
void sumAll(const OpCall& call, Launcher& launcher, Sorted sorted) {
  const auto& p = call.as<ScatterAddParams>();
  const int64_t pieces = call.out[0].elements() / kWidth;
  sorted.width = Divisor(uint32_t(p.inner / kWidth));
  const auto updates = viewOf<const float>(call.in[0]);
  const auto out = viewOf<float>(call.out[0]);
  const bool crowded =
      p.count / p.axis >= kWarp && pieces < int64_t(launcher.multiprocessors()) * 2048;
  if (crowded)
    launch<sumKernel<kWidth, kWarp>>(launcher, gridFor(launcher, pieces * kWarp, kThreads),
                                     kThreads, 0, updates, out, pieces, sorted);
  else
    launch<sumKernel<kWidth, 1>>(launcher, gridFor(launcher, pieces, kThreads), kThreads, 0,
                                 updates, out, pieces, sorted);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<ScatterAddParams>();
  if (call.in[0].empty() && call.out[0].empty()) return;
  const Global<const uint64_t> keys = sortIndices(call, launcher);
  if (call.out[0].empty()) return;
  const auto begins = scratchView<uint32_t>(launcher, layoutOf(p).begins, p.axis + 1);
  launch<beginsKernel>(launcher, gridFor(launcher, p.axis + 1, kThreads), kThreads, 0, keys, begins,
                       p.count, p.axis);
  const Sorted sorted = {keys, begins, Divisor(uint32_t(p.axis)), {}, p.count};
  const bool fours = p.inner % 4 == 0 && startsAligned(call.in[0]) && startsAligned(call.out[0]);
  (fours ? sumAll<4> : sumAll<1>)(call, launcher, sorted);
}

/// Elements and indices must be counted in 31 bits.
int supports(const OpCall& call) {
  const auto& p = call.as<ScatterAddParams>();
  constexpr int64_t kMost = int64_t{1} << 31;
  const bool counted = call.out[0].elements() < kMost && p.count < kMost && p.axis < kMost - 1;
  return counted && p.count >= kFewest && call.out[0].format == Format::f32 ? 20 : -1;
}

const RegisterVariant registrar{
    {.op = "scatterAdd",
     .name = "sorted",
     .isa = Isa::sm75,
     .supports = supports,
     .scratch = [](const OpCall& call,
                   int) { return size_t(layoutOf(call.as<ScatterAddParams>()).end); },
     .run = run}};

}  // namespace
}  // namespace figment::cuda
