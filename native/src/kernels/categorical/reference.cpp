// Draws one after the other, with the specified exponential of one element at a time; the oracle of
// the vector code, which must give the same bits.
#include "../reference.h"

#include "../params/randomCategorical.generated.h"
#include "../simd/math.h"
#include "draw.h"

namespace figment {
namespace {

using namespace categorical;

float weightOf(float logit, float highest) {
  return generic::exp(generic::F32::broadcast(logit - highest)).v[0];
}

float highestOf(const float* x, int64_t cols) {
  float highest = x[0];
  for (int64_t j = 1; j < cols; j++)
    if (highest == highest && !(x[j] <= highest)) highest = x[j];
  return highest;
}

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<RandomCategoricalParams>();
  const Stream stream = Stream::fromState(call.in[1].as<int32_t>());
  int32_t* out = call.out[0].as<int32_t>();
  const int64_t chunks = chunksOf(p);
  double* running = reinterpret_cast<double*>(context.scratch());
  for (int64_t r = 0; r < p.rows; r++) {
    const float* row = call.in[0].as<float>() + r * p.cols;
    const float highest = highestOf(row, p.cols);
    double sum = 0;
    for (int64_t c = 0; c < chunks; c++) {
      double sums[kSums] = {};
      for (int64_t j = c * kChunk; j < (c + 1) * kChunk && j < p.cols; j++)
        sums[j % kSums] += double(weightOf(row[j], highest));
      sum += foldSums(sums);
      running[r * chunks + c] = sum;
    }
  }
  const bool valid = rowsHaveDistributions(context, running, p.rows, chunks);
  for (int64_t e = 0; e < p.draws * p.rows; e++) {
    const int64_t r = e % p.rows;
    const float* row = call.in[0].as<float>() + r * p.cols;
    const double* own = running + r * chunks;
    const float highest = highestOf(row, p.cols);
    const double target = uniform53(wideWord(stream, e)) * own[chunks - 1];
    const auto weightsOf = [&](int64_t chunk, float* weights) {
      const int64_t first = chunk * kChunk;
      const int64_t count = p.cols - first < kChunk ? p.cols - first : kChunk;
      for (int64_t i = 0; i < count; i++) weights[i] = weightOf(row[first + i], highest);
      return count;
    };
    out[e] = valid ? int32_t(placeOf(own, chunks, target, weightsOf)) : 0;
  }
  stream.advance(2 * p.draws * p.rows, call.out[1].as<int32_t>());
}

const RegisterVariant registerVariant{
    referenceVariant("randomCategorical", run, [](const OpCall& call, int) {
      const auto& p = call.as<RandomCategoricalParams>();
      return size_t(p.rows * chunksOf(p)) * sizeof(double);
    })};

}  // namespace
}  // namespace figment
