// "products": scores = q·kᵀ by the kernels of matrix products, softmax row by row, out = weights·v;
// and its derivative, dp = dout·vᵀ, dv = weightsᵀ·dout, dq = ds·k, dk = dsᵀ·q. "products" sums in
// f32, whatever the operands' formats; "products-mma" has all factors in one 16-bit format, scores
// and their derivatives too where they are factors.
#include "../gemm/factors.h"
#include "flash_simt.h"
#include "products.h"

namespace figment::cuda {
namespace products {
namespace {

/// Scores in scratch at once, and most of one head's, whose derivative needs all at once.
constexpr int64_t kScores = int64_t(1) << 25, kMostScores = int64_t(1) << 28;
constexpr int64_t kTile = 128;                     // queries are cut at multiples of it
constexpr double kLeastProduct = double(1 << 22);  // multiply-adds of a product that pays
constexpr int64_t kVector = 8;  // elements, of which rows of scores are multiples

}  // namespace

Turns Turns::of(const AttentionProblem& p, bool wholeHeads) {
  Turns turns{p, 0, 0, 0, p.sq, ceilDiv(p.sk, kVector) * kVector};
  turns.loops = std::min(p.b, p.h);
  turns.members = std::max(p.b, p.h);
  turns.groups = std::clamp<int64_t>(kScores / (p.sq * turns.ld), 1, turns.members);
  if (!wholeHeads && p.sq * turns.ld > kScores)
    turns.rows = std::min(std::max(kScores / turns.ld / kTile, int64_t(1)) * kTile, p.sq);
  return turns;
}

Work workOf(int64_t groups, int64_t m, int64_t n, int64_t k, const Matrix& a, bool transA,
            const Matrix& b, bool transB, const Matrix& out, int unit) {
  Work work;
  Product& product = work.product;
  product.columns = narrowTo32(work, n);
  product.groups = narrowTo32(work, groups);
  product.mostRows = narrowTo32(work, m);
  product.outGroup = out.group;
  product.outColumn = out.row;
  Phase& phase = product.phase[0];
  phase.rows = narrowTo32(work, m);
  phase.depth = narrowTo32(work, k);
  // Pixels are rows, or the depth where both factors go across it.
  const int64_t pixels = transA ? k : m;
  phase.area = phase.width = divisorOf(work, pixels);
  phase.tapsX = Divisor(1);

  const auto aligned = [&](const Matrix& x, int64_t across) {
    return (across % unit == 0 || x.padded) && x.row % unit == 0 && x.group % unit == 0;
  };
  const auto window = [&](const Matrix& x, int64_t channels) {
    work.window.groupStep = x.group;
    work.window.columnStep = narrowTo32(work, x.row);
    work.window.width = narrowTo32(work, pixels);
    work.window.channels = divisorOf(work, ceilDiv(channels, kVector) * kVector);
    work.window.aligned = aligned(x, channels);
  };
  const auto taps = [&](const Matrix& x, int64_t across) {
    work.taps.groupStep = x.group;
    work.taps.channelStep = x.row;
    work.taps.channels = divisorOf(work, k);
    work.taps.aligned = aligned(x, across);
  };
  if (transA) {
    taps(a, m);
    window(b, n);
    work.layout = Layout::weights;
  } else {
    window(a, k);
    if (transB) {
      work.matrix = {b.group, b.row, aligned(b, k)};
      work.layout = Layout::forward;
    } else {
      taps(b, n);
      work.layout = Layout::backward;
    }
  }
  return work;
}

namespace {

using RunWork = void (*)(const Work&, const WorkOperands&, Launcher&);

/// Heads, and queries of each, that are computed together.
struct Turn {
  int64_t loop, member, count, row, rows;
};
template <class F>
void eachTurn(const Turns& t, int64_t loops, F&& f) {
  for (int64_t loop = 0; loop < loops; loop++)
    for (int64_t member = 0; member < t.members; member += t.groups)
      for (int64_t row = 0; row < t.p.sq; row += t.rows)
        f(Turn{loop, member, std::min(t.groups, t.members - member), row,
               std::min(t.rows, t.p.sq - row)});
}

Operand elementsFrom(const Operand& whole, int64_t first) {
  Operand rest;
  rest.format = whole.format;
  rest.rank = 1;
  rest.dims[0] = whole.elements() - first;
  rest.strides[0] = 1;
  if (whole.data) rest.data = whole.as<uint8_t>() + first * int64_t(formatBytes(whole.format));
  return rest;
}

/// The heads of an operand in a turn, from a position on.
Matrix headsOf(const Turns& t, const Turn& turn, const Operand& operand, int64_t length,
               int64_t position = 0) {
  const int64_t first = t.p.headStart(t.task(turn.loop, turn.member), length);
  return {elementsFrom(operand, first + position * t.p.rowStride()), t.memberStep(length),
          t.p.rowStride()};
}

/// Scratch: partial sums of products, then matrices of scores, in f32 and as factors.
class Scratch {
 public:
  Scratch(const Turns& turns, Format factor, size_t partialBytes, std::byte* memory)
      : turns_(turns),
        factor_(factor),
        memory_(memory),
        used_(ceilDiv(partialBytes, size_t(64)) * 64) {}
  Operand take(Format format) {
    Operand matrices;
    matrices.format = format;
    matrices.rank = 1;
    matrices.dims[0] = turns_.scores();
    matrices.strides[0] = 1;
    matrices.data = memory_ ? memory_ + used_ : nullptr;
    used_ += ceilDiv(size_t(turns_.scores()) * formatBytes(format), size_t(64)) * 64;
    return matrices;
  }
  /// For what becomes of `scores` as a factor.
  Operand takeFactor(const Operand& scores) {
    return factor_ == Format::f32 ? scores : take(factor_);
  }
  size_t bytes() const { return used_; }

