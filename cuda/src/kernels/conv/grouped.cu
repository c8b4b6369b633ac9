// Convolutions in groups of few channels, depthwise ones among them, which leave tiles of products
// empty: neighbouring threads work on neighbouring channels, the weights of a block's channels lie
// in shared memory. Sums for the weights' gradient are split into slabs of positions, whose parts
// are added up in order.
#include "../gemm/epilogue.h"
#include "../gemm/floats.h"
#include "work.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
/// A block of forward and input gradient: channels, and positions in turn.
constexpr int kChannels = 32, kRows = kThreads / kChannels, kPositions = 64;
constexpr int64_t kMostWeights = 48 * 1024 / (kChannels * int64_t(sizeof(float)));

/// What the kernels count with: parameters, and divisors of positions.
struct Shape {
  int32_t n, h, w, c, ho, wo, o, kh, kw, inGroup, outGroup;
  int32_t strideY, strideX, padY, padX, dilationY, dilationX;
  Divisor area, width;  ///< of the positions that threads walk: of the result's, or the image's
};
template <class P>
Shape shapeOf(const P& p, int64_t height, int64_t width) {
  return {.n = p.n,
          .h = p.h,
          .w = p.w,
          .c = p.c,
          .ho = p.ho,
          .wo = p.wo,
          .o = p.o,
          .kh = p.kh,
          .kw = p.kw,
          .inGroup = p.c / p.groups,
          .outGroup = p.o / p.groups,
          .strideY = p.stride[0],
          .strideX = p.stride[1],
          .padY = p.padLo[0],
          .padX = p.padLo[1],
          .dilationY = p.dilation[0],
          .dilationX = p.dilation[1],
          .area = Divisor(std::max<int64_t>(height * width, 1)),
          .width = Divisor(std::max<int64_t>(width, 1))};
}

/// Of position `at`: image, row and column.
FIGMENT_DEVICE Position positionIn(const Shape& s, int32_t at) {
  const uint32_t image = s.area.quotient(uint32_t(at)), rest = s.area.rest(uint32_t(at), image);
  const uint32_t y = s.width.quotient(rest);
  return {image, y, s.width.rest(rest, y)};
}

/// y, or with `backward` dx. `depth`: weights of a channel of the result.
template <bool backward>
FIGMENT_KERNEL(kThreads)
groupedKernel(Floats<float> from, Floats<float> w, Epilogue<float> epilogue, int32_t positions,
              int32_t depth, FIGMENT_GRID_CONSTANT const Shape s) {
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto weights = shared.template view<float>(0, depth * kChannels);
  const int32_t channels = backward ? s.c : s.o;
  const int lane = int(threadIdx.x) % kChannels, row = int(threadIdx.x) / kChannels;
  const int32_t channel = int32_t(blockIdx.x) * kChannels + lane;
  const int32_t taps = s.kh * s.kw;
  // Of one tap all of the group's channels that are summed, then of the next.
  const int32_t summed = backward ? s.outGroup : s.inGroup;
  const int32_t own = backward ? s.inGroup : s.outGroup;
  const int32_t group = channel / own;
  for (int32_t d = row; d < depth; d += kRows) {
    const int32_t tap = d / summed, other = d % summed;
    const int64_t at =
        backward ? (int64_t(group * s.outGroup + other) * taps + tap) * s.inGroup + channel % own
                 : (int64_t(channel) * taps + tap) * s.inGroup + other;
    weights[d * kChannels + lane] = channel < channels ? w[at] : 0.0f;
  }
  __syncthreads();
  if (channel >= channels) return;
  const int32_t height = backward ? s.ho : s.h, width = backward ? s.wo : s.w;
  const int32_t all = backward ? s.o : s.c;
  const int32_t end = min(positions, int32_t(blockIdx.y + 1) * kPositions);
  for (int32_t at = int32_t(blockIdx.y) * kPositions + row; at < end; at += kRows) {
    const Position position = positionIn(s, at);
    float sum = 0;
    for (int32_t u = 0; u < s.kh; u++) {
      int32_t y = backward ? int32_t(position.y) + s.padY - u * s.dilationY
                           : int32_t(position.y) * s.strideY - s.padY + u * s.dilationY;
      if (backward) {
        if (y < 0 || y % s.strideY != 0) continue;
        y /= s.strideY;
      }
      if (y < 0 || y >= height) continue;
      for (int32_t v = 0; v < s.kw; v++) {
        int32_t x = backward ? int32_t(position.x) + s.padX - v * s.dilationX
                             : int32_t(position.x) * s.strideX - s.padX + v * s.dilationX;
        if (backward) {
          if (x < 0 || x % s.strideX != 0) continue;
          x /= s.strideX;
        }
        if (x < 0 || x >= width) continue;
        const int64_t first =
            ((int64_t(position.image) * height + y) * width + x) * all + group * summed;
        const int32_t weight = (u * s.kw + v) * summed * kChannels + lane;
        for (int32_t i = 0; i < summed; i++)
          sum = multiplyAdd(from[first + i], weights[weight + i * kChannels], sum);
      }
    }
    epilogue.store(int64_t(at) * channels + channel, channel, sum);
  }
}

