// "products": scores = q·kᵀ by the kernels of matrix products, softmax row by row, out = weights·v;
// and its derivative, dp = dout·vᵀ, dv = weightsᵀ·dout, dq = ds·k, dk = dsᵀ·q. "products" sums in
// f32, whatever the operands' formats; "products-mma" has all factors in one 16-bit format, scores
// and their derivatives too where they are factors.
#include "../gemm/factors.h"
#include "products_variant.h"

namespace figment::cuda::products {
namespace {

constexpr int64_t kScores = int64_t(1) << 25;  // in scratch at once
constexpr int64_t kTile = 128;                 // queries are cut at multiples of it
constexpr int64_t kVector = 8;                 // elements, of which rows of scores are multiples

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

namespace {

/// As work of ../gemm, with vectors of `unit` elements.
Work workOf(const Multiply& x, int unit) {
  const auto& [groups, m, n, k, a, transA, b, transB, out] = x;
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

template <RunWork runWork, int unit>
void runAs(const Multiply& x, Launcher& launcher) {
  runWork(workOf(x, unit), {x.a.operand, x.b.operand, Epilogue<float>(x.out.operand)}, launcher);
}

struct TiledProducts {
  static constexpr bool kHalf = false;
  static constexpr int kForward = 15, kBackward = 15, kForwardFrom = 128, kBackwardFrom = 64;
  static constexpr int kOfLittle = 5;
  static bool takes(const AttentionProblem&) { return true; }
  static bool fits(const Multiply& x) { return fitsGrid(workOf(x, kTiledUnit)); }
  static size_t partialBytes(const Multiply& x) { return scratchOf(workOf(x, kTiledUnit).product); }
  static void run(const Multiply& x, Launcher& launcher) {
    runAs<runTiled, kTiledUnit>(x, launcher);
  }
};

}  // namespace

bool MmaProducts::fits(const Multiply& x) { return fitsGrid(workOf(x, kMmaUnit)); }
size_t MmaProducts::partialBytes(const Multiply& x) {
  return scratchOf(workOf(x, kMmaUnit).product);
}
void MmaProducts::run(const Multiply& x, Launcher& launcher) {
  runAs<runMma, kMmaUnit>(x, launcher);
}

namespace {

const RegisterVariant tiled{Kernels<TiledProducts>::variant<false>("products", Isa::sm75)};
const RegisterVariant tiledGrad{Kernels<TiledProducts>::variant<true>("products", Isa::sm75)};
const RegisterVariant mma{Kernels<MmaProducts>::variant<false>("products-mma", Isa::sm80)};
const RegisterVariant mmaGrad{Kernels<MmaProducts>::variant<true>("products-mma", Isa::sm80)};

}  // namespace
}  // namespace figment::cuda::products
