// Flash attention in f32 (Dao et al., 2022): a tile of 64 queries in shared memory meets the keys
// in blocks, with the softmax running along in base 2. Each thread works on 8 rows; the 16 threads
// of a row are half a warp. Keys and values take turns in one place.
#include "../../device/instructions.h"
#include "flash_simt.h"

namespace figment::cuda {
namespace {

using namespace flash_simt;

struct Operands {
  AnyFloats<float> q, k, v;
  Results<AnyResults<float>> to;
  bool vectors;
};

constexpr int kBands = 8;              // rows of one thread
constexpr int kRows = kBands * kDown;  // of a tile

template <int kGroups>
struct Tiles {
  static constexpr int kColumns = kGroups <= 2 ? 4 : 2;  ///< keys of one thread
  static constexpr int kKeys = kColumns * kAcross;
  static constexpr int kQueryTile = kRows * kTileStride<kGroups>;
  static constexpr int kKeyTile = kKeys * kTileStride<kGroups>;
  static constexpr int kWeightTile = kRows * kWeightStride<kColumns>;
  static constexpr size_t kBytes = (kQueryTile + kKeyTile + kWeightTile) * sizeof(float);
};

/// Blocks on a multiprocessor: what shared memory holds. Of small heads the compiler aims well.
template <int kGroups>
FIGMENT_KERNEL_OCCUPIED(kThreads, kGroups == 1 ? 0 : 2)
forwardKernel(AttentionProblem p, Operands x, int tiles) {
  using Size = Tiles<kGroups>;
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto queries = shared.template view<float>(0, Size::kQueryTile);
  const auto block = shared.template view<float>(Size::kQueryTile * 4, Size::kKeyTile);
  const auto weights =
      shared.template view<float>((Size::kQueryTile + Size::kKeyTile) * 4, Size::kWeightTile);
  const int64_t task = blockIdx.x / unsigned(tiles);
  // Last queries first: with `causal` theirs is the most work.
  const int first = (tiles - 1 - int(blockIdx.x % unsigned(tiles))) * kRows;
  const int d = int(p.d), sq = int(p.sq), keys = int(p.keysOf(task / p.h));
  const int limit = int(p.visible(keys, min(first + kRows, sq) - 1));
  const int unmasked = int(p.visible(keys, first));
  const int64_t queryAt = p.headStart(task, p.sq), keyAt = p.headStart(task, p.sk);
  const int across = int(threadIdx.x) % kAcross, down = int(threadIdx.x) / kAcross;
  const float factor = float(p.scale * kLog2E);

  loadRows<kRows, kGroups>(queries, x.q, queryAt, first, sq, p.rowStride(), d, x.vectors);
  float output[kBands][kGroups][4] = {};
  float highest[kBands], total[kBands];  // in units of log 2; of this thread's keys
  FIGMENT_UNROLL
  for (int r = 0; r < kBands; r++) {
    highest[r] = -INFINITY;
    total[r] = 0;
  }
  for (int key = 0; key < limit; key += Size::kKeys) {
    loadRows<Size::kKeys, kGroups>(block, x.k, keyAt, key, limit, p.rowStride(), d, x.vectors);
    __syncthreads();
    float score[kBands][Size::kColumns];
    multiplyRows<kGroups>(score, queries, block, d);
    const bool masked = key + Size::kKeys > unmasked;
    FIGMENT_UNROLL
    for (int r = 0; r < kBands; r++) {
      const int seen = masked ? int(p.visible(keys, first + r * kDown + down)) - key : Size::kKeys;
      float top = highest[r];
      FIGMENT_UNROLL
      for (int c = 0; c < Size::kColumns; c++) {
        score[r][c] = c * kAcross + across < seen ? score[r][c] * factor : -INFINITY;
        top = fmaxf(top, score[r][c]);
      }
      top = rowMax(top);
      // A row that has seen no finite score keeps weights of 0 instead of NaN.
      const float shift = top == -INFINITY ? 0.0f : top;
      const float kept = exp2Fast(highest[r] - shift);
      highest[r] = top;
      total[r] *= kept;
      FIGMENT_UNROLL
      for (int c = 0; c < Size::kColumns; c++) {
        const float weight = exp2Fast(score[r][c] - shift);
        total[r] += weight;
        weights[(r * kDown + down) * kWeightStride<Size::kColumns> + c * kAcross + across] = weight;
      }
      FIGMENT_UNROLL
      for (int g = 0; g < kGroups; g++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++) output[r][g][e] *= kept;
      }
    }
    __syncthreads();
    loadRows<Size::kKeys, kGroups>(block, x.v, keyAt, key, limit, p.rowStride(), d, x.vectors);
    __syncthreads();
    addWeighted<Size::kColumns>(output, weights, block);
    __syncthreads();
  }

  float share[kBands];
  FIGMENT_UNROLL
  for (int r = 0; r < kBands; r++) {
    const float sum = rowSum(total[r]);
    const bool blind = highest[r] == -INFINITY && sum == 0;
    share[r] = blind ? 0.0f : 1.0f / sum;
    const int row = first + r * kDown + down;
    if (across == 0 && row < sq)
      x.to.lse[task * sq + row] = blind ? -INFINITY : __fmaf_rn(highest[r], float(kLn2), logf(sum));
  }
  storeSums(x.to.out, output, share, queryAt, first, sq, p.rowStride(), d);
}

template <int kGroups>
void launchForward(const OpCall& call, Launcher& launcher) {
  if (Tiles<kGroups>::kBytes > launcher.sharedPerBlock()) return runPlainAttention(call, launcher);
  const auto p = AttentionProblem::of<AttentionParams>(call, 3);
  const bool vectors = p.d % 4 == 0 && alignedForVectors(call.in, 3);
  const auto view = [&](int i) { return AnyFloats<float>::of(call.in[i]); };
  const Operands x = {view(0), view(1), view(2), Results<AnyResults<float>>::of(call), vectors};
  const int64_t tiles = ceilDiv(p.sq, int64_t(kRows));
  launch<forwardKernel<kGroups>>(launcher, {p.heads() * tiles}, kThreads, Tiles<kGroups>::kBytes, p,
                                 x, int(tiles));
  mendAttention(call, launcher);
}

int supports(const OpCall& call) {
  const int d = call.as<AttentionParams>().d;
  return call.in[0].format != Format::f64 && d > 0 && d <= kMostSimtDim ? 10 : -1;
}

const RegisterVariant registrar{
    {.op = "attention",
     .name = "flash",
     .isa = Isa::sm75,
     .supports = supports,
     .scratch = nullptr,
     .run = [](const OpCall& call, Context& context) { runFlashSimt(call, launcherOf(context)); }}};

}  // namespace

void runFlashSimt(const OpCall& call, Launcher& launcher) {
  const int d = call.as<AttentionParams>().d;
  if (d <= 64)
    launchForward<1>(call, launcher);
  else if (d <= 128)
    launchForward<2>(call, launcher);
  else if (d <= 192)
    launchForward<3>(call, launcher);
  else
    launchForward<4>(call, launcher);
}

}  // namespace figment::cuda
