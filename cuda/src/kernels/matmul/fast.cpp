// matmul on the kernels of ../gemm.
#include "../gemm/variants.h"
#include "work.h"

namespace figment::cuda {
namespace {

struct Matmuls : DirectCalls {
  using Params = MatmulParams;

  static bool fits(const OpCall& call) {
    const auto& p = call.as<MatmulParams>();
    return p.activation != kGeglu && fitsGrid(workOf(p, 1));
  }
  static Work work(const OpCall& call) { return workOf(call.as<MatmulParams>(), kTiledUnit); }
  static size_t scratch(const OpCall& call, int) {
    return call.out[0].empty() ? 0 : scratchOf(workOf(call.as<MatmulParams>(), 1).product);
  }
  template <RunWork runWork, int unit>
  static void run(const OpCall& call, Context& context) {
    if (call.out[0].empty()) return;
    const auto& p = call.as<MatmulParams>();
    const auto epilogue = Epilogue<float>::of<MatmulParams>(call);
    runWork(workOf(p, unit), {call.in[0], call.in[1], epilogue}, launcherOf(context));
  }
};

const DirectVariants<Matmuls> matmul{"matmul"};

}  // namespace
}  // namespace figment::cuda
