// flash-wgmma: which calls the kernels of flash_wgmma.h and flash_grad_wgmma.h run.
#include "halves.h"

namespace figment::cuda {
namespace {

// Below so many keys its start-up is not repaid: 256 keys take 47 µs where mma takes 33 (H200). The
// derivative's own limit has not been measured.
constexpr int64_t kFew = 512;

/// Positions of all batch entries are one axis of the copy engine, which counts in 31 bits.
template <class Params>
bool countable(const Params& p) {
  constexpr double kMostPositions = 2e9;
  return p.b > 0 && p.h > 0 && p.sq > 0 && p.sk > 0 && double(p.b) * p.sq < kMostPositions &&
         double(p.b) * p.sk < kMostPositions;
}
int supportsForward(const OpCall& call) {
  const auto& p = call.as<AttentionParams>();
  if (!fitsHalvesForward(call, 160) || !countable(p)) return -1;
  return p.sk < kFew ? kOnRequest : 40;
}
int supportsBackward(const OpCall& call) {
  const auto& p = call.as<AttentionGradParams>();
  // Of heads of more than 128 elements, registers do not hold the sums of 64 keys and their scores.
  if (!fitsHalvesBackward(call, 128) || !countable(p)) return -1;
  return p.sk < kFew || p.sq < kFew ? kOnRequest : 40;
}

const RegisterVariant forward{forwardOfHalves<runFlashWgmma<Bf16>, runFlashWgmma<F16>>(
    "flash-wgmma", Isa::sm90a, supportsForward)};
const RegisterVariant backward{backwardOfHalves<runFlashGradWgmma<Bf16>, runFlashGradWgmma<F16>>(
    "flash-wgmma", Isa::sm90a, supportsBackward)};

}  // namespace
}  // namespace figment::cuda
