// The convolutions on the kernels of ../gemm.
#include "../gemm/variants.h"
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

/// The first of them.
template <class P>
Work firstWork(const P& p, int unit) {
  if constexpr (std::is_same_v<P, Conv2dInputGradParams>)
    return workOf(p, unit, 0);
  else
    return workOf(p, unit);
}

template <class P>
struct Convolutions : DirectCalls {
  using Params = P;

  /// Tiles pay where groups have channels to fill them.
  static bool fits(const OpCall& call) {
    const auto& p = call.as<P>();
    return !call.out[0].empty() && (p.groups == 1 || std::min(p.c, p.o) / p.groups >= 8) &&
           fitsGrid(firstWork(p, 1));
  }
  static Work work(const OpCall& call) { return firstWork(call.as<P>(), kTiledUnit); }
  static size_t scratch(const OpCall& call, int) {
    size_t bytes = 0;
    if (!call.out[0].empty())
      eachWork(call.as<P>(), 1,
               [&](const Work& work) { bytes = std::max(bytes, scratchOf(work.product)); });
    return bytes;
  }
  template <RunWork runWork, int unit>
  static void run(const OpCall& call, Context& context) {
    if (call.out[0].empty()) return;
    const auto& p = call.as<P>();
    const Epilogue<float> epilogue = epilogueOf(call, p);
    // The weight gradient is dyᵀ · x, of which the image x is the first operand.
    constexpr bool kSwapped = std::is_same_v<P, Conv2dWeightGradParams>;
    const Operand &a = call.in[kSwapped ? 1 : 0], &b = call.in[kSwapped ? 0 : 1];
    eachWork(p, unit, [&](const Work& work) {
      runWork(work, {a, b, epilogue}, launcherOf(context));
    });
  }
};

const DirectVariants<Convolutions<Conv2dParams>> forward{"conv2d"};
const DirectVariants<Convolutions<Conv2dInputGradParams>> inputGrad{"conv2dInputGrad"};
const DirectVariants<Convolutions<Conv2dWeightGradParams>> weightGrad{"conv2dWeightGrad"};

}  // namespace
}  // namespace figment::cuda
