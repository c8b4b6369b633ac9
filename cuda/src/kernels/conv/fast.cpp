// The convolutions on the kernels of ../gemm.
#include "../gemm/factors.h"
#include "work.h"

namespace figment::cuda {
namespace {

/// Calls f for each work that a call falls into.
template <class P, class F>
void eachWork(const P& p, int unit, F&& f) {
  if constexpr (std::is_same_v<P, Conv2dInputGradParams>)
    for (int64_t first = 0; first < phasesOf(p); first += kMaxPhases) f(workOf(p, unit, first));
  else
    f(workOf(p, unit));
}

template <class P, RunWork runWork, int unit>
void run(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const auto& p = call.as<P>();
  const Epilogue<float> epilogue = epilogueOf(call, p);
  // The weight gradient is dyᵀ · x, of which the image x is the first operand.
  constexpr bool kSwapped = std::is_same_v<P, Conv2dWeightGradParams>;
  const Operand &a = call.in[kSwapped ? 1 : 0], &b = call.in[kSwapped ? 0 : 1];
  eachWork(p, unit, [&](const Work& work) {
    runWork(work, {a, b, epilogue, call.out[0]}, launcherOf(context));
  });
}

template <class P>
size_t scratch(const OpCall& call, int) {
  size_t bytes = 0;
  if (!call.out[0].empty())
    eachWork(call.as<P>(), 1,
             [&](const Work& work) { bytes = std::max(bytes, scratchOf(work.product)); });
  return bytes;
}

/// Tiles pay where groups have channels to fill them.
template <class P>
bool fits(const OpCall& call) {
  const auto& p = call.as<P>();
  if (call.out[0].empty() || (p.groups > 1 && std::min(p.c, p.o) / p.groups < 8)) return false;
  if constexpr (std::is_same_v<P, Conv2dInputGradParams>)
    return fitsGrid(workOf(p, 1, 0));
  else
    return fitsGrid(workOf(p, 1));
}

template <class P>
constexpr Variant onTensorCores(const char* op) {
  return {
      .op = op,
      .name = "mma",
      .isa = Isa::sm80,
      .supports =
          [](const OpCall& call) { return factorsOnTensorCores(call) && fits<P>(call) ? 20 : -1; },
      .scratch = scratch<P>,
      .run = run<P, runMma, kMmaUnit>};
}

template <class P, Precision precision, RunWork runWork>
constexpr Variant byRounding(const char* op, const char* name) {
  return {.op = op,
          .name = name,
          .isa = Isa::sm80,
          .supports =
              [](const OpCall& call) {
                return roundedAt<P>(precision, call) && fits<P>(call) ? 20 : -1;
              },
          .scratch = scratch<P>,
          .run = run<P, runWork, kMmaUnit>};
}
template <class P>
constexpr Variant bySplitting(const char* op) {
  return byRounding<P, kFast, runSplit>(op, "mma-split");
}
template <class P>
constexpr Variant inTf32(const char* op) {
  return byRounding<P, kTf32, runTf32>(op, "mma-tf32");
}

template <class P>
constexpr Variant byMultiplyAdds(const char* op) {
  return {.op = op,
          .name = "tiled",
          .isa = Isa::sm75,
          .supports =
              [](const OpCall& call) {
                return call.out[0].format != Format::f64 && fits<P>(call) ? 10 : -1;
              },
          .scratch = scratch<P>,
          .run = run<P, runTiled, kTiledUnit>};
}

template <class P>
Work firstWork(const OpCall& call) {
  if constexpr (std::is_same_v<P, Conv2dInputGradParams>)
    return workOf(call.as<P>(), kTiledUnit, 0);
  else
    return workOf(call.as<P>(), kTiledUnit);
}
template <class P>
constexpr Variant byCopies(const char* op) {
  return {.op = op,
          .name = "tiled-async",
          .isa = Isa::sm80,
          .supports =
              [](const OpCall& call) {
                return call.out[0].format != Format::f64 && fits<P>(call) &&
                               cuda::tiledAsync(firstWork<P>(call), call)
                           ? 12
                           : -1;
              },
          .scratch = scratch<P>,
          .run = run<P, runTiledAsync, kTiledUnit>};
}

const RegisterVariant mma{onTensorCores<Conv2dParams>("conv2d")};
const RegisterVariant inputGradMma{onTensorCores<Conv2dInputGradParams>("conv2dInputGrad")};
const RegisterVariant weightGradMma{onTensorCores<Conv2dWeightGradParams>("conv2dWeightGrad")};
const RegisterVariant split{bySplitting<Conv2dParams>("conv2d")};
const RegisterVariant inputGradSplit{bySplitting<Conv2dInputGradParams>("conv2dInputGrad")};
const RegisterVariant weightGradSplit{bySplitting<Conv2dWeightGradParams>("conv2dWeightGrad")};
const RegisterVariant tf32{inTf32<Conv2dParams>("conv2d")};
const RegisterVariant inputGradTf32{inTf32<Conv2dInputGradParams>("conv2dInputGrad")};
const RegisterVariant weightGradTf32{inTf32<Conv2dWeightGradParams>("conv2dWeightGrad")};
const RegisterVariant tiled{byMultiplyAdds<Conv2dParams>("conv2d")};
const RegisterVariant inputGradTiled{byMultiplyAdds<Conv2dInputGradParams>("conv2dInputGrad")};
const RegisterVariant weightGradTiled{byMultiplyAdds<Conv2dWeightGradParams>("conv2dWeightGrad")};
const RegisterVariant tiledAsync{byCopies<Conv2dParams>("conv2d")};
const RegisterVariant inputGradTiledAsync{byCopies<Conv2dInputGradParams>("conv2dInputGrad")};
const RegisterVariant weightGradTiledAsync{byCopies<Conv2dWeightGradParams>("conv2dWeightGrad")};

}  // namespace
}  // namespace figment::cuda
