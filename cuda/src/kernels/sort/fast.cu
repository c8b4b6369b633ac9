// sort of f32 and i32 as integer keys: a row that fits in shared memory by one block, longer rows
// digit by digit.
#include "kernels/params/sort.generated.h"
#include "keys.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
/// Keys of a row that a block sorts: 32 KiB.
constexpr int64_t kBlockKeys = 4096;

int sizeFor(int64_t cols) {
  int size = 2;
  while (size < cols) size *= 2;
  return size;
}

/// Each block sorts rows, in `size` keys of dynamic shared memory.
template <class T>
FIGMENT_KERNEL(kThreads)
rowKernel(Global<const T> x, Global<T> values, Global<int32_t> indices, SortParams p, int size) {
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto keys = shared.view<uint64_t>(0, size);
  for (int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    for (int i = int(threadIdx.x); i < size; i += kThreads)
      keys[i] = i < p.cols ? keyOf(x[row * p.cols + i], i, p.descending != 0) : kNoKey;
    __syncthreads();
    bitonicSort(keys, size);
    for (int64_t i = threadIdx.x; i < p.count; i += kThreads) {
      const int32_t place = positionOf(keys[int(i)]);
      indices[row * p.count + i] = place;
      values[row * p.count + i] = x[row * p.cols + place];
    }
    __syncthreads();
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
keysKernel(Global<const T> x, Global<uint64_t> keys, SortParams p) {
  for (int64_t e = threadInGrid(); e < p.rows * p.cols; e += threadsOfGrid())
    keys[e] = keyOf(x[e], e % p.cols, p.descending != 0);
}

template <class T>
FIGMENT_KERNEL(kThreads)
writeKernel(Global<const T> x, Global<const uint64_t> keys, Global<T> values,
            Global<int32_t> indices, SortParams p) {
  for (int64_t e = threadInGrid(); e < p.rows * p.count; e += threadsOfGrid()) {
    const int64_t row = e / p.count * p.cols;
    const int32_t place = positionOf(keys[row + e % p.count]);
    indices[e] = place;
    values[e] = x[row + place];
  }
}

template <class T>
void sortRows(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<SortParams>();
  if (call.out[0].elements() == 0) return;
  const int size = sizeFor(p.cols);
  const int64_t most = int64_t(launcher.multiprocessors()) * 8;
  launch<rowKernel<T>>(launcher, {p.rows < most ? p.rows : most}, kThreads,
                       size_t(size) * sizeof(uint64_t), viewOf<const T>(call.in[0]),
                       viewOf<T>(call.out[0]), viewOf<int32_t>(call.out[1]), p, size);
}

template <class T>
void sortLongRows(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<SortParams>();
  if (call.out[0].elements() == 0) return;
  const int64_t elements = p.rows * p.cols, keyBytes = elements * int64_t(sizeof(uint64_t));
  const auto x = viewOf<const T>(call.in[0]);
  const auto keys = scratchView<uint64_t>(launcher, 0, elements);
  launch<keysKernel<T>>(launcher, gridFor(launcher, elements, kThreads), kThreads, 0, x, keys, p);
  const auto sorted =
      radixSort(launcher, keys, scratchView<uint64_t>(launcher, keyBytes, elements),
                scratchView<uint32_t>(launcher, 2 * keyBytes,
                                      int64_t(radixBytes(p.rows, p.cols) / sizeof(uint32_t))),
                p.rows, p.cols, 32);
  launch<writeKernel<T>>(launcher, gridFor(launcher, call.out[0].elements(), kThreads), kThreads, 0,
                         x, Global<const uint64_t>(sorted), viewOf<T>(call.out[0]),
                         viewOf<int32_t>(call.out[1]), p);
}

template <void (*kFloat)(const OpCall&, Launcher&), void (*kInteger)(const OpCall&, Launcher&)>
void byFormat(const OpCall& call, Context& context) {
  (call.in[0].format == Format::f32 ? kFloat : kInteger)(call, launcherOf(context));
}

int supportsRows(const OpCall& call) {
  return call.in[0].format != Format::f64 && call.as<SortParams>().cols <= kBlockKeys ? 30 : -1;
}
int supportsLongRows(const OpCall& call) { return call.in[0].format != Format::f64 ? 20 : -1; }

size_t longBytes(const OpCall& call, int) {
  const auto& p = call.as<SortParams>();
  return 2 * size_t(call.in[0].elements()) * sizeof(uint64_t) + radixBytes(p.rows, p.cols);
}

const RegisterVariant rows{{.op = "sort",
                            .name = "bitonic",
                            .isa = Isa::sm75,
                            .supports = supportsRows,
                            .scratch = nullptr,
                            .run = byFormat<sortRows<float>, sortRows<int32_t>>}};
const RegisterVariant longRows{{.op = "sort",
                                .name = "radix",
                                .isa = Isa::sm75,
                                .supports = supportsLongRows,
                                .scratch = longBytes,
                                .run = byFormat<sortLongRows<float>, sortLongRows<int32_t>>}};

}  // namespace
}  // namespace figment::cuda
