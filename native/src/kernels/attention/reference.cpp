// The plain attention and its derivative, the oracle of the variants: one query (or one key) at a
// time, sums in f64, scores recomputed wherever they are needed. With p = exp(s − highest) / sum,
// Dᵢ = Σ out·dout and ds = p·(dout·vᵀ − D)·scale:  dv = pᵀ·dout,  dq = ds·k,  dk = dsᵀ·q. What a
// query does not see is never multiplied.
#include "../reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../params/attention.generated.h"
#include "../params/attentionGrad.generated.h"
#include "lengths.h"

namespace figment {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Of a query's scores. It is blind if none is above −∞.
struct Softmax {
  double highest = -kInfinity, sum = 0;
  bool blind() const { return highest == -kInfinity; }
  double logSumExp() const { return highest + (blind() ? 0 : std::log(sum)); }
  double weight(double score) const { return blind() ? 0 : std::exp(score - highest) / sum; }
};

/// Addresses of [b,s,h,d] operands and the scores between them.
template <class T, class Params>
struct Heads {
  /// Lengths, if there are any, are input `lengthsAt`.
  Heads(const OpCall& call, int lengthsAt)
      : p(call.as<Params>()),
        q(call.in[0].as<const T>()),
        k(call.in[1].as<const T>()),
        lengths(call, lengthsAt, p.sk) {}

  int64_t row(int64_t task, int64_t length, int64_t position) const {
    const int64_t batch = task / p.h, head = task % p.h;
    return ((batch * length + position) * p.h + head) * p.d;
  }
  int64_t queryRow(int64_t task, int64_t i) const { return row(task, p.sq, i); }
  int64_t keyRow(int64_t task, int64_t j) const { return row(task, p.sk, j); }

  /// Keys that query i sees.
  int64_t visible(int64_t task, int64_t i) const {
    const int64_t length = lengths.of(task / p.h);
    return p.causal ? std::clamp<int64_t>(i + 1 + length - p.sq, 0, length) : length;
  }
  /// The first query that sees key j; sq when none does.
  int64_t firstQuery(int64_t task, int64_t j) const {
    const int64_t length = lengths.of(task / p.h);
    if (j >= length) return p.sq;
    return p.causal ? std::max<int64_t>(0, j + p.sq - length) : 0;
  }
  double dot(const T* a, int64_t aRow, const T* b, int64_t bRow) const {
    double sum = 0;
    for (int64_t e = 0; e < p.d; e++) sum += double(a[aRow + e]) * double(b[bRow + e]);
    return sum;
  }
  double score(int64_t task, int64_t i, int64_t j) const {
    return p.scale * dot(q, queryRow(task, i), k, keyRow(task, j));
  }
  Softmax softmax(int64_t task, int64_t i) const {
    const int64_t keys = visible(task, i);
    Softmax of;
    for (int64_t j = 0; j < keys; j++) {
      const double s = score(task, i, j);
      of.highest = s > of.highest || std::isnan(s) ? s : of.highest;
    }
    for (int64_t j = 0; j < keys && !of.blind(); j++)
      of.sum += std::exp(score(task, i, j) - of.highest);
    return of;
  }

  const Params& p;
  const T *q, *k;
  KeyLengths lengths;
};

template <class T>
void runForward(const OpCall& call, Context& context) {
  const Heads<T, AttentionParams> heads(call, 3);
  const auto& p = heads.p;
  const T* v = call.in[2].as<const T>();
  T* out = call.out[0].as<T>();
  T* lse = call.out[1].as<T>();
  const int64_t queries = int64_t(p.b) * p.h * p.sq;
  context.parallelFor(queries, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t query = begin; query < end; query++) {
      const int64_t task = query / p.sq, i = query % p.sq;
      const int64_t visible = heads.visible(task, i);
      const Softmax softmax = heads.softmax(task, i);
      lse[query] = T(softmax.logSumExp());
      T* target = out + heads.queryRow(task, i);
      for (int64_t e = 0; e < p.d; e++) target[e] = T(0);
      if (softmax.blind()) continue;
      constexpr int64_t kStrip = 64;  // head elements accumulated at a time
      for (int64_t e0 = 0; e0 < p.d; e0 += kStrip) {
        const int64_t width = std::min<int64_t>(kStrip, p.d - e0);
        double strip[kStrip] = {};
        for (int64_t j = 0; j < visible; j++) {
          const double weight = softmax.weight(heads.score(task, i, j));
          const T* value = v + heads.keyRow(task, j) + e0;
          for (int64_t e = 0; e < width; e++) strip[e] += weight * double(value[e]);
        }
        for (int64_t e = 0; e < width; e++) target[e0 + e] = T(strip[e]);
      }
    }
  });
}

