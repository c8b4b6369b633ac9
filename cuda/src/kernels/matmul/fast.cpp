// matmul on the kernels of ../gemm.
#include "../gemm/factors.h"
#include "work.h"

namespace figment::cuda {
namespace {

template <RunWork runWork, int unit>
void run(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const auto& p = call.as<MatmulParams>();
  const Epilogue<float> epilogue(call.out[0], p.bias ? &call.in[2] : nullptr, p.activation);
  runWork(workOf(p, unit), {call.in[0], call.in[1], epilogue, call.out[0]}, launcherOf(context));
}

size_t scratch(const OpCall& call, int) {
  return call.out[0].empty() ? 0 : scratchOf(workOf(call.as<MatmulParams>(), 1).product);
}

bool fits(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  return p.activation != kGeglu && fitsGrid(workOf(p, 1));
}

int mmaSupports(const OpCall& call) { return factorsOnTensorCores(call) && fits(call) ? 20 : -1; }

template <Precision precision>
int roundingSupports(const OpCall& call) {
  return roundedAt<MatmulParams>(precision, call) && fits(call) ? 20 : -1;
}

int tiledSupports(const OpCall& call) {
  return call.out[0].format != Format::f64 && fits(call) ? 10 : -1;
}

int tiledAsyncSupports(const OpCall& call) {
  return tiledSupports(call) >= 0 &&
                 cuda::tiledAsync(workOf(call.as<MatmulParams>(), kTiledUnit), call)
             ? 12
             : -1;
}

const RegisterVariant mma{{.op = "matmul",
                           .name = "mma",
                           .isa = Isa::sm80,
                           .supports = mmaSupports,
                           .scratch = scratch,
                           .run = run<runMma, kMmaUnit>}};

const RegisterVariant split{{.op = "matmul",
                             .name = "mma-split",
                             .isa = Isa::sm80,
                             .supports = roundingSupports<kFast>,
                             .scratch = scratch,
                             .run = run<runSplit, kMmaUnit>}};

const RegisterVariant tf32{{.op = "matmul",
                            .name = "mma-tf32",
                            .isa = Isa::sm80,
                            .supports = roundingSupports<kTf32>,
                            .scratch = scratch,
                            .run = run<runTf32, kMmaUnit>}};

const RegisterVariant tiled{{.op = "matmul",
                             .name = "tiled",
                             .isa = Isa::sm75,
                             .supports = tiledSupports,
                             .scratch = scratch,
                             .run = run<runTiled, kTiledUnit>}};

const RegisterVariant tiledAsync{{.op = "matmul",
                                  .name = "tiled-async",
                                  .isa = Isa::sm80,
                                  .supports = tiledAsyncSupports,
                                  .scratch = scratch,
                                  .run = run<runTiledAsync, kTiledUnit>}};

}  // namespace
}  // namespace figment::cuda
