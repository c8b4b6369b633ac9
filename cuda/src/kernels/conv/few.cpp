// Convolutions of which one side has few channels, as matrix products of aligned factors, of which
// that of many channels is read once. Results of few channels are folded out of the products of
// every pixel with all taps; for gradients of weights the pixels of few channels are unfolded, taps
// and channels side by side. Few channels that are summed over are read where they are, by the
// kernels of ../gemm: unfolding them first took longer.
#include "../gemm/variants.h"
#include "../matmul/work.h"
#include "unfold.h"
#include "work.h"

namespace figment::cuda {
namespace {

/// A convolution as unfolding (or folding) and a product.
struct Few {
  enum class Way { none, unfolds, folds } way = Way::none;
  Unfolding unfolding;
  Folding folding;
  int unfolded = 0;           ///< which operand is
  int first = 0, second = 1;  ///< operands that are the product's factors
  MatmulParams product = {};
  int64_t pitchA = 0, pitchB = 0;  ///< of the factors' rows in memory
};

constexpr int64_t roundUp(int64_t count, int64_t unit) { return ceilDiv(count, unit) * unit; }

MatmulParams productOf(int64_t m, int64_t n, int64_t k, bool transA, bool transB) {
  MatmulParams product = {};
  product.batch = 1;
  product.m = m;
  product.n = n;
  product.k = k;
  product.transA = transA;
  product.transB = transB;
  return product;
}
Unfolding unfoldingOf(const Reach& reach, Order order, int32_t channels) {
  Unfolding u = {.reach = reach, .order = order, .channels = channels};
  u.pitch = int32_t(roundUp(u.columns(), 8));
  return u;
}

/// Whether few channels meet many, through more than one tap.
template <class P>
bool few(const P& p, int32_t channels, int32_t others) {
  const int64_t columns = int64_t(p.kh) * p.kw * channels;
  return p.groups == 1 && channels >= 1 && channels <= kMostFew && others >= 8 && p.kh * p.kw > 1 &&
         columns <= kMostUnfolded;
}
template <class P>
bool unitStride(const P& p) {
  return p.stride[0] == 1 && p.stride[1] == 1;
}

Few fewOf(const Conv2dParams& p) {
  Few f;
  const int64_t pixels = int64_t(p.n) * p.h * p.w;
  const int64_t taps = int64_t(p.kh) * p.kw;
  if (few(p, p.o, p.c) && unitStride(p)) {
    f.way = Few::Way::folds;
    f.folding = {reachOfResults(p), Order::channelFirst, p.o, pixels};
    f.first = 1;
    f.second = 0;
    f.product = productOf(p.o * taps, pixels, p.c, false, true);
    f.pitchA = f.pitchB = p.c;
  }
  return f;
}

Few fewOf(const Conv2dInputGradParams& p) {
  Few f;
  const int64_t rows = int64_t(p.n) * p.ho * p.wo;
  const int64_t taps = int64_t(p.kh) * p.kw;
  if (few(p, p.c, p.o)) {
    f.way = Few::Way::folds;
    f.folding = {reachOfPixels(p), Order::tapFirst, p.c, rows};
    f.first = 1;
    f.second = 0;
    f.product = productOf(taps * p.c, rows, p.o, true, true);
    f.pitchA = taps * p.c;
    f.pitchB = p.o;
  }
  return f;
}

Few fewOf(const Conv2dWeightGradParams& p) {
  Few f;
  const int64_t rows = int64_t(p.n) * p.ho * p.wo, pixels = int64_t(p.n) * p.h * p.w;
  const int64_t taps = int64_t(p.kh) * p.kw;
  f.first = 1;
  f.second = 0;
  if (few(p, p.c, p.o)) {
    f.way = Few::Way::unfolds;
    f.unfolding = unfoldingOf(reachOfResults(p), Order::tapFirst, p.c);
    f.product = productOf(p.o, taps * p.c, rows, true, false);
    f.pitchA = p.o;
    f.pitchB = f.unfolding.pitch;
  } else if (few(p, p.o, p.c) && unitStride(p)) {
    f.way = Few::Way::unfolds;
    f.unfolded = 1;
    f.unfolding = unfoldingOf(reachOfPixels(p), Order::channelFirst, p.o);
    f.product = productOf(p.o * taps, p.c, pixels, true, false);
    f.pitchA = f.unfolding.pitch;
    f.pitchB = p.c;
  }
  return f;
}

/// The product, whose factors' rows are as long in memory as `few` says.
Work pitchedWork(const Few& few, int unit) {
  const MatmulParams& p = few.product;
  Work work = workOf(p, unit);
  const int32_t pitchA = narrowTo32(work, few.pitchA), pitchB = narrowTo32(work, few.pitchB);
  const auto window = [&](int32_t pitch) {
    work.window.columnStep = pitch;
    work.window.aligned = pitch % unit == 0;
  };
  const auto taps = [&](int32_t pitch) {
    work.taps.channelStep = pitch;
    work.taps.aligned = pitch % unit == 0;
  };
  p.transA ? taps(pitchA) : window(pitchA);
  if (p.transB) {
    work.matrix.rowStep = pitchB;
    work.matrix.aligned = pitchB % unit == 0;
  } else {
    window(pitchB);  // of the weights' gradient, whose first factor is transposed
  }
  return work;
}

/// Where the scratch memory holds what: partial sums of the product first.
struct Memory {
  int64_t taken = 0, bytes = 0;  ///< `taken`: where the unfolded factor, or what is folded, begins
};
Memory memoryOf(const Few& few, const OpCall& call) {
  constexpr int64_t kUnit = 256;
  Memory memory;
  memory.taken = roundUp(int64_t(scratchOf(pitchedWork(few, 1).product)), kUnit);
  const Unfolding& u = few.unfolding;
  memory.bytes = memory.taken + (few.way == Few::Way::folds
                                     ? few.product.m * few.product.n * int64_t(sizeof(float))
                                     : u.reach.positions * u.pitch *
                                           int64_t(formatBytes(call.in[few.unfolded].format)));
  return memory;
}

template <class P>
struct FewChannels {
  using Params = P;
  /// Before the kernels of ../gemm that run the same calls, those of Hopper included.
  static constexpr Preferences kPreferences = {35, 25, 15};
  static constexpr VariantNames kNames = {"few-mma", "few-mma-split", "few-mma-tf32", "few-tiled"};

