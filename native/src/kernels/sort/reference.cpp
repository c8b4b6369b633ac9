// Each row by the standard library's stable sort of its indices.
#include "../reference.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "../params/sort.generated.h"

namespace figment {
namespace {

template <class T>
void run(const OpCall& call, Context& context) {
  const auto& p = call.as<SortParams>();
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const T* x = call.in[0].as<T>() + r * p.cols;
      std::vector<int32_t> order(size_t(p.cols), 0);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        if (x[a] != x[a] || x[b] != x[b]) return x[a] == x[a] && x[b] != x[b];
        return p.descending != 0 ? x[a] > x[b] : x[a] < x[b];
      });
      for (int64_t i = 0; i < p.count; i++) {
        call.out[1].as<int32_t>()[r * p.count + i] = order[size_t(i)];
        call.out[0].as<T>()[r * p.count + i] = x[order[size_t(i)]];
      }
    }
  });
}

const RegisterVariant registerVariant{
    referenceVariant("sort", byNumber<run<float>, run<double>, run<int32_t>>)};

}  // namespace
}  // namespace figment
