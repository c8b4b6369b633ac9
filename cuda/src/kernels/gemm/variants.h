// The variants of an operation that stand on the kernels of this folder. `Calls` is what a family
// says of the operation's calls: their Params, what kernels are called and preferred there, which
// calls fit(), their scratch(), and how run<a kernel, its unit>() does them.
#pragma once

#include "factors.h"

namespace figment::cuda {

struct VariantNames {
  const char *mma, *split, *tf32, *tiled;
};
/// Of kernels on tensor cores that take factors as they are, of those that take less of them, and
/// of multiply-adds.
struct Preferences {
  int exact, rounded, tiled;
};
constexpr int kAsyncPreference = 12;  ///< above `tiled` where operands are walked as they lie

template <class Calls, RunWork runWork, int unit>
constexpr Variant productVariant(const char* op, const char* name, Isa isa,
                                 int (*supports)(const OpCall&)) {
  return {.op = op,
          .name = name,
          .isa = isa,
          .supports = supports,
          .scratch = Calls::scratch,
          .run = Calls::template run<runWork, unit>};
}

template <class Calls>
struct ProductVariants {
  RegisterVariant mma, split, tf32, tiled;

  explicit ProductVariants(const char* op)
      : mma(productVariant<Calls, runMma, kMmaUnit>(
            op, Calls::kNames.mma, Isa::sm80,
            supports<factorsOnTensorCores, Calls::kPreferences.exact>)),
        split(productVariant<Calls, runSplit, kMmaUnit>(
            op, Calls::kNames.split, Isa::sm80,
            supports<roundedTo<kFast>, Calls::kPreferences.rounded>)),
        tf32(productVariant<Calls, runTf32, kMmaUnit>(
            op, Calls::kNames.tf32, Isa::sm80,
            supports<roundedTo<kTf32>, Calls::kPreferences.rounded>)),
        tiled(productVariant<Calls, runTiled, kTiledUnit>(
            op, Calls::kNames.tiled, Isa::sm75, supports<sumsInF32, Calls::kPreferences.tiled>)) {}

 private:
  template <bool (*takes)(const OpCall&), int preference>
  static int supports(const OpCall& call) {
    return takes(call) && Calls::fits(call) ? preference : -1;
  }
  template <Precision precision>
  static bool roundedTo(const OpCall& call) {
    return roundedAt<typename Calls::Params>(precision, call);
  }
};

/// What Calls have whose operands are walked as they lie, besides work(call).
struct DirectCalls {
  static constexpr VariantNames kNames = {"mma", "mma-split", "mma-tf32", "tiled"};
  static constexpr Preferences kPreferences = {20, 20, 10};
};
template <class Calls>
struct DirectVariants {
  ProductVariants<Calls> all;
  RegisterVariant tiledAsync;

  explicit DirectVariants(const char* op)
      : all(op),
        tiledAsync(productVariant<Calls, runTiledAsync, kTiledUnit>(
            op, "tiled-async", Isa::sm80, [](const OpCall& call) {
              return sumsInF32(call) && Calls::fits(call) &&
                             cuda::tiledAsync(Calls::work(call), call)
                         ? kAsyncPreference
                         : -1;
            })) {}
};

}  // namespace figment::cuda