  /// Operands of one width, with memory for the unfolded one, whose pieces are then few enough to
  /// be counted in 31 bits.
  static bool fits(const OpCall& call) {
    constexpr int64_t kMostBytes = int64_t(1) << 28;
    const auto& p = call.as<P>();
    if (call.out[0].empty() || call.in[0].empty() || call.in[1].empty() || !boundsFit(p) ||
        !sumsInF32(call) || formatBytes(call.in[0].format) != formatBytes(call.in[1].format))
      return false;
    const Few few = fewOf(p);
    return few.way != Few::Way::none && fitsGrid(pitchedWork(few, 1)) &&
           memoryOf(few, call).bytes <= kMostBytes;
  }
  static size_t scratch(const OpCall& call, int) {
    return size_t(memoryOf(fewOf(call.as<P>()), call).bytes);
  }
  template <RunWork runWork, int unit>
  static void run(const OpCall& call, Context& context) {
    const auto& p = call.as<P>();
    const Few few = fewOf(p);
    const Work work = pitchedWork(few, unit);
    const Memory memory = memoryOf(few, call);
    Launcher& launcher = launcherOf(context);
    std::byte* scratch = launcher.scratch();
    const Epilogue<float> epilogue = epilogueOf(call, p);
    if (few.way == Few::Way::folds) {
      const Operand products =
          rowOperand(scratch + memory.taken, Format::f32, few.product.m * few.product.n);
      runWork(work, {call.in[few.first], call.in[few.second], Epilogue<float>(products)}, launcher);
      return fold(launcher, few.folding, products.as<float>(), epilogue);
    }
    const Unfolding& u = few.unfolding;
    const Operand& source = call.in[few.unfolded];
    const Operand unfolded =
        rowOperand(scratch + memory.taken, source.format, u.reach.positions * u.pitch);
    unfold(launcher, u, source, scratch + memory.taken);
    const auto factor = [&](int which) -> const Operand& {
      return which == few.unfolded ? unfolded : call.in[which];
    };
    runWork(work, {factor(few.first), factor(few.second), epilogue}, launcher);
  }
};

const ProductVariants<FewChannels<Conv2dParams>> forward{"conv2d"};
const ProductVariants<FewChannels<Conv2dInputGradParams>> inputGrad{"conv2dInputGrad"};
const ProductVariants<FewChannels<Conv2dWeightGradParams>> weightGrad{"conv2dWeightGrad"};

}  // namespace
}  // namespace figment::cuda