/// dw, or its parts: one for each slab of positions. Threads walk the channels of the result first.
FIGMENT_KERNEL(kThreads)
groupedWeightsKernel(Floats<float> x, Floats<float> dy, Epilogue<float> epilogue, int32_t count,
                     int32_t positions, int32_t slab, FIGMENT_GRID_CONSTANT const Shape s) {
  const int32_t at = int32_t(threadInGrid());
  if (at >= count) return;
  const int32_t o = at % s.o, inner = at / s.o;
  const int32_t channel = inner % s.inGroup, tap = inner / s.inGroup;
  const int32_t offsetY = tap / s.kw * s.dilationY - s.padY;
  const int32_t offsetX = tap % s.kw * s.dilationX - s.padX;
  const int32_t source = o / s.outGroup * s.inGroup + channel;
  const int32_t first = int32_t(blockIdx.y) * slab, end = min(positions, first + slab);
  float sum = 0;
  for (int32_t i = first; i < end; i++) {
    const Position position = positionIn(s, i);
    const int32_t y = int32_t(position.y) * s.strideY + offsetY;
    const int32_t q = int32_t(position.x) * s.strideX + offsetX;
    if (y < 0 || y >= s.h || q < 0 || q >= s.w) continue;
    sum = multiplyAdd(x[((int64_t(position.image) * s.h + y) * s.w + q) * s.c + source],
                      dy[int64_t(i) * s.o + o], sum);
  }
  epilogue.store(
      int64_t(blockIdx.y) * count + (int64_t(o) * s.kh * s.kw + tap) * s.inGroup + channel, 0, sum);
}

FIGMENT_KERNEL(kThreads)
sumSlabsKernel(Global<const float> parts, Epilogue<float> epilogue, int32_t count, int32_t slabs) {
  const int32_t at = int32_t(threadInGrid());
  if (at >= count) return;
  float sum = 0;
  for (int32_t s = 0; s < slabs; s++) sum += parts[int64_t(s) * count + at];
  epilogue.store(at, 0, sum);
}

template <class P>
int64_t depthOf(const P& p) {
  constexpr bool kBackward = std::is_same_v<P, Conv2dInputGradParams>;
  return int64_t(p.kh) * p.kw * ((kBackward ? p.o : p.c) / p.groups);
}

template <class P>
void run(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  constexpr bool kBackward = std::is_same_v<P, Conv2dInputGradParams>;
  const auto& p = call.as<P>();
  const int64_t height = kBackward ? p.h : p.ho, width = kBackward ? p.w : p.wo;
  const int64_t positions = p.n * height * width, channels = kBackward ? p.c : p.o;
  const auto depth = int32_t(depthOf(p));
  launch<groupedKernel<kBackward>>(
      launcherOf(context),
      {ceilDiv(channels, int64_t(kChannels)), ceilDiv(positions, int64_t(kPositions))}, kThreads,
      size_t(depth) * kChannels * sizeof(float), Floats<float>(call.in[0]),
      Floats<float>(call.in[1]), epilogueOf(call, p), int32_t(positions), depth,
      shapeOf(p, height, width));
}