template <class T>
struct Backward {
  explicit Backward(const OpCall& call)
      : heads(call, 6),
        p(heads.p),
        v(call.in[2].as<const T>()),
        out(call.in[3].as<const T>()),
        dout(call.in[5].as<const T>()),
        softmaxes(size_t(p.b) * size_t(p.h) * size_t(p.sq)) {}

  /// Prepares the softmax of each query: lse is rounded to T, which says too little about large
  /// scores.
  void findSoftmaxes(Context& context) {
    context.parallelFor(int64_t(softmaxes.size()), 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t query = begin; query < end; query++)
        softmaxes[size_t(query)] = heads.softmax(query / p.sq, query % p.sq);
    });
  }
  double probability(int64_t task, int64_t i, int64_t j) const {
    return softmaxes[size_t(task * p.sq + i)].weight(heads.score(task, i, j));
  }
  /// Σ out·dout of a query, which the softmax derivative subtracts.
  double outputDot(int64_t task, int64_t i) const {
    return heads.dot(out, heads.queryRow(task, i), dout, heads.queryRow(task, i));
  }
  double scoreGrad(int64_t task, int64_t i, int64_t j, double weight, double rowDot) const {
    const double grad = heads.dot(dout, heads.queryRow(task, i), v, heads.keyRow(task, j));
    return weight * (grad - rowDot) * p.scale;
  }

  Heads<T, AttentionGradParams> heads;
  const AttentionGradParams& p;
  const T *v, *out, *dout;
  std::vector<Softmax> softmaxes;
};

template <class T>
void runBackward(const OpCall& call, Context& context) {
  Backward<T> b(call);
  b.findSoftmaxes(context);
  const auto& p = b.p;
  const auto& heads = b.heads;
  T* dq = call.out[0].as<T>();
  T* dk = call.out[1].as<T>();
  T* dv = call.out[2].as<T>();
  constexpr int64_t kStrip = 32;  // head elements accumulated at a time

  context.parallelFor(int64_t(p.b) * p.h * p.sq, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t query = begin; query < end; query++) {
      const int64_t task = query / p.sq, i = query % p.sq;
      const double rowDot = b.outputDot(task, i);
      for (int64_t e0 = 0; e0 < p.d; e0 += kStrip) {
        const int64_t width = std::min<int64_t>(kStrip, p.d - e0);
        double strip[kStrip] = {};
        for (int64_t j = 0; j < heads.visible(task, i); j++) {
          const double ds = b.scoreGrad(task, i, j, b.probability(task, i, j), rowDot);
          const T* key = heads.k + heads.keyRow(task, j) + e0;
          for (int64_t e = 0; e < width; e++) strip[e] += ds * double(key[e]);
        }
        for (int64_t e = 0; e < width; e++) dq[heads.queryRow(task, i) + e0 + e] = T(strip[e]);
      }
    }
  });
  context.parallelFor(int64_t(p.b) * p.h * p.sk, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t keyIndex = begin; keyIndex < end; keyIndex++) {
      const int64_t task = keyIndex / p.sk, j = keyIndex % p.sk;
      for (int64_t e0 = 0; e0 < p.d; e0 += kStrip) {
        const int64_t width = std::min<int64_t>(kStrip, p.d - e0);
        double keyStrip[kStrip] = {}, valueStrip[kStrip] = {};
        for (int64_t i = heads.firstQuery(task, j); i < p.sq; i++) {
          const double weight = b.probability(task, i, j);
          const double ds = b.scoreGrad(task, i, j, weight, b.outputDot(task, i));
          const T* query = heads.q + heads.queryRow(task, i) + e0;
          const T* cotangent = b.dout + heads.queryRow(task, i) + e0;
          for (int64_t e = 0; e < width; e++) {
            keyStrip[e] += ds * double(query[e]);
            valueStrip[e] += weight * double(cotangent[e]);
          }
        }
        for (int64_t e = 0; e < width; e++) {
          dk[heads.keyRow(task, j) + e0 + e] = T(keyStrip[e]);
          dv[heads.keyRow(task, j) + e0 + e] = T(valueStrip[e]);
        }
      }
    }
  });
}

const RegisterVariant forward{
    referenceVariant("attention", byWidened<runForward<float>, runForward<double>>)};
const RegisterVariant backward{
    referenceVariant("attentionGrad", byWidened<runBackward<float>, runBackward<double>>)};

}  // namespace
}  // namespace figment
