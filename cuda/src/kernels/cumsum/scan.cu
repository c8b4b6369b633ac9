// cumsum along the fastest axis: a block for each line, tile after tile. Each thread adds up a few
// neighbours, then the block what comes before them. Sums of f32 run in f64, as the operation says.
#include <type_traits>

#include "../../device/vectors.h"
#include "kernels/params/cumsum.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp, kOwn = 4;

/// Integer sums wrap, hence the unsigned accumulator.
template <class T>
using Running = std::conditional_t<std::is_integral_v<T>, uint32_t, double>;

template <class T>
FIGMENT_KERNEL(kThreads)
scanKernel(Global<const T> x, Global<T> y, CumsumParams p) {
  using Sum = Running<T>;
  FIGMENT_SHARED(Sum, totals, kWarps);
  const int64_t line = blockInGrid();
  if (line >= p.outer) return;
  const auto at = [&](int64_t k) { return line * p.axis + (p.reverse != 0 ? p.axis - 1 - k : k); };
  Sum carried = 0;
  for (int64_t tile = 0; tile < p.axis; tile += kThreads * kOwn) {
    const int64_t first = tile + int64_t(threadIdx.x) * kOwn;
    Sum own[kOwn], mine = 0;
    FIGMENT_UNROLL
    for (int i = 0; i < kOwn; i++) {
      own[i] = first + i < p.axis ? Sum(x[at(first + i)]) : Sum(0);
      mine += own[i];
    }
    Sum before = mine;  // becomes the sum of this lane and those below it
    FIGMENT_UNROLL
    for (int step = 1; step < kWarp; step *= 2) {
      const Sum lower = __shfl_up_sync(kWholeWarp, before, step);
      if (laneInWarp() >= step) before += lower;
    }
    if (laneInWarp() == kWarp - 1) totals[warpInBlock()] = before;
    __syncthreads();
    Sum running = carried + (before - mine);
    for (int warp = 0; warp < kWarps; warp++) {
      const Sum total = totals[warp];
      if (warp < warpInBlock()) running += total;
      carried += total;
    }
    __syncthreads();
    FIGMENT_UNROLL
    for (int i = 0; i < kOwn; i++) {
      const Sum until = running;
      running += own[i];
      if (first + i < p.axis) y[at(first + i)] = T(p.exclusive != 0 ? until : running);
    }
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<CumsumParams>();
  launch<scanKernel<T>>(launcher, blocksFor(p.outer), kThreads, 0, viewOf<const T>(call.in[0]),
                        viewOf<T>(call.out[0]), p);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (call.in[0].format == Format::f32) return runAs<float>(call, launcher);
  if (call.in[0].format == Format::f64) return runAs<double>(call, launcher);
  runAs<int32_t>(call, launcher);
}

/// Where the axis is not the fastest, neighbouring threads of the plain kernel read neighbours.
int supports(const OpCall& call) {
  const auto& p = call.as<CumsumParams>();
  return p.inner == 1 && p.axis >= kWarp && !call.in[0].empty() ? kFastPreference : -1;
}

const RegisterVariant registrar{{.op = "cumsum",
                                 .name = "scan",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
