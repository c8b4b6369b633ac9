// Attention of one query, and its derivatives by one query or key, by a warp each that meets one
// key (one query) after the other, with a running softmax (Milakov & Gimelshein, 2018). What is
// hidden is not read. The plain kernels and those of mend.cu are made of these.
#pragma once

#include "../../device/warp.h"
#include "any_floats.h"
#include "problem.h"

namespace figment::cuda {

constexpr int kPlainStrip = 4;  ///< head elements that a lane sums at a time
constexpr int kPlainStripElements = kPlainStrip * kWarp;

FIGMENT_DEVICE float power2(float x) { return exp2f(x); }
FIGMENT_DEVICE double power2(double x) { return exp2(x); }

/// How a query's products with keys become weights: 2^(factor · (product − base) − shift), factor
/// and shift in units of log 2. Of scores that are not large the base is 0 and the shift the
/// log-sum-exp; otherwise that would be rounded too coarsely, and the base is the product of the
/// highest score. A shift of +Inf makes all weights 0.
template <class T>
struct Softmax {
  T base, shift;
  /// Of the log-sum-exp as operations have it.
  FIGMENT_DEVICE static Softmax of(T lse) {
    return {0, lse == T(-INFINITY) ? T(INFINITY) : lse * T(kLog2E)};
  }
  FIGMENT_DEVICE T weight(T product, T factor) const {
    return power2((product - base) * factor - shift);
  }
};

/// The highest score and the sum of weights, relative to it, of the keys that were met.
template <class T>
struct RunningSoftmax {
  T highest = -INFINITY, top = 0, total = 0;  ///< `top` is the product of `highest`

  struct Step {
    T kept, weight;  ///< what earlier sums are multiplied by, and the key's weight
  };
  FIGMENT_DEVICE Step meet(T product, T factor) {
    const T score = product * factor, before = highest, last = top;
    highest = Maximum()(before, score);
    if (!(score < highest)) top = product;
    if (blind()) return {1, 0};
    // Differences of products: those of scores are rounded at their size.
    const Step step = {before == T(-INFINITY) ? T(0) : power2((last - top) * factor),
                       power2((product - top) * factor)};
    total = total * step.kept + step.weight;
    return step;
  }
  FIGMENT_DEVICE bool blind() const { return highest == T(-INFINITY); }
  FIGMENT_DEVICE Softmax<T> softmax() const {
    return blind() ? Softmax<T>{0, INFINITY} : Softmax<T>{top, T(log(total)) * T(kLog2E)};
  }
};

/// Σ a·b over a head's elements, in every lane.
template <class T, class A, class B>
FIGMENT_DEVICE T dotOf(const A& a, int64_t aAt, const B& b, int64_t bAt, int64_t d) {
  T sum = 0;
  for (int64_t e = laneInWarp(); e < d; e += kWarp)
    sum += T(widen(a[aAt + e])) * T(widen(b[bAt + e]));
  return warpSum(sum);
}

/// A lane's elements of a strip of a head that begins at element `first`.
template <class F>
FIGMENT_DEVICE void eachOfStrip(int64_t first, int64_t d, F&& f) {
  FIGMENT_UNROLL
  for (int r = 0; r < kPlainStrip; r++) {
    const int64_t e = first + r * kWarp + laneInWarp();
    if (e < d) f(r, e);
  }
}

/// Where a query stands: its head, counted over all batch entries, its row, and what it sees.
struct QueryPlace {
  int64_t task, at, keysAt, visible;
  FIGMENT_DEVICE QueryPlace(const AttentionProblem& p, int64_t query)
      : task(query / p.sq),
        at(p.headStart(task, p.sq) + query % p.sq * p.rowStride()),
        keysAt(p.headStart(task, p.sk)),
        visible(p.visible(p.keysOf(task / p.h), query % p.sq)) {}
};

template <class T, class In, class Out>
struct PlainForward {
  In q, k, v;
  Out out;
  Global<T> lse;

  /// out from element `first` on; lse with the first elements.
  FIGMENT_DEVICE void strip(const AttentionProblem& p, int64_t query, int64_t first) const {
    const QueryPlace place(p, query);
    const T factor = T(p.scale * kLog2E);
    RunningSoftmax<T> softmax;
    T sums[kPlainStrip] = {};
    for (int64_t j = 0; j < place.visible; j++) {
      const int64_t key = place.keysAt + j * p.rowStride();
      const auto [kept, weight] = softmax.meet(dotOf<T>(q, place.at, k, key, p.d), factor);
      if (softmax.blind()) continue;
      eachOfStrip(first, p.d, [&](int r, int64_t e) {
        sums[r] = sums[r] * kept + weight * T(widen(v[key + e]));
      });
    }
    const bool blind = softmax.blind();
    eachOfStrip(first, p.d, [&](int r, int64_t e) {
      out.set(place.at + e, blind ? T(0) : sums[r] / softmax.total);
    });
    if (first == 0 && laneInWarp() == 0)
      lse[query] = blind ? T(-INFINITY) : softmax.top * T(p.scale) + T(log(softmax.total));
  }
  FIGMENT_DEVICE void row(const AttentionProblem& p, int64_t query) const {
    for (int64_t first = 0; first < p.d; first += kPlainStripElements) strip(p, query, first);
  }
};

/// With p the weights and D = Σ out·dout, ds = p·(dout·vᵀ − D)·scale: dq = ds·k,  dv = pᵀ·dout,  dk
/// = dsᵀ·q.
template <class T, class In, class Out>
struct PlainGrad {
  In q, k, v, dout;
  Out dq, dk, dv;

