// castAll over many tensors in few launches, at the rate of memory. Work is counted in items: four
// elements where formats differ, 16 bytes where they are copied.
#include "../../device/vectors.h"
#include "../optimizer/sweep.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
/// Items that a thread loads before it stores.
constexpr int kItems = 4;
constexpr int64_t kChunk = kItems * kThreads;
constexpr int kBlocks = 8;  ///< on one multiprocessor

struct Pair {
  const void* from;
  void* to;
  int64_t count;        ///< elements, or bytes to be copied
  uint32_t firstChunk;  ///< in order; each tensor has some
  Format fromFormat, toFormat;
  bool vectors;  ///< whole items are aligned

  FIGMENT_BOTH bool copied() const { return fromFormat == toFormat; }
};

struct Table {
  static constexpr int kMost = kTableBytes / int(sizeof(Pair));
  Pair pair[kMost];
  int32_t tensors = 0;
  uint32_t chunks = 0;

  void add(const Operand& x, const Operand& y) {
    Pair& p = pair[tensors++];
    p = {x.data,
         y.data,
         x.elements(),
         chunks,
         x.format,
         y.format,
         startsAligned(x) && startsAligned(y)};
    if (p.copied()) p.count *= int64_t(formatBytes(x.format));
    chunks += uint32_t(ceilDiv(ceilDiv(p.count, int64_t(p.copied() ? 16 : 4)), kChunk));
  }

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE const Pair& pairOf(uint32_t chunk) const {
    return pair[lastNotAfter(chunk, tensors, [&](int t) { return pair[t].firstChunk; })];
  }
#endif
};

#ifdef FIGMENT_KERNELS

FIGMENT_DEVICE void copyItems(const Pair& p, int64_t first) {
  const Global<const uint8_t> from(static_cast<const uint8_t*>(p.from), p.count);
  const Global<uint8_t> to(static_cast<uint8_t*>(p.to), p.count);
  const auto whole = [&](int64_t i) { return p.vectors && i + 16 <= p.count; };
  uint4 held[kItems];
  FIGMENT_UNROLL
  for (int v = 0; v < kItems; v++) {
    const int64_t i = 16 * (first + v * kThreads);
    if (whole(i)) held[v] = from.load<uint4>(i);
  }
  FIGMENT_UNROLL
  for (int v = 0; v < kItems; v++) {
    const int64_t i = 16 * (first + v * kThreads);
    if (whole(i)) to.store<uint4>(i, held[v]);
  }
  FIGMENT_UNROLL_BY(1)
  for (int v = 0; v < kItems; v++) {
    const int64_t i = 16 * (first + v * kThreads);
    if (whole(i)) continue;
    FIGMENT_UNROLL_BY(1)
    for (int64_t j = i; j < i + 16 && j < p.count; j++) to[j] = from[j];
  }
}

FIGMENT_DEVICE void convertItems(const Pair& p, int64_t first) {
  const Floats<float> from = {p.from, p.count, p.fromFormat};
  const FloatResults<float> to = {p.to, p.count, p.toFormat};
  const auto whole = [&](int64_t i) { return p.vectors && i + 4 <= p.count; };
  Raw<4> held[kItems];
  FIGMENT_UNROLL
  for (int v = 0; v < kItems; v++) {
    const int64_t i = 4 * (first + v * kThreads);
    if (whole(i)) held[v] = loadRaw<4>(from, i);
  }
  FIGMENT_UNROLL
  for (int v = 0; v < kItems; v++) {
    const int64_t i = 4 * (first + v * kThreads);
    if (!whole(i)) continue;
    float values[4];
    widenRaw<4>(held[v], from.format, values);
    storeFloats<4>(to, i, values);
  }
  FIGMENT_UNROLL_BY(1)
  for (int v = 0; v < kItems; v++) {
    const int64_t i = 4 * (first + v * kThreads);
    if (whole(i)) continue;
    FIGMENT_UNROLL_BY(1)
    for (int64_t j = i; j < i + 4 && j < p.count; j++) to.set(j, from[j]);
  }
}

FIGMENT_KERNEL(kThreads)
castKernel(FIGMENT_GRID_CONSTANT const Table table) {
  for (uint32_t chunk = blockIdx.x; chunk < table.chunks; chunk += gridDim.x) {
    const Pair& p = table.pairOf(chunk);
    const int64_t first = int64_t(chunk - p.firstChunk) * kChunk + int64_t(threadIdx.x);
    if (p.copied())
      copyItems(p, first);
    else
      convertItems(p, first);
  }
}

#endif

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  Table table;
  const auto flush = [&] {
    const int64_t most = int64_t(launcher.multiprocessors()) * kBlocks;
    const Grid grid = {int64_t(table.chunks) < most ? int64_t(table.chunks) : most};
    launch<castKernel>(launcher, grid, kThreads, 0, table);
    table = {};
  };
  for (int t = 0; t < call.inCount; t++) {
    if (call.in[t].empty()) continue;
    table.add(call.in[t], call.out[t]);
    if (table.tensors == Table::kMost) flush();
  }
  if (table.tensors > 0) flush();
}

const RegisterVariant registrar{multiTensorVariant(
    "castAll", [](const OpCall&) { return 20; }, run)};

}  // namespace
}  // namespace figment::cuda