/// Slabs of positions, by the shape alone: enough blocks, of positions enough.
struct Slabs {
  int32_t count, slabs, slab, positions;
};
Slabs slabsOf(const Conv2dWeightGradParams& p) {
  constexpr int64_t kWanted = 528, kLeast = 64, kMost = 256;
  const int64_t count = int64_t(p.o) * p.kh * p.kw * (p.c / p.groups);
  const int64_t positions = int64_t(p.n) * p.ho * p.wo;
  const int64_t blocks = ceilDiv(count, int64_t(kThreads));
  const int64_t slabs =
      std::clamp<int64_t>(std::min(ceilDiv(kWanted, blocks), positions / kLeast), 1, kMost);
  const int64_t slab = std::max<int64_t>(ceilDiv(positions, slabs), 1);
  return {int32_t(count), int32_t(std::max<int64_t>(ceilDiv(positions, slab), 1)), int32_t(slab),
          int32_t(positions)};
}

size_t weightScratch(const OpCall& call, int) {
  if (call.out[0].empty()) return 0;
  const Slabs s = slabsOf(call.as<Conv2dWeightGradParams>());
  return s.slabs == 1 ? 0 : size_t(s.slabs) * size_t(s.count) * sizeof(float);
}

void runWeights(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const auto& p = call.as<Conv2dWeightGradParams>();
  Launcher& launcher = launcherOf(context);
  const Slabs s = slabsOf(p);
  const Epilogue<float> epilogue(call.out[0]);
  const Operand parts = rowOperand(launcher.scratch(), Format::f32, int64_t(s.slabs) * s.count);
  const int64_t blocks = ceilDiv(int64_t(s.count), int64_t(kThreads));
  launch<groupedWeightsKernel>(launcher, {blocks, s.slabs}, kThreads, 0, Floats<float>(call.in[0]),
                               Floats<float>(call.in[1]),
                               s.slabs == 1 ? epilogue : Epilogue<float>(parts), s.count,
                               s.positions, s.slab, shapeOf(p, p.ho, p.wo));
  if (s.slabs > 1)
    launch<sumSlabsKernel>(launcher, {blocks}, kThreads, 0, viewOf<const float>(parts), epilogue,
                           s.count, s.slabs);
}

template <class P>
int supports(const OpCall& call) {
  const auto& p = call.as<P>();
  if (call.out[0].format == Format::f64 || call.out[0].empty() || !boundsFit(p)) return -1;
  if (p.groups == 1 || std::min(p.c, p.o) / p.groups >= 8) return -1;
  if constexpr (std::is_same_v<P, Conv2dWeightGradParams>)
    return call.out[0].elements() < 1 << 30 ? 10 : -1;
  else
    return depthOf(p) <= kMostWeights && int64_t(p.n) * p.h * p.w < 65535 * int64_t(kPositions) &&
                   int64_t(p.n) * p.ho * p.wo < 65535 * int64_t(kPositions)
               ? 10
               : -1;
}

template <class P>
constexpr Variant grouped(const char* op, void (*run)(const OpCall&, Context&),
                          size_t (*scratch)(const OpCall&, int)) {
  return {.op = op,
          .name = "grouped",
          .isa = Isa::sm75,
          .supports = supports<P>,
          .scratch = scratch,
          .run = run};
}

const RegisterVariant forward{grouped<Conv2dParams>("conv2d", run<Conv2dParams>, nullptr)};
const RegisterVariant inputGrad{
    grouped<Conv2dInputGradParams>("conv2dInputGrad", run<Conv2dInputGradParams>, nullptr)};
const RegisterVariant weightGrad{
    grouped<Conv2dWeightGradParams>("conv2dWeightGrad", runWeights, weightScratch)};

}  // namespace
}  // namespace figment::cuda