  /// Of the products themselves.
  FIGMENT_DEVICE Softmax<T> softmaxOf(const AttentionProblem& p, int64_t query) const {
    const QueryPlace place(p, query);
    RunningSoftmax<T> softmax;
    for (int64_t j = 0; j < place.visible; j++)
      softmax.meet(dotOf<T>(q, place.at, k, place.keysAt + j * p.rowStride(), p.d),
                   T(p.scale * kLog2E));
    return softmax.softmax();
  }

  struct Pair {
    T weight, scoreGrad;
  };
  FIGMENT_DEVICE Pair pairOf(const AttentionProblem& p, int64_t queryAt, int64_t keyAt,
                             const Softmax<T>& softmax, T dot) const {
    const T weight = softmax.weight(dotOf<T>(q, queryAt, k, keyAt, p.d), T(p.scale * kLog2E));
    return {weight, weight * (dotOf<T>(dout, queryAt, v, keyAt, p.d) - dot) * T(p.scale)};
  }

  FIGMENT_DEVICE void queryStrip(const AttentionProblem& p, const Softmax<T>& softmax, T dot,
                                 int64_t query, int64_t first) const {
    const QueryPlace place(p, query);
    T sums[kPlainStrip] = {};
    for (int64_t j = 0; j < place.visible; j++) {
      const int64_t key = place.keysAt + j * p.rowStride();
      const Pair pair = pairOf(p, place.at, key, softmax, dot);
      eachOfStrip(first, p.d,
                  [&](int r, int64_t e) { sums[r] += pair.scoreGrad * T(widen(k[key + e])); });
    }
    eachOfStrip(first, p.d, [&](int r, int64_t e) { dq.set(place.at + e, sums[r]); });
  }
  FIGMENT_DEVICE void queryRow(const AttentionProblem& p, const Softmax<T>& softmax, T dot,
                               int64_t query) const {
    for (int64_t first = 0; first < p.d; first += kPlainStripElements)
      queryStrip(p, softmax, dot, query, first);
  }

  /// softmaxOf(query) and rowDotOf(query) know the queries, counted over all heads.
  template <class Softmaxes, class Dots>
  FIGMENT_DEVICE void keyStrip(const AttentionProblem& p, const Softmaxes& softmaxOf,
                               const Dots& rowDotOf, int64_t key, int64_t first) const {
    const int64_t task = key / p.sk, j = key % p.sk;
    const int64_t keyAt = p.headStart(task, p.sk) + j * p.rowStride();
    T keySums[kPlainStrip] = {}, valueSums[kPlainStrip] = {};
    for (int64_t i = p.firstQuery(p.keysOf(task / p.h), j); i < p.sq; i++) {
      const int64_t queryAt = p.headStart(task, p.sq) + i * p.rowStride();
      const int64_t query = task * p.sq + i;
      const Pair pair = pairOf(p, queryAt, keyAt, softmaxOf(query), rowDotOf(query));
      eachOfStrip(first, p.d, [&](int r, int64_t e) {
        keySums[r] += pair.scoreGrad * T(widen(q[queryAt + e]));
        valueSums[r] += pair.weight * T(widen(dout[queryAt + e]));
      });
    }
    eachOfStrip(first, p.d, [&](int r, int64_t e) {
      dk.set(keyAt + e, keySums[r]);
      dv.set(keyAt + e, valueSums[r]);
    });
  }
  template <class Softmaxes, class Dots>
  FIGMENT_DEVICE void keyRow(const AttentionProblem& p, const Softmaxes& softmaxOf,
                             const Dots& rowDotOf, int64_t key) const {
    for (int64_t first = 0; first < p.d; first += kPlainStripElements)
      keyStrip(p, softmaxOf, rowDotOf, key, first);
  }
};

template <class T>
PlainForward<T, AnyFloats<T>, AnyResults<T>> plainForward(const OpCall& call) {
  return {AnyFloats<T>::of(call.in[0]), AnyFloats<T>::of(call.in[1]), AnyFloats<T>::of(call.in[2]),
          AnyResults<T>::of(call.out[0]), viewOf<T>(call.out[1])};
}
template <class T>
PlainGrad<T, AnyFloats<T>, AnyResults<T>> plainGrad(const OpCall& call) {
  const auto in = [&](int i) { return AnyFloats<T>::of(call.in[i]); };
  const auto out = [&](int i) { return AnyResults<T>::of(call.out[i]); };
  return {in(0), in(1), in(2), in(5), out(0), out(1), out(2)};
}

}  // namespace figment::cuda
