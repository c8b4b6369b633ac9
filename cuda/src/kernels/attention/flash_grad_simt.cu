// The derivative of flash attention in f32: the scheme of flash_grad_mma.h with the tiles of
// flash_simt.h. Weights and gradients of scores go through shared memory, one after the other.
#include "../../device/instructions.h"
#include "flash_simt.h"
#include "row_statistics.h"

namespace figment::cuda {
namespace {

using namespace flash_simt;

enum class Side { queries, keys };

struct Operands {
  AnyFloats<float> x1, x2, y1, y2;
  AnyResults<float> first, second;  // dq, or dk and dv
  Global<const float> statistics;
  bool vectors;

  template <Side kSide>
  FIGMENT_DEVICE PlainGrad<float, AnyFloats<float>, AnyResults<float>> plain() const {
    if constexpr (kSide == Side::queries) return {x1, y1, y2, x2, first, {}, {}};
    return {y1, x1, x2, y2, {}, first, second};
  }
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

/// Blocks on a multiprocessor: as many as shared memory holds.
template <int kGroups, Side kSide>
FIGMENT_KERNEL_OCCUPIED(kThreads, kGroups == 1 ? 3 : 2)
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
  const auto statistics = x.statistics.from(task * sq * kStatistics);
  const auto statistic = [&](int row, int which) {
    return row < sq ? statistics[int64_t(row) * kStatistics + which] : 0.0f;
  };

  float first[kBands][kGroups][4] = {};
  float second[kOfKeys ? kBands : 1][kOfKeys ? kGroups : 1][4] = {};
  if (begin < limit) {
    loadRows<Size::kOwn, kGroups>(own1, x.x1, ownAt, start, end, p.rowStride(), d, x.vectors);
    loadRows<Size::kOwn, kGroups>(own2, x.x2, ownAt, start, end, p.rowStride(), d, x.vectors);
  }
  const float factor = float(p.scale * kLog2E);
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
      FIGMENT_UNROLL
      for (int c = 0; c < kColumns; c++) {
        const int other = row + c * kAcross + across;
        const int query = kOfKeys ? other : own, key = kOfKeys ? own : other;
        const bool seen = query < sq && key < p.visible(keys, query);
        const float share = exp2Fast(__fmaf_rn(weight[r][c], factor, -statistic(query, 0)));
        weight[r][c] = seen ? share : 0.0f;
        grad[r][c] = seen ? share * (grad[r][c] - statistic(query, 1)) : 0.0f;
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

  float scale[kBands], one[kBands];
  FIGMENT_UNROLL
  for (int r = 0; r < kBands; r++) {
    scale[r] = float(p.scale);
    one[r] = 1.0f;
  }
  const int rows = kOfKeys ? int(p.sk) : sq;
  uint32_t marks = storeSums(x.first, first, scale, ownAt, start, rows, p.rowStride(), d);
  if constexpr (kOfKeys)
    marks |= storeSums(x.second, second, one, ownAt, start, rows, p.rowStride(), d);
  if (!p.hides()) return;
  eachMarkedRow(marks, kBands, start, [&](int row) {
    gradRow<kOfKeys>(p, x.template plain<kSide>(), x.statistics, task, row);
  });
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
     .scratch = [](const OpCall& call, int) { return statisticsBytes(call); },
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
