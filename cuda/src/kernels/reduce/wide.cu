// reduce with coalesced loads of 16 bytes wherever the reduced axes lie. Where the fastest axis is
// reduced, a warp or a block takes the terms of one output; where it is kept, a block takes a strip
// of columns of a slab of rows. Outputs too few to keep the device busy are made of several blocks'
// partial results, which a second kernel combines in order.
#include "../../device/vectors.h"
#include "reduction.h"
#include "strips.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = kStripThreads;
/// Terms that a warp takes alone.
constexpr int64_t kShortTerms = 512;
/// Fewest terms of a block.
constexpr int64_t kSegmentTerms = 4096;
constexpr int64_t kBlocks = 1024;  // keep every GPU busy

template <class T, int kVector>
struct alignas(sizeof(T) * kVector) Pack {
  T values[kVector];
};

/// The terms [begin, end) of an output over `count` threads; `end` and the row are whole vectors.
template <class Combine, class T, int kVector>
FIGMENT_DEVICE auto foldTerms(const Global<const T>& x, const ReductionShape& shape, int64_t first,
                              int64_t begin, int64_t end, int thread, int count) {
  using Kept = typename Combine::Kept;
  const Combine combine;
  Kept kept[kVector];
  FIGMENT_UNROLL
  for (int j = 0; j < kVector; j++) kept[j] = Combine::identity();
  FIGMENT_UNROLL_BY(4)
  for (int64_t i = begin + int64_t(thread) * kVector; i < end; i += int64_t(count) * kVector) {
    const int64_t at = first + (shape.reduced.rank == 0 ? i : shape.termAt(i));
    const auto pack = x.template load<Pack<T, kVector>>(at);
    FIGMENT_UNROLL
    for (int j = 0; j < kVector; j++) kept[j] = combine(kept[j], Kept(pack.values[j]));
  }
  FIGMENT_UNROLL
  for (int j = 1; j < kVector; j++) kept[0] = combine(kept[0], kept[j]);
  return kept[0];
}

template <class Combine, class T, class Y, int kVector>
FIGMENT_KERNEL(kThreads)
warpsKernel(int64_t outputs, Global<const T> x, Global<Y> y, ReductionShape shape) {
  const int64_t output = blockInGrid() * (kThreads / kWarp) + warpInBlock();
  if (output >= outputs) return;
  auto kept = foldTerms<Combine, T, kVector>(x, shape, shape.firstOf(output), 0, shape.terms(),
                                             laneInWarp(), kWarp);
  kept = warpReduce<Combine>(kept);
  if (laneInWarp() == 0) y[output] = Y(kept);
}

/// Y is the result's type, or that of partial results.
template <class Combine, class T, class Y, int kVector>
FIGMENT_KERNEL(kThreads)
segmentsKernel(int64_t outputs, int64_t segments, int64_t terms, Global<const T> x, Global<Y> y,
               ReductionShape shape) {
  const int64_t block = blockInGrid();
  if (block >= outputs * segments) return;
  const int64_t begin = block % segments * terms, all = shape.terms();
  const int64_t end = begin + terms < all ? begin + terms : all;
  auto kept = foldTerms<Combine, T, kVector>(x, shape, shape.firstOf(block / segments), begin, end,
                                             int(threadIdx.x), kThreads);
  kept = blockReduce<Combine, kThreads>(kept, Combine::identity());
  if (threadIdx.x == 0) y[block] = Y(kept);
}

/// Rows of which loads are under way at once.
constexpr int kRows = 4;

template <class Combine, class T, class Y, int kVector>
FIGMENT_KERNEL_OCCUPIED(kThreads, 4)
stripsKernel(Strips strips, Global<const T> x, Global<Y> y, Indices kept, Indices reduced) {
  using Kept = typename Combine::Kept;
  FIGMENT_SHARED(Kept, shared, kThreads * kVector);
  const int64_t block = blockInGrid();
  if (block >= strips.blocks()) return;
  const Combine combine;
  const StripPlace place(strips, block);
  Kept values[kVector];
  FIGMENT_UNROLL
  for (int j = 0; j < kVector; j++) values[j] = Combine::identity();
  if (place.active) {
    const int64_t first = kept.offset(place.sample) + place.channel;
    const int64_t step = strips.down;
    for (int64_t row = place.firstRow; row < place.lastRow; row += kRows * step) {
      Pack<T, kVector> packs[kRows];
      FIGMENT_UNROLL
      for (int r = 0; r < kRows; r++)
        if (row + r * step < place.lastRow)
          packs[r] = x.template load<Pack<T, kVector>>(first + reduced.offset(row + r * step));
      FIGMENT_UNROLL
      for (int r = 0; r < kRows; r++) {
        if (row + r * step >= place.lastRow) continue;
        FIGMENT_UNROLL
        for (int j = 0; j < kVector; j++) values[j] = combine(values[j], Kept(packs[r].values[j]));
      }
    }
  }
  const bool leads = combineDown<Combine>(strips, shared, values);
  if (!leads || !place.active) return;
  const int64_t to = (place.sample * strips.slabs + place.slab) * strips.c + place.channel;
  FIGMENT_UNROLL
  for (int j = 0; j < kVector; j++) y[to + j] = Y(values[j]);
}

struct Segments {
  int64_t count = 1, terms;

