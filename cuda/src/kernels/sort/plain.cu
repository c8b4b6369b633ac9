// sort by merging: runs of 1, 2, 4, … places of each row in turn, one thread for each place, which
// finds its new one by looking it up in the run beside its own. Equal elements keep their order.
#include <utility>

#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/params/sort.generated.h"
#include "order.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

FIGMENT_KERNEL(kThreads) placesKernel(Global<int32_t> places, SortParams p) {
  for (int64_t e = threadInGrid(); e < p.rows * p.cols; e += threadsOfGrid())
    places[e] = int32_t(e % p.cols);
}

/// Merges runs of `width` places, which are in order, two by two.
template <class T>
FIGMENT_KERNEL(kThreads)
mergeKernel(Global<const T> x, Global<const int32_t> from, Global<int32_t> to, int64_t width,
            SortParams p) {
  const bool descending = p.descending != 0;
  for (int64_t e = threadInGrid(); e < p.rows * p.cols; e += threadsOfGrid()) {
    const int64_t row = e / p.cols * p.cols, own = e % p.cols;
    const int64_t run = own / width, first = (run ^ 1) * width;
    const T value = x[row + from[row + own]];
    // How many of the other run come before: an equal element of the left run does.
    int64_t low = first < p.cols ? first : p.cols;
    int64_t high = first + width < p.cols ? first + width : p.cols;
    const int64_t begin = low;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      const T other = x[row + from[row + middle]];
      const bool earlier =
          run % 2 == 1 ? !before(value, other, descending) : before(other, value, descending);
      if (earlier)
        low = middle + 1;
      else
        high = middle;
    }
    const int64_t pair = run / 2 * 2 * width;
    to[row + pair + own % width + (low - begin)] = from[row + own];
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
writeKernel(Global<const T> x, Global<const int32_t> places, Global<T> values,
            Global<int32_t> indices, SortParams p) {
  for (int64_t e = threadInGrid(); e < p.rows * p.count; e += threadsOfGrid()) {
    const int64_t row = e / p.count * p.cols;
    const int32_t place = places[row + e % p.count];
    values[e] = x[row + place];
    indices[e] = place;
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<SortParams>();
  if (call.out[0].elements() == 0) return;
  const int64_t elements = call.in[0].elements();
  const Grid grid = gridFor(launcher, elements, kThreads);
  const auto x = viewOf<const T>(call.in[0]);
  auto from = scratchView<int32_t>(launcher, 0, elements);
  auto to = scratchView<int32_t>(launcher, elements * int64_t(sizeof(int32_t)), elements);
  launch<placesKernel>(launcher, grid, kThreads, 0, from, p);
  for (int64_t width = 1; width < p.cols; width *= 2) {
    launch<mergeKernel<T>>(launcher, grid, kThreads, 0, x, Global<const int32_t>(from), to, width,
                           p);
    std::swap(from, to);
  }
  launch<writeKernel<T>>(launcher, gridFor(launcher, call.out[0].elements(), kThreads), kThreads, 0,
                         x, Global<const int32_t>(from), viewOf<T>(call.out[0]),
                         viewOf<int32_t>(call.out[1]), p);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  switch (call.in[0].format) {
    case Format::f32:
      return runAs<float>(call, launcher);
    case Format::f64:
      return runAs<double>(call, launcher);
    default:
      return runAs<int32_t>(call, launcher);
  }
}

size_t scratchBytes(const OpCall& call, int) {
  return 2 * size_t(call.in[0].elements()) * sizeof(int32_t);
}

const RegisterVariant registrar{plainVariant("sort", run, scratchBytes)};

}  // namespace
}  // namespace figment::cuda
