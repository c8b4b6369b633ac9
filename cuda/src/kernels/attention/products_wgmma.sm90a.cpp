// "products-wgmma": attention by products on Hopper's tensor cores, of heads whose rows the copy
// engine can name; see products.cu.
#include "../gemm/wgmma_plan.h"
#include "products_variant.h"

namespace figment::cuda::products {
namespace {

using wgmma::Extent;
using wgmma::kTileDepth;
using wgmma::kTileRows;

struct WgmmaProducts {
  static constexpr bool kHalf = true;
  // Forward, flash-mma's estimate is the same for heads that it takes.
  static constexpr int kForward = 19, kBackward = 25, kForwardFrom = 128, kBackwardFrom = 160;
  static constexpr int kOfLittle = 4;

  static bool takes(const AttentionProblem& p) { return p.d % 8 == 0 && (p.h == 1 || p.b > p.h); }
  static Extent extentOf(const Multiply& x) {
    return {
        .rows = x.m, .columns = x.n, .batch = x.groups, .steps = ceilDiv(x.k, int64_t(kTileDepth))};
  }
  static bool fits(const Multiply& x) {
    return x.groups <= 65536 && wgmma::countable(extentOf(x)) && MmaProducts::fits(x);
  }
  static size_t partialBytes(const Multiply& x) {
    const Extent extent = extentOf(x);
    return std::max(wgmma::partialBytes(wgmma::planFor(extent), extent, x.n),
                    MmaProducts::partialBytes(x));
  }

  /// Rows of `inner` elements, `outer` of each group, in boxes of `box` rows.
  static CUtensorMap mapOf(const Matrix& x, const Multiply& of, int64_t inner, int64_t outer,
                           int box) {
    return boxMap(x.operand.data, x.operand.format == Format::f16, {inner, outer, of.groups},
                  {x.row, x.group}, box, 1);
  }
  static void run(const Multiply& x, Launcher& launcher) {
    // Parts of other values may begin anywhere.
    if (!mappable(x.a.operand.data) || !mappable(x.b.operand.data))
      return MmaProducts::run(x, launcher);
    const Extent extent = extentOf(x);
    const wgmma::Plan plan = wgmma::planFor(extent);
    wgmma::Maps maps;
    maps.a[0] = x.transA ? mapOf(x.a, x, x.m, x.k, kTileDepth) : mapOf(x.a, x, x.k, x.m, kTileRows);
    maps.b =
        x.transB ? mapOf(x.b, x, x.k, x.n, plan.tileColumns) : mapOf(x.b, x, x.n, x.k, kTileDepth);
    wgmma::Work work;
    wgmma::arrange(work, plan, extent);
    work.chunks = work.steps;
    work.batchA = work.batchB = x.groups > 1;
    work.results = wgmma::resultsAt(x.out.operand, x.n, x.out.row);
    work.results.batchStride = x.out.group;
    wgmma::run(launcher, x.a.operand.format == Format::f16, x.transA, !x.transB, plan, maps, work,
               launcher.scratch());
  }
};

const RegisterVariant forward{Kernels<WgmmaProducts>::variant<false>("products-wgmma", Isa::sm90a)};
const RegisterVariant backward{Kernels<WgmmaProducts>::variant<true>("products-wgmma", Isa::sm90a)};

}  // namespace
}  // namespace figment::cuda::products
