// checkFinite over many tensors at once: threads look at 16 bytes at a time for exponents of all
// ones. A chunk that holds one is searched for its first.
#include "../../device/launch.h"
#include "../../device/number.h"
#include "../../device/warp.h"
#include "../optimizer/sweep.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
/// Accesses of 16 bytes that a thread makes to a chunk.
constexpr int kVectors = 8;

template <class Word>
constexpr int64_t kWords = 16 / sizeof(Word);
template <class Word>
constexpr int64_t kChunk = kVectors* kThreads* kWords<Word>;

/// Whether a word of 32 bits holds an element with all bits of the exponent.
template <class Word>
FIGMENT_DEVICE bool holdsAll(uint32_t bits, uint32_t exponent) {
  if constexpr (sizeof(Word) == 2)
    return (bits & exponent) == exponent || (bits >> 16 & exponent) == exponent;
  else
    return (bits & exponent) == exponent;
}
/// Of 16 bytes. The exponent of f64 lies in the upper one of two words.
template <class Word>
FIGMENT_DEVICE bool holdsAll(const uint4& x, uint32_t exponent) {
  const bool upper = holdsAll<Word>(x.y, exponent) || holdsAll<Word>(x.w, exponent);
  if constexpr (sizeof(Word) == 8) return upper;
  return upper || holdsAll<Word>(x.x, exponent) || holdsAll<Word>(x.z, exponent);
}

/// NaN and the infinities as such.
template <class Word>
FIGMENT_DEVICE double tellOf(Word bits, Word exponent) {
  constexpr Word kSign = Word(Word(1) << (8 * sizeof(Word) - 1));
  const double infinity = double(bitsToFloat(0x7f800000u));
  if (Word(bits & ~kSign) != exponent) return infinity - infinity;
  return (bits & kSign) != 0 ? -infinity : infinity;
}

template <class Word>
FIGMENT_KERNEL(kThreads)
finiteKernel(FIGMENT_GRID_CONSTANT const SweepTable<const Word, 1> table, Word exponent,
             FailureSink failures) {
  const auto upper = uint32_t(uint64_t(exponent) >> (sizeof(Word) == 8 ? 32 : 0));
  for (uint32_t chunk = blockIdx.x; chunk < table.chunks; chunk += gridDim.x) {
    const int t = table.tensorOf(chunk);
    const auto x = table.at[0][t];
    const int64_t begin = int64_t(chunk - table.firstChunk[t]) * kChunk<Word>;
    const int64_t left = table.count[t] - begin;
    const int64_t count = left < kChunk<Word> ? left : kChunk<Word>;
    bool found = false;
    int64_t done = 0;  // elements that are looked at 16 bytes at a time
    if (table.aligned) {
      done = count / kWords<Word> * kWords<Word>;
      FIGMENT_UNROLL
      for (int v = 0; v < kVectors; v++) {
        const int64_t i = (v * kThreads + int64_t(threadIdx.x)) * kWords<Word>;
        if (i < done) found |= holdsAll<Word>(x.template load<uint4>(begin + i), upper);
      }
    }
    for (int64_t i = done + threadIdx.x; i < count; i += kThreads)
      found |= (x[begin + i] & exponent) == exponent;
    if (!__syncthreads_or(found)) continue;
    int64_t first = count;
    for (int64_t i = threadIdx.x; i < count && first == count; i += kThreads)
      if ((x[begin + i] & exponent) == exponent) first = i;
    const int64_t least = blockReduce<Minimum, kThreads>(first, count);
    if (first == least)
      failures.report(uint32_t(table.index[t]), begin + first,
                      tellOf<Word>(x[begin + first], exponent));
  }
}

/// Tables of tensors whose elements have this format.
template <class Word>
void checkAll(const OpCall& call, Launcher& launcher, Format format, Word exponent) {
  SweepTable<const Word, 1> table;
  const auto flush = [&] {
    launch<finiteKernel<Word>>(launcher,
                               gridFor(launcher, int64_t(table.chunks) * kThreads, kThreads),
                               kThreads, 0, table, exponent, launcher.failures());
    table = {};
  };
  for (int t = 0; t < call.inCount; t++) {
    if (call.in[t].format != format || call.in[t].empty()) continue;
    const Operand* const arrays[] = {&call.in[t]};
    table.add(arrays, t, kChunk<Word>);
    if (table.full()) flush();
  }
  flush();
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  checkAll<uint32_t>(call, launcher, Format::f32, 0x7f800000);
  checkAll<uint16_t>(call, launcher, Format::bf16, 0x7f80);
  checkAll<uint16_t>(call, launcher, Format::f16, 0x7c00);
  checkAll<uint64_t>(call, launcher, Format::f64, 0x7ff0000000000000);
}

const RegisterVariant registrar{{.op = "checkFinite",
                                 .name = "sweep",
                                 .isa = Isa::sm75,
                                 .supports = [](const OpCall&) { return 20; },
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