 private:
  const Turns& turns_;
  Format factor_;
  std::byte* memory_;
  size_t used_;
};

Matrix scoresOf(const Turns& t, const Turn& turn, const Operand& matrices) {
  return {matrices, turn.rows * t.ld, t.ld, true};
}
ScoreRows rowsOf(const Turns& t, const Turn& turn) {
  return {t.task(turn.loop, turn.member), t.taskStep(), turn.count, turn.row, turn.rows, t.ld};
}

/// Calls product(work, a, b, out) for each product, and rows() where the rows of scores are ready.
template <class Product, class Rows>
void forwardTurn(const OpCall& call, const Turns& t, const Turn& turn, int unit,
                 const Operand& scores, const Operand& weights, Product&& product, Rows&& rows) {
  const AttentionProblem& p = t.p;
  const Matrix q = headsOf(t, turn, call.in[0], p.sq, turn.row);
  const Matrix k = headsOf(t, turn, call.in[1], p.sk), v = headsOf(t, turn, call.in[2], p.sk);
  const Matrix out = headsOf(t, turn, call.out[0], p.sq, turn.row);
  const Matrix s = scoresOf(t, turn, scores), w = scoresOf(t, turn, weights);
  product(workOf(turn.count, turn.rows, p.sk, p.d, q, false, k, true, s, unit), q, k, s);
  rows();
  product(workOf(turn.count, turn.rows, p.d, p.sk, w, false, v, false, out, unit), w, v, out);
}
template <class Product, class Rows>
void backwardTurn(const OpCall& call, const Turns& t, const Turn& turn, int unit,
                  const Operand (&scores)[4], Product&& product, Rows&& rows) {
  const AttentionProblem& p = t.p;
  const Matrix q = headsOf(t, turn, call.in[0], p.sq), k = headsOf(t, turn, call.in[1], p.sk);
  const Matrix v = headsOf(t, turn, call.in[2], p.sk), dout = headsOf(t, turn, call.in[5], p.sq);
  const Matrix dq = headsOf(t, turn, call.out[0], p.sq), dk = headsOf(t, turn, call.out[1], p.sk);
  const Matrix dv = headsOf(t, turn, call.out[2], p.sk);
  const Matrix s = scoresOf(t, turn, scores[0]), dw = scoresOf(t, turn, scores[1]);
  const Matrix w = scoresOf(t, turn, scores[2]), ds = scoresOf(t, turn, scores[3]);
  const auto multiply = [&](int64_t m, int64_t n, int64_t depth, const Matrix& a, bool transA,
                            const Matrix& b, bool transB, const Matrix& out) {
    product(workOf(turn.count, m, n, depth, a, transA, b, transB, out, unit), a, b, out);
  };
  multiply(p.sq, p.sk, p.d, q, false, k, true, s);
  multiply(p.sq, p.sk, p.d, dout, false, v, true, dw);
  rows();
  multiply(p.sk, p.d, p.sq, w, true, dout, false, dv);
  multiply(p.sq, p.d, p.sk, ds, false, k, false, dq);
  multiply(p.sk, p.d, p.sq, ds, true, q, false, dk);
}

template <RunWork runWork, int unit>
struct Kernels {
  static constexpr bool kHalf = unit == kMmaUnit;

  static bool takes(const OpCall& call, int factors) {
    if (kHalf) return factorsOnTensorCores(call) && allOf(call.in, factors, call.in[0].format);
    return call.in[0].format != Format::f64;
  }
  static Format factorOf(const OpCall& call) { return kHalf ? call.in[0].format : Format::f32; }

  template <bool kGrad>
  static AttentionProblem problemOf(const OpCall& call) {
    if constexpr (kGrad) return AttentionProblem::of<AttentionGradParams>(call, 6);
    return AttentionProblem::of<AttentionParams>(call, 3);
  }

