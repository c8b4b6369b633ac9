// The derivative of flash attention in f32: the scheme of flash_grad_mma.h with the tiles of
// flash_simt.h. Weights and gradients of scores go through shared memory, one after the other.
#include "../../device/instructions.h"
#include "flash_simt.h"
#include "row_statistics.h"

namespace figment::cuda {
namespace {

using namespace flash_simt;

enum class Side { queries, keys };

/// Below, log-sum-exps err less than sums in f32.
FIGMENT_DEVICE Coarse coarse() { return {.most = 64, .off = 0x1p-17f}; }

struct Operands {
  AnyFloats<float> x1, x2, y1, y2;
  AnyResults<float> first, second;  // dq, or dk and dv
  QueryStatistics statistics;
  bool vectors;
};

template <int kGroups>
struct Tiles {
  static constexpr int kBands = kGroups <= 2 ? 8 : 4;
  static constexpr int kOwn = kBands * kDown;
  static constexpr int kColumns = 2;  ///< others of one thread
  static constexpr int kOthers = kColumns * kAcross;
  static constexpr int kOwnTile = kOwn * kTileStride<kGroups>;
  static constexpr int kOtherTile = kOthers * kTileStride<kGroups>;
  static constexpr int kWeightTile = kOwn * kWeightStride<kColumns>;
  static constexpr size_t kBytes = (2 * kOwnTile + 2 * kOtherTile + kWeightTile) * sizeof(float);
};

template <int kColumns, int kBands>
FIGMENT_DEVICE void storeWeights(const Shared<float>& weights,
                                 const float (&values)[kBands][kColumns]) {
  const int across = int(threadIdx.x) % kAcross, down = int(threadIdx.x) / kAcross;
  FIGMENT_UNROLL
  for (int r = 0; r < kBands; r++) {
    FIGMENT_UNROLL
    for (int c = 0; c < kColumns; c++)
      weights[(r * kDown + down) * kWeightStride<kColumns> + c * kAcross + across] = values[r][c];
  }
}

/// Blocks on a multiprocessor: what shared memory holds. Of small heads the compiler aims well.
template <int kGroups, Side kSide>
FIGMENT_KERNEL_OCCUPIED(kThreads, kGroups == 1 ? 0 : 2)
backwardKernel(AttentionProblem p, Operands x, int tiles) {
  using Size = Tiles<kGroups>;
  constexpr bool kOfKeys = kSide == Side::keys;
  constexpr int kBands = Size::kBands, kColumns = Size::kColumns, kOthers = Size::kOthers;
  FIGMENT_DYNAMIC_SHARED(shared);
  int at = 0;
  const auto part = [&](int count) {
    const auto view = shared.template view<float>(at, count);
    at += count * int(sizeof(float));
    return view;
  };
  const auto own1 = part(Size::kOwnTile), own2 = part(Size::kOwnTile);
  const auto other1 = part(Size::kOtherTile), other2 = part(Size::kOtherTile);
  const auto weights = part(Size::kWeightTile);

  const int64_t task = blockIdx.x / unsigned(tiles);
  const int turn = int(blockIdx.x % unsigned(tiles));
  // The most work first, with `causal`: that of last queries and first keys.
  const int start = (kOfKeys ? turn : tiles - 1 - turn) * Size::kOwn;
  const int d = int(p.d), sq = int(p.sq), keys = int(p.keysOf(task / p.h));
  const int end = kOfKeys ? keys : sq;  // of own rows that are read
  const int begin = kOfKeys ? int(p.firstQuery(keys, start)) : 0;
  const int limit = kOfKeys ? sq : int(p.visible(keys, min(start + Size::kOwn, sq) - 1));
  const int64_t ownAt = p.headStart(task, kOfKeys ? p.sk : p.sq);
  const int64_t otherAt = p.headStart(task, kOfKeys ? p.sq : p.sk);
  const int across = int(threadIdx.x) % kAcross, down = int(threadIdx.x) / kAcross;
  const auto statistics = x.statistics.from(task * sq);

  float first[kBands][kGroups][4] = {};
  float second[kOfKeys ? kBands : 1][kOfKeys ? kGroups : 1][4] = {};
  if (begin < limit) {
    loadRows<Size::kOwn, kGroups>(own1, x.x1, ownAt, start, end, p.rowStride(), d, x.vectors);
    loadRows<Size::kOwn, kGroups>(own2, x.x2, ownAt, start, end, p.rowStride(), d, x.vectors);
  }
  const float factor = float(p.scale * kLog2E), sign = factor < 0 ? -1.0f : 1.0f;
  // Own queries, bit by bit, whose weights are made of the products themselves, by a softmax that
  // runs along; and whether there are any in the block.
  uint32_t followed = 0;
  bool following = false;
  const auto follows = [&](int r) { return (followed >> r & 1) != 0; };
  float highest[kBands] = {},
        total[kBands] = {};  // of sign · products, and of this thread's weights
  /// Follows queries; answers whether the block has new ones.
  const auto follow = [&](auto&& wants) {
    const uint32_t before = followed;
    for (int r = 0; r < kBands; r++) {
      const int query = start + r * kDown + down;
      followed |= uint32_t(query < sq && wants(r, statistics.shift(query))) << r;
    }
    return __syncthreads_or(followed != before) != 0;
  };
  if constexpr (!kOfKeys) following = follow([](int, float x) { return coarse().shift(x); });
  while (true) {
    FIGMENT_UNROLL
    for (int r = 0; r < kBands; r++) {
      highest[r] = -INFINITY;
      total[r] = 0;
    }
    for (int row = begin; row < limit; row += kOthers) {
      loadRows<kOthers, kGroups>(other1, x.y1, otherAt, row, limit, p.rowStride(), d, x.vectors);
      loadRows<kOthers, kGroups>(other2, x.y2, otherAt, row, limit, p.rowStride(), d, x.vectors);
      __syncthreads();
      float weight[kBands][kColumns], grad[kBands][kColumns];
      multiplyRows<kGroups>(weight, own1, other1, d);
      multiplyRows<kGroups>(grad, own2, other2, d);
      FIGMENT_UNROLL
      for (int r = 0; r < kBands; r++) {
        const int own = start + r * kDown + down;
        const auto queryOf = [&](int c) { return kOfKeys ? row + c * kAcross + across : own; };
        const auto seen = [&](int c) {
          const int query = queryOf(c), key = kOfKeys ? own : row + c * kAcross + across;
          return query < sq && key < p.visible(keys, query);
        };
        float base = 0;
        if (!kOfKeys && following) {
          float top = highest[r];
          FIGMENT_UNROLL
          for (int c = 0; c < kColumns; c++)
            if (seen(c)) top = fmaxf(top, sign * weight[r][c]);
          top = rowMax(top);
          base = !follows(r) || top == -INFINITY ? 0.0f : sign * top;
          const float kept = follows(r) ? exp2Fast((sign * highest[r] - base) * factor) : 1.0f;
          highest[r] = top;
          total[r] *= kept;
          FIGMENT_UNROLL
          for (int g = 0; g < kGroups; g++) {
            FIGMENT_UNROLL
            for (int e = 0; e < 4; e++) first[r][g][e] *= kept;
          }
        }
        FIGMENT_UNROLL
        for (int c = 0; c < kColumns; c++) {
          const int query = queryOf(c);
          const bool counts = seen(c);
          const float shift = !counts || (!kOfKeys && follows(r)) ? 0.0f : statistics.shift(query);
          if (kOfKeys && counts) base = statistics.bases[query];
          const float share = exp2Fast(__fmaf_rn(weight[r][c] - base, factor, -shift));
          const float dot = counts ? statistics.dot(query) : 0.0f;
          weight[r][c] = counts ? share : 0.0f;
          grad[r][c] = counts ? share * (grad[r][c] - dot) : 0.0f;
          total[r] += weight[r][c];
        }
      }
      if constexpr (kOfKeys) {
        storeWeights(weights, weight);
        __syncthreads();
        addWeighted<kColumns>(second, weights, other2);
        __syncthreads();
      }
      storeWeights(weights, grad);
      __syncthreads();
      addWeighted<kColumns>(first, weights, other1);
      __syncthreads();
    }
    if constexpr (kOfKeys) {
      break;
    } else {
      FIGMENT_UNROLL
      for (int r = 0; r < kBands; r++) total[r] = rowSum(total[r]);
      if (!follow([&](int r, float shift) { return !follows(r) && coarse().sum(total[r], shift); }))
        break;
      following = true;
      FIGMENT_UNROLL
      for (int r = 0; r < kBands; r++) {
        FIGMENT_UNROLL
        for (int g = 0; g < kGroups; g++) {
          FIGMENT_UNROLL
          for (int e = 0; e < 4; e++) first[r][g][e] = 0;
        }
      }
    }
  }

  float scale[kBands], one[kBands];
  FIGMENT_UNROLL
  for (int r = 0; r < kBands; r++) {
    scale[r] = float(p.scale);
    one[r] = 1.0f;
    const int query = start + r * kDown + down;
    if (kOfKeys || !follows(r) || total[r] == 0) continue;
    scale[r] *= 1.0f / total[r];
    if (across == 0) statistics.set(query, {sign * highest[r], log2f(total[r])});
  }
  const int rows = kOfKeys ? int(p.sk) : sq;
  storeSums(x.first, first, scale, ownAt, start, rows, p.rowStride(), d);
  if constexpr (kOfKeys) storeSums(x.second, second, one, ownAt, start, rows, p.rowStride(), d);
}

template <int kGroups>
void launchBoth(const OpCall& call, Launcher& launcher) {
  using Size = Tiles<kGroups>;
  if (Size::kBytes > launcher.sharedPerBlock()) return runPlainAttentionGrad(call, launcher);
  const auto p = AttentionProblem::of<AttentionGradParams>(call, 6);
  const auto statistics = rowStatistics(call, launcher);
  const bool vectors =
      p.d % 4 == 0 && alignedForVectors(call.in, 3) && alignedForVectors(call.in + 5, 1);
  const auto view = [&](int i) { return AnyFloats<float>::of(call.in[i]); };
  const auto result = [&](int i) { return AnyResults<float>::of(call.out[i]); };
  const int64_t queryTiles = ceilDiv(p.sq, int64_t(Size::kOwn));
  launch<backwardKernel<kGroups, Side::queries>>(
      launcher, {p.heads() * queryTiles}, kThreads, Size::kBytes, p,
      Operands{view(0), view(5), view(1), view(2), result(0), result(0), statistics, vectors},
      int(queryTiles));
  const int64_t keyTiles = ceilDiv(p.sk, int64_t(Size::kOwn));
  launch<backwardKernel<kGroups, Side::keys>>(
      launcher, {p.heads() * keyTiles}, kThreads, Size::kBytes, p,
      Operands{view(1), view(2), view(0), view(5), result(1), result(2), statistics, vectors},
      int(keyTiles));
  mendAttentionGrad(call, launcher);
}

int supports(const OpCall& call) {
  const int d = call.as<AttentionGradParams>().d;
  return call.in[0].format != Format::f64 && d > 0 && d <= kMostSimtDim ? 10 : -1;
}

const RegisterVariant registrar{
    {.op = "attentionGrad",
     .name = "flash",
     .isa = Isa::sm75,
     .supports = supports,
     .scratch = [](const OpCall& call, int) { return mendGradBytes(call); },
     .run = [](const OpCall& call,
               Context& context) { runFlashSimtGrad(call, launcherOf(context)); }}};

}  // namespace

void runFlashSimtGrad(const OpCall& call, Launcher& launcher) {
  const int d = call.as<AttentionGradParams>().d;
  if (d <= 64)
    launchBoth<1>(call, launcher);
  else if (d <= 128)
    launchBoth<2>(call, launcher);
  else if (d <= 192)
    launchBoth<3>(call, launcher);
  else
    launchBoth<4>(call, launcher);
}

}  // namespace figment::cuda
