// argReduce along the fastest axis: a warp or a block for each output.
#include "../../device/vectors.h"
#include "kernels/arg_reduce/arg_reduce.h"
#include "kernels/params/argReduce.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct Candidate {
  T value;
  int32_t place;  ///< negative where there is none

  /// Whether the other is to be taken instead: NaN before all, then the better, then the first.
  FIGMENT_DEVICE bool yieldsTo(const Candidate& other, bool greatest) const {
    if (other.place < 0) return false;
    if (place < 0) return true;
    const bool nan = value != value, otherNan = other.value != other.value;
    if (nan || otherNan) return nan && otherNan ? other.place < place : otherNan;
    if (value == other.value) return other.place < place;
    return greatest ? other.value > value : other.value < value;
  }
};

template <class T>
FIGMENT_DEVICE Candidate<T> bestOfWarp(Candidate<T> mine, bool greatest) {
  FIGMENT_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Candidate<T> other = {__shfl_xor_sync(kWholeWarp, mine.value, step),
                                __shfl_xor_sync(kWholeWarp, mine.place, step)};
    if (mine.yieldsTo(other, greatest)) mine = other;
  }
  return mine;
}

template <class T, int kTeam>
FIGMENT_KERNEL(kThreads)
rowsKernel(Global<const T> x, Global<int32_t> y, ArgReduceParams p) {
  constexpr int kTeams = kThreads / kTeam, kWarps = kThreads / kWarp;
  FIGMENT_SHARED(T, values, kWarps);
  FIGMENT_SHARED(int32_t, places, kWarps);
  const int64_t row = blockInGrid() * kTeams + int(threadIdx.x) / kTeam;
  if (row >= p.outer) return;
  const bool greatest = p.kind == kArgMax;
  Candidate<T> best = {T(0), -1};
  FIGMENT_UNROLL_BY(4)
  for (int64_t a = int(threadIdx.x) % kTeam; a < p.axis; a += kTeam) {
    const Candidate<T> next = {x[row * p.axis + a], int32_t(a)};
    if (best.yieldsTo(next, greatest)) best = next;
  }
  best = bestOfWarp(best, greatest);
  if constexpr (kTeam > kWarp) {
    if (laneInWarp() == 0) {
      values[warpInBlock()] = best.value;
      places[warpInBlock()] = best.place;
    }
    __syncthreads();
    const int from = laneInWarp() % kWarps;
    best = bestOfWarp<T>({T(values[from]), int32_t(places[from])}, greatest);
  }
  if (int(threadIdx.x) % kTeam == 0) y[row] = best.place;
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  constexpr int64_t kWarpRow = 1024;
  const auto& p = call.as<ArgReduceParams>();
  const auto x = viewOf<const T>(call.in[0]);
  const auto y = viewOf<int32_t>(call.out[0]);
  if (p.axis <= kWarpRow)
    launch<rowsKernel<T, kWarp>>(launcher, blocksFor(ceilDiv(p.outer, int64_t(kThreads / kWarp))),
                                 kThreads, 0, x, y, p);
  else
    launch<rowsKernel<T, kThreads>>(launcher, blocksFor(p.outer), kThreads, 0, x, y, p);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (call.in[0].format == Format::f32) return runAs<float>(call, launcher);
  if (call.in[0].format == Format::f64) return runAs<double>(call, launcher);
  runAs<int32_t>(call, launcher);
}

/// Where the axis is not the fastest, neighbouring threads of the plain kernel read neighbours.
int supports(const OpCall& call) {
  const auto& p = call.as<ArgReduceParams>();
  return p.inner == 1 && p.axis >= kWarp ? kFastPreference : -1;
}

const RegisterVariant registrar{{.op = "argReduce",
                                 .name = "rows",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
