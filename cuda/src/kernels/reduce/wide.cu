// reduce with coalesced loads of 16 bytes wherever the reduced axes lie. Where the fastest axis is
// reduced, a warp or a block takes the terms of one output; where it is kept, a block takes a strip
// of columns of a slab of rows. Outputs too few to keep the device busy are made of several blocks'
// partial results, which a second kernel combines in order.
#include "../../device/four.h"
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
template <class T, int kVector, class Combine>
FIGMENT_DEVICE T foldTerms(const Combine& combine, const Global<const T>& x,
                           const ReductionShape& shape, int64_t first, int64_t begin, int64_t end,
                           int thread, int count) {
  T kept[kVector];
  FIGMENT_UNROLL
  for (int j = 0; j < kVector; j++) kept[j] = combine.identity();
  FIGMENT_UNROLL_BY(4)
  for (int64_t i = begin + int64_t(thread) * kVector; i < end; i += int64_t(count) * kVector) {
    const int64_t at = first + (shape.reduced.rank == 0 ? i : shape.termAt(i));
    const auto pack = x.template load<Pack<T, kVector>>(at);
    FIGMENT_UNROLL
    for (int j = 0; j < kVector; j++) kept[j] = combine(kept[j], pack.values[j]);
  }
  FIGMENT_UNROLL
  for (int j = 1; j < kVector; j++) kept[0] = combine(kept[0], kept[j]);
  return kept[0];
}

template <class T, int kVector, class Combine>
FIGMENT_KERNEL(kThreads)
warpsKernel(Combine combine, int64_t outputs, Global<const T> x, Global<T> y,
            ReductionShape shape) {
  const int64_t output = blockInGrid() * (kThreads / kWarp) + warpInBlock();
  if (output >= outputs) return;
  T kept = foldTerms<T, kVector>(combine, x, shape, shape.firstOf(output), 0, shape.terms(),
                                 laneInWarp(), kWarp);
  kept = warpReduce(kept, combine);
  if (laneInWarp() == 0) y[output] = kept;
}

template <class T, int kVector, class Combine>
FIGMENT_KERNEL(kThreads)
segmentsKernel(Combine combine, int64_t outputs, int64_t segments, int64_t terms, Global<const T> x,
               Global<T> y, ReductionShape shape) {
  const int64_t block = blockInGrid();
  if (block >= outputs * segments) return;
  const int64_t begin = block % segments * terms, all = shape.terms();
  const int64_t end = begin + terms < all ? begin + terms : all;
  T kept = foldTerms<T, kVector>(combine, x, shape, shape.firstOf(block / segments), begin, end,
                                 int(threadIdx.x), kThreads);
  kept = blockReduce<Combine, kThreads>(kept, combine.identity(), combine);
  if (threadIdx.x == 0) y[block] = kept;
}

/// Rows of which loads are under way at once.
constexpr int kRows = 4;

template <class T, int kVector, class Combine>
FIGMENT_KERNEL_OCCUPIED(kThreads, 4)
stripsKernel(Combine combine, Strips strips, Global<const T> x, Global<T> y, Indices kept,
             Indices reduced) {
  FIGMENT_SHARED(T, shared, kThreads * kVector);
  const int64_t block = blockInGrid();
  if (block >= strips.blocks()) return;
  const StripPlace place(strips, block);
  T values[kVector];
  FIGMENT_UNROLL
  for (int j = 0; j < kVector; j++) values[j] = combine.identity();
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
        for (int j = 0; j < kVector; j++) values[j] = combine(values[j], packs[r].values[j]);
      }
    }
  }
  const bool leads = combineDown(combine, strips, shared, values);
  if (!leads || !place.active) return;
  const int64_t to = (place.sample * strips.slabs + place.slab) * strips.c + place.channel;
  FIGMENT_UNROLL
  for (int j = 0; j < kVector; j++) y[to + j] = values[j];
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

/// Elements of a vector: f32's of 16 bytes, where shape and addresses are made for them.
int vectorOf(const OpCall& call, int64_t last) {
  return call.in[0].format == Format::f32 && last % 4 == 0 ? 4 : 1;
}

template <class T, int kVector, class Combine>
void runRows(const Combine& combine, const OpCall& call, Launcher& launcher,
             const ReductionShape& shape) {
  const int64_t outputs = call.out[0].elements();
  const auto x = viewOf<const T>(call.in[0]);
  const auto y = viewOf<T>(call.out[0]);
  const Grid warps = blocksFor(ceilDiv(outputs, int64_t(kThreads / kWarp)));
  const Segments segments(outputs, shape);
  if (shape.terms() <= kShortTerms)
    return launch<warpsKernel<T, kVector, Combine>>(launcher, warps, kThreads, 0, combine, outputs,
                                                    x, y, shape);
  const bool whole = segments.count == 1;
  const auto partial = whole ? y : scratchView<T>(launcher, 0, outputs * segments.count);
  launch<segmentsKernel<T, kVector, Combine>>(launcher, blocksFor(outputs * segments.count),
                                              kThreads, 0, combine, outputs, segments.count,
                                              segments.terms, x, partial, shape);
  if (whole) return;
  ReductionShape rest(reduce::Shape{});
  rest.kept = line(outputs, segments.count);
  rest.last = segments.count;
  launch<warpsKernel<T, 1, Combine>>(launcher, warps, kThreads, 0, combine, outputs,
                                     Global<const T>(partial), y, rest);
}

template <class T, int kVector, class Combine>
void runStrips(const Combine& combine, const OpCall& call, Launcher& launcher,
               const ReductionShape& shape) {
  const auto y = viewOf<T>(call.out[0]);
  const Strips strips = stripsOf(shape, kVector);
  const auto reduceStrips = [&](const Strips& s, const Global<const T>& x, const Global<T>& to,
                                const Indices& kept, const Indices& reduced) {
    launch<stripsKernel<T, kVector, Combine>>(launcher, s.grid(), kThreads, 0, combine, s, x, to,
                                              kept, reduced);
  };
  const bool whole = strips.slabs == 1;
  const auto partial = whole ? y : scratchView<T>(launcher, 0, strips.n * strips.slabs * strips.c);
  reduceStrips(strips, viewOf<const T>(call.in[0]), partial, shape.kept, shape.reduced);
  if (whole) return;
  const Strips rest = strips.ofPartials();
  reduceStrips(rest, partial, y, line(rest.n, rest.rows * rest.c), line(rest.rows, rest.c));
}

template <class T, int kVector, class Combine>
void runAs(const Combine& combine, const OpCall& call, Launcher& launcher,
           const ReductionShape& shape) {
  if (shape.lastReduced)
    runRows<T, kVector>(combine, call, launcher, shape);
  else
    runStrips<T, kVector>(combine, call, launcher, shape);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const ReductionShape shape(call);
  const bool vectors = vectorOf(call, shape.last) > 1 && startsAligned(call.in[0]);
  forReduction(call, [&]<class T, class Combine>(const Combine& combine) {
    if constexpr (std::is_same_v<T, float>) {
      if (vectors) return runAs<T, 4>(combine, call, launcher, shape);
    }
    runAs<T, 1>(combine, call, launcher, shape);
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
  const int64_t slabs = stripsOf(shape, vectorOf(call, shape.last)).slabs;
  if (slabs > most) most = slabs;
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