  Segments(int64_t outputs, const ReductionShape& shape) : terms(shape.terms()) {
    if (terms <= kShortTerms) return;
    const int64_t most = ceilDiv(terms, kSegmentTerms);
    const int64_t few = ceilDiv(kBlocks, outputs > 0 ? outputs : 1);
    count = most < few ? most : few;
    terms = ceilDiv(ceilDiv(terms, count), int64_t{4}) * 4;
    count = ceilDiv(shape.terms(), terms);
  }
};
Strips stripsOf(const ReductionShape& shape, int vector) {
  return Strips(shape.kept.count, shape.reduced.count, shape.last, vector);
}
/// One index after the other, `stride` apart.
Indices line(int64_t count, int64_t stride) {
  reduce::IndexSet set;
  set.rank = 1;
  set.count = set.dims[0] = count;
  set.strides[0] = stride;
  return Indices(set);
}

int vectorOf(const OpCall& call, int64_t last) {
  const int most = int(16 / formatBytes(call.in[0].format));
  return last % most == 0 && reinterpret_cast<uintptr_t>(call.in[0].data) % 16 == 0 ? most : 1;
}

template <class Combine, class T, int kVector>
void runRows(const OpCall& call, Launcher& launcher, const ReductionShape& shape) {
  using Kept = typename Combine::Kept;
  const int64_t outputs = call.out[0].elements();
  const auto x = viewOf<const T>(call.in[0]);
  const auto y = viewOf<T>(call.out[0]);
  const Grid warps = blocksFor(ceilDiv(outputs, int64_t(kThreads / kWarp)));
  const Segments segments(outputs, shape);
  if (shape.terms() <= kShortTerms)
    return launch<warpsKernel<Combine, T, T, kVector>>(launcher, warps, kThreads, 0, outputs, x, y,
                                                       shape);
  if (segments.count == 1)
    return launch<segmentsKernel<Combine, T, T, kVector>>(launcher, blocksFor(outputs), kThreads, 0,
                                                          outputs, int64_t{1}, segments.terms, x, y,
                                                          shape);
  const auto partial = scratchView<Kept>(launcher, 0, outputs * segments.count);
  launch<segmentsKernel<Combine, T, Kept, kVector>>(launcher, blocksFor(outputs * segments.count),
                                                    kThreads, 0, outputs, segments.count,
                                                    segments.terms, x, partial, shape);
  ReductionShape rest(reduce::Shape{});
  rest.kept = line(outputs, segments.count);
  rest.last = segments.count;
  launch<warpsKernel<Combine, Kept, T, 1>>(launcher, warps, kThreads, 0, outputs,
                                           Global<const Kept>(partial), y, rest);
}

template <class Combine, class T, int kVector>
void runStrips(const OpCall& call, Launcher& launcher, const ReductionShape& shape) {
  using Kept = typename Combine::Kept;
  const auto x = viewOf<const T>(call.in[0]);
  const auto y = viewOf<T>(call.out[0]);
  const Strips strips = stripsOf(shape, kVector);
  if (strips.slabs == 1)
    return launch<stripsKernel<Combine, T, T, kVector>>(launcher, strips.grid(), kThreads, 0,
                                                        strips, x, y, shape.kept, shape.reduced);
  const auto partial = scratchView<Kept>(launcher, 0, strips.n * strips.slabs * strips.c);
  launch<stripsKernel<Combine, T, Kept, kVector>>(launcher, strips.grid(), kThreads, 0, strips, x,
                                                  partial, shape.kept, shape.reduced);
  const Strips rest = strips.ofPartials();
  launch<stripsKernel<Combine, Kept, T, kVector>>(
      launcher, rest.grid(), kThreads, 0, rest, Global<const Kept>(partial), y,
      line(rest.n, rest.rows * rest.c), line(rest.rows, rest.c));
}

template <class Combine, class T, int kVector>
void runAs(const OpCall& call, Launcher& launcher, const ReductionShape& shape) {
  if (shape.lastReduced)
    runRows<Combine, T, kVector>(call, launcher, shape);
  else
    runStrips<Combine, T, kVector>(call, launcher, shape);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const ReductionShape shape(call);
  forReduction(call, [&]<class Combine, class T>() {
    if (vectorOf(call, shape.last) == 1)
      runAs<Combine, T, 1>(call, launcher, shape);
    else
      runAs<Combine, T, int(16 / sizeof(T))>(call, launcher, shape);
  });
}

size_t scratch(const OpCall& call, int) {
  const ReductionShape shape(call);
  const size_t bytes = formatBytes(call.in[0].format);
  if (shape.lastReduced) {
    const int64_t outputs = call.out[0].elements();
    return size_t(outputs * Segments(outputs, shape).count) * bytes;
  }
  // Addresses decide on vectors, and are not known yet.
  int64_t most = stripsOf(shape, 1).slabs;
  const int vector = int(16 / bytes);
  if (shape.last % vector == 0) {
    const int64_t slabs = stripsOf(shape, vector).slabs;
    if (slabs > most) most = slabs;
  }
  return size_t(shape.kept.count * most * shape.last) * bytes;
}

const RegisterVariant registrar{
    {.op = "reduce",
     .name = "wide",
     .isa = Isa::sm75,
     .supports = [](const OpCall& call) { return call.in[0].empty() ? -1 : kFastPreference; },
     .scratch = scratch,
     .run = run}};

}  // namespace
}  // namespace figment::cuda
