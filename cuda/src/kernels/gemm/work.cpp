#include "work.h"

#include <algorithm>

namespace figment::cuda {
namespace {

/// Into how many parts of the depth, which has `units`: the fewest turns of all blocks together, by
/// an estimate in units, of which a block's begin and end take some, and each part's sums a little.
int64_t splitsOf(int64_t tiles, bool large, int64_t units, int64_t most) {
  constexpr int64_t kTogether = 264;  ///< blocks on a large GPU, two on each multiprocessor
  constexpr double kBlock = 2, kSums = 2, kPart = 0.08, kLarge = 0.01, kSmall = 0.0025;
  const double part = kPart + double(tiles) * (large ? kLarge : kSmall);
  int64_t best = 1;
  double bestTime = 0;
  for (int64_t splits = 1; splits <= most; splits++) {
    if (splits > 1 && tiles * splits > 4 * kTogether) break;
    double time =
        double(ceilDiv(tiles * splits, kTogether)) * (double(ceilDiv(units, splits)) + kBlock);
    if (splits > 1) time += kSums + double(splits) * part;
    if (splits > 1 && time >= bestTime) continue;
    best = splits;
    bestTime = time;
  }
  return best;
}

}  // namespace

Plan planOf(const Product& p) {
  // Large tiles are for work that fills a large GPU with them; the least depth that is worth a
  // block of its own.
  constexpr int64_t kBusy = 132, kLeastDepth = 256, kMostSplits = 128;
  int32_t depth = 0;
  for (int i = 0; i < p.phases; i++) depth = std::max(depth, p.phase[i].depth);
  Plan plan;
  const int64_t couldSplit = std::clamp<int64_t>(depth / kLeastDepth, 1, kMostSplits);
  plan.large = p.mostRows > 64 && p.columns > 64 && tilesOf(p, 128) * couldSplit >= kBusy;
  const int64_t tiles = std::max<int64_t>(tilesOf(p, plan.large ? 128 : 64), 1);
  const int64_t units = std::max<int64_t>(ceilDiv(depth, kDepthUnit), 1);
  const int64_t each = ceilDiv(units, splitsOf(tiles, plan.large, units, couldSplit));
  plan.splits = int32_t(ceilDiv(units, each));
  plan.splitDepth = int32_t(each * kDepthUnit);
  return plan;
}

}  // namespace figment::cuda
