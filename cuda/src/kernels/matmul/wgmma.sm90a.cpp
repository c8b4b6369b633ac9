// matmul of 16-bit factors on Hopper's tensor cores. Factors must have rows of a multiple of eight
// elements, as the copy engine takes them.
#include "../gemm/wgmma_plan.h"
#include "kernels/gemm/activation.h"
#include "kernels/params/matmul.generated.h"

namespace figment::cuda::wgmma {
namespace {

/// Row after row of all batches at once, where the second factor is the same for all.
bool joined(const MatmulParams& p, const OpCall& call) {
  return p.batch > 1 && !p.transA && call.in[0].dims[0] == p.batch && call.in[1].dims[0] == 1;
}

Extent extentOf(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  const bool join = joined(p, call);
  return {.rows = join ? p.batch * p.m : p.m,
          .columns = p.n,
          .batch = join ? 1 : p.batch,
          .steps = ceilDiv(p.k, int64_t(kTileDepth))};
}

int supports(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  if (!factorFormats(call) || p.activation == kGeglu || p.batch < 1 || p.m < 1 || p.n < 1 ||
      p.k < 1)
    return -1;
  if (p.transA && p.transB) return -1;  // see wgmma::run
  if (p.addend && p.n % 8 != 0) return -1;
  if ((p.transA ? p.m : p.k) % 8 != 0 || (p.transB ? p.k : p.n) % 8 != 0) return -1;
  if (p.batch > 65536 || double(p.batch) * double(p.m) > 2e9 || !countable(extentOf(call)))
    return -1;
  return preferenceFor(p.k, double(p.batch) * double(p.m) * double(p.n));
}

size_t scratch(const OpCall& call, int) {
  const Extent extent = extentOf(call);
  return partialBytes(planFor(extent), extent, extent.columns);
}

/// A factor of `outer` rows of `inner` elements, in boxes of `box` rows.
CUtensorMap mapOf(const Operand& factor, int64_t inner, int64_t outer, int64_t matrices, int box) {
  return boxMap(factor.data, factor.format == Format::f16, {inner, outer, matrices},
                {inner, inner * outer}, box, 1);
}

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<MatmulParams>();
  if (!mappable(call.in[0].data) || !mappable(call.in[1].data) || !addsAligned<MatmulParams>(call))
    return runPlainly("matmul", call, context);
  const Extent extent = extentOf(call);
  const Plan plan = planFor(extent);
  Launcher& launcher = launcherOf(context);

  Maps maps;
  const bool join = joined(p, call);
  const int64_t rows = extent.rows, matricesA = join ? 1 : call.in[0].dims[0];
  maps.a[0] = p.transA ? mapOf(call.in[0], p.m, p.k, matricesA, kTileDepth)
                       : mapOf(call.in[0], p.k, rows, matricesA, kTileRows);
  maps.b = p.transB ? mapOf(call.in[1], p.k, p.n, call.in[1].dims[0], plan.tileColumns)
                    : mapOf(call.in[1], p.n, p.k, call.in[1].dims[0], kTileDepth);
  Work work;
  arrange(work, plan, extent);
  work.chunks = work.steps;
  work.batchA = matricesA > 1;
  work.batchB = call.in[1].dims[0] > 1;
  work.results = resultsAt(call.out[0], p.n, p.n);
  work.results.batchStride = p.m * p.n;
  finish<MatmulParams>(work, call);
  wgmma::run(launcher, call.in[0].format == Format::f16, p.transA != 0, p.transB == 0, plan, maps,
             work, launcher.scratch());
}

const RegisterVariant registrar{variant("matmul", supports, scratch, run)};

}  // namespace
}  // namespace figment::cuda::wgmma
