// The plain group normalisation and its derivative, the oracle of the variants: two passes per
// group, sums in f64. With u = γ·x̂ + β, x̂ = (x − mean)·rstd and du the cotangent of u:
//   dβ = Σ du,  dγ = Σ du·x̂,  dx = rstd·(γ·du − A/M − x̂·B/M)
// where A = Σ γ·du and B = Σ γ·du·x̂ run over the M elements of a group.
#include "../reference.h"

#include <cmath>

#include "../bias_act/plain_activation.h"
#include "../params/groupNorm.generated.h"
#include "../params/groupNormGrad.generated.h"

namespace figment {
namespace {

template <class T>
void runForward(const OpCall& call, Context& context) {
  const auto& p = call.as<GroupNormParams>();
  const T* x = call.in[0].as<const T>();
  const T* gamma = call.in[1].as<const T>();
  const T* beta = call.in[2].as<const T>();
  T* y = call.out[0].as<T>();
  T* mean = call.out[1].as<T>();
  T* rstd = call.out[2].as<T>();
  const int64_t width = p.c / p.groups;
  const double count = double(p.spatial * width);
  context.parallelFor(p.n * p.groups, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t first = task % p.groups * width;
      const int64_t base = task / p.groups * p.spatial * p.c;
      double sum = 0;
      for (int64_t s = 0; s < p.spatial; s++)
        for (int64_t ch = first; ch < first + width; ch++) sum += double(x[base + s * p.c + ch]);
      const double center = count > 0 ? sum / count : 0;
      double squares = 0;
      for (int64_t s = 0; s < p.spatial; s++) {
        for (int64_t ch = first; ch < first + width; ch++) {
          const double d = double(x[base + s * p.c + ch]) - center;
          squares += d * d;
        }
      }
      const double scale = 1 / std::sqrt((count > 0 ? squares / count : 0) + p.eps);
      mean[task] = T(center);
      rstd[task] = T(scale);
      for (int64_t s = 0; s < p.spatial; s++) {
        for (int64_t ch = first; ch < first + width; ch++) {
          const int64_t i = base + s * p.c + ch;
          const double u = (double(x[i]) - center) * scale * double(gamma[ch]) + double(beta[ch]);
          y[i] = T(activations::activate(u, p.activation, p.slope));
        }
      }
    }
  });
}

template <class T>
struct Backward {
  explicit Backward(const OpCall& call)
      : p(call.as<GroupNormGradParams>()),
        x(call.in[0].as<const T>()),
        gamma(call.in[1].as<const T>()),
        beta(call.in[2].as<const T>()),
        mean(call.in[3].as<const T>()),
        rstd(call.in[4].as<const T>()),
        dy(call.in[5].as<const T>()),
        width(p.c / p.groups) {}

  int64_t index(int64_t sample, int64_t s, int64_t ch) const {
    return (sample * p.spatial + s) * p.c + ch;
  }
  int64_t group(int64_t sample, int64_t ch) const { return sample * p.groups + ch / width; }
  double normalised(int64_t sample, int64_t s, int64_t ch) const {
    const int64_t g = group(sample, ch);
    return (double(x[index(sample, s, ch)]) - double(mean[g])) * double(rstd[g]);
  }
  /// The cotangent of the value before the activation.
  double before(int64_t sample, int64_t s, int64_t ch) const {
    const double u = double(gamma[ch]) * normalised(sample, s, ch) + double(beta[ch]);
    return activations::cotangentAt(u, double(dy[index(sample, s, ch)]), p.activation, p.slope);
  }

  const GroupNormGradParams& p;
  const T *x, *gamma, *beta, *mean, *rstd, *dy;
  int64_t width;
};

template <class T>
void runBackward(const OpCall& call, Context& context) {
  const Backward<T> b(call);
  const auto& p = b.p;
  T* dx = call.out[0].as<T>();
  T* dgamma = call.out[1].as<T>();
  T* dbeta = call.out[2].as<T>();
  // The sums over samples first: dx may overwrite dy.
  context.parallelFor(p.c, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t ch = begin; ch < end; ch++) {
      double scaled = 0, plain = 0;
      for (int64_t sample = 0; sample < p.n; sample++) {
        for (int64_t s = 0; s < p.spatial; s++) {
          const double d = b.before(sample, s, ch);
          plain += d;
          scaled += d * b.normalised(sample, s, ch);
        }
      }
      dgamma[ch] = T(scaled);
      dbeta[ch] = T(plain);
    }
  });
  const double count = double(p.spatial * b.width);
  context.parallelFor(p.n * p.groups, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t sample = task / p.groups;
      const int64_t first = task % p.groups * b.width;
      double sum = 0, dot = 0;
      for (int64_t s = 0; s < p.spatial; s++) {
        for (int64_t ch = first; ch < first + b.width; ch++) {
          const double d = b.before(sample, s, ch) * double(b.gamma[ch]);
          sum += d;
          dot += d * b.normalised(sample, s, ch);
        }
      }
      for (int64_t s = 0; s < p.spatial; s++) {
        for (int64_t ch = first; ch < first + b.width; ch++) {
          const double d = b.before(sample, s, ch) * double(b.gamma[ch]);
          const double along = b.normalised(sample, s, ch) * dot / count;
          dx[b.index(sample, s, ch)] = T(double(b.rstd[task]) * (d - sum / count - along));
        }
      }
    }
  });
}

const RegisterVariant forward{
    referenceVariant("groupNorm", byWidened<runForward<float>, runForward<double>>)};
const RegisterVariant backward{
    referenceVariant("groupNormGrad", byWidened<runBackward<float>, runBackward<double>>)};

}  // namespace
}  // namespace figment