  /// Runs all turns of so many loops, or with nothing but `product` counts works.
  template <bool kGrad, class Product, class Rows>
  static size_t eachStep(const OpCall& call, int64_t loops, size_t partialBytes, std::byte* memory,
                         Product&& product, Rows&& rows) {
    const Turns turns = Turns::of(problemOf<kGrad>(call), kGrad);
    Scratch scratch(turns, factorOf(call), partialBytes, memory);
    const Operand scores = scratch.take(Format::f32);
    if constexpr (kGrad) {
      const Operand grads = scratch.take(Format::f32);
      const Operand all[4] = {scores, grads, scratch.takeFactor(scores), scratch.takeFactor(grads)};
      eachTurn(turns, loops ? loops : turns.loops, [&](const Turn& turn) {
        backwardTurn(call, turns, turn, unit, all, product,
                     [&] { rows(turns.p, rowsOf(turns, turn), all); });
      });
    } else {
      const Operand all[2] = {scores, scratch.takeFactor(scores)};
      eachTurn(turns, loops ? loops : turns.loops, [&](const Turn& turn) {
        forwardTurn(call, turns, turn, unit, all[0], all[1], product,
                    [&] { rows(turns.p, rowsOf(turns, turn), all); });
      });
    }
    return scratch.bytes();
  }

  template <bool kGrad>
  static size_t partialBytes(const OpCall& call) {
    size_t most = 0;
    eachStep<kGrad>(
        call, 1, 0, nullptr,
        [&](const Work& work, const auto&...) { most = std::max(most, scratchOf(work.product)); },
        [](const auto&...) {});
    return most;
  }
  template <bool kGrad>
  static bool fits(const OpCall& call) {
    bool all = true;
    eachStep<kGrad>(
        call, 1, 0, nullptr, [&](const Work& work, const auto&...) { all = all && fitsGrid(work); },
        [](const auto&...) {});
    return all;
  }

  template <bool kGrad>
  static int supports(const OpCall& call) {
    constexpr int kOperands = kGrad ? 6 : 3;
    // Lengths would have to keep products from values that do not count and may be NaN.
    if (call.inCount != kOperands || call.in[0].empty() || call.in[1].empty()) return -1;
    if (!takes(call, 3) || (kGrad && kHalf && call.in[5].format != call.in[0].format)) return -1;
    const Turns turns = Turns::of(problemOf<kGrad>(call), kGrad);
    if (turns.rows * turns.ld > kMostScores || !fits<kGrad>(call)) return -1;
    const bool pays = double(turns.scores()) * double(turns.p.d) >= kLeastProduct;
    const int64_t d = turns.p.d;
    if (pays && d > (kGrad && !kHalf ? 64 : 128)) return kHalf ? 18 : 15;
    return d > kMostSimtDim ? 5 : kOnRequest;
  }

  template <bool kGrad>
  static size_t scratch(const OpCall& call, int) {
    const auto nothing = [](const auto&...) {};
    return eachStep<kGrad>(call, 1, partialBytes<kGrad>(call), nullptr, nothing, nothing);
  }

  template <bool kGrad>
  static void run(const OpCall& call, Context& context) {
    Launcher& launcher = launcherOf(context);
    eachStep<kGrad>(
        call, 0, partialBytes<kGrad>(call), launcher.scratch(),
        [&](const Work& work, const Matrix& a, const Matrix& b, const Matrix& out) {
          runWork(work, {a.operand, b.operand, Epilogue<float>(out.operand), out.operand},
                  launcher);
        },
        [&](const AttentionProblem& p, const ScoreRows& rows, const auto& scores) {
          if constexpr (kGrad)
            softmaxGradRows(p, rows, scores[0], scores[1], call.in[4], scores[2], scores[3],
                            launcher);
          else
            softmaxRows(p, rows, scores[0], scores[1], call.out[1], launcher);
        });
  }

  template <bool kGrad>
  static constexpr Variant variant(const char* name, Isa isa) {
    return {.op = kGrad ? "attentionGrad" : "attention",
            .name = name,
            .isa = isa,
            .supports = supports<kGrad>,
            .scratch = scratch<kGrad>,
            .run = run<kGrad>};
  }
};
using Tiled = Kernels<runTiled, kTiledUnit>;
using Mma = Kernels<runMma, kMmaUnit>;

const RegisterVariant tiled{Tiled::variant<false>("products", Isa::sm75)};
const RegisterVariant tiledGrad{Tiled::variant<true>("products", Isa::sm75)};
const RegisterVariant mma{Mma::variant<false>("products-mma", Isa::sm80)};
const RegisterVariant mmaGrad{Mma::variant<true>("products-mma", Isa::sm80)};

}  // namespace
}  // namespace products
}  // namespace figment::cuda
