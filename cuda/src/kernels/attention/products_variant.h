// The variants of attention by products, on any kernels of products: how heads are cut into turns
// and scratch, and the order of steps. `Products` says which factors its kernels take, which
// products fit them, the bytes of partial sums, and runs one; see MmaProducts.
#pragma once

#include <algorithm>

#include "../gemm/epilogue.h"
#include "calls.h"
#include "products.h"

namespace figment::cuda::products {

/// Most scores of a head whose derivative needs all at once.
constexpr int64_t kMostScores = int64_t(1) << 28;
constexpr double kLeastProduct = double(1 << 22);  ///< multiply-adds of a product that pays

/// Heads, and queries of each, that are computed together.
struct Turn {
  int64_t loop, member, count, row, rows;
};
template <class F>
void eachTurn(const Turns& t, int64_t loops, F&& f) {
  for (int64_t loop = 0; loop < loops; loop++)
    for (int64_t member = 0; member < t.members; member += t.groups)
      for (int64_t row = 0; row < t.p.sq; row += t.rows)
        f(Turn{loop, member, std::min(t.groups, t.members - member), row,
               std::min(t.rows, t.p.sq - row)});
}

/// The elements of an operand from one on.
inline Operand elementsFrom(const Operand& whole, int64_t first) {
  uint8_t* const data =
      whole.data ? whole.as<uint8_t>() + first * int64_t(formatBytes(whole.format)) : nullptr;
  return rowOperand(data, whole.format, whole.elements() - first);
}

/// The heads of an operand in a turn, from a position on.
inline Matrix headsOf(const Turns& t, const Turn& turn, const Operand& operand, int64_t length,
                      int64_t position = 0) {
  const int64_t first = t.p.headStart(t.task(turn.loop, turn.member), length);
  return {elementsFrom(operand, first + position * t.p.rowStride()), t.memberStep(length),
          t.p.rowStride()};
}

/// Scratch: partial sums of products, then matrices of scores, in f32 and as factors.
class Scratch {
 public:
  Scratch(const Turns& turns, Format factor, size_t partialBytes, std::byte* memory)
      : turns_(turns),
        factor_(factor),
        memory_(memory),
        used_(ceilDiv(partialBytes, size_t(64)) * 64) {}
  Operand take(Format format) {
    const Operand matrices =
        rowOperand(memory_ ? memory_ + used_ : nullptr, format, turns_.scores());
    used_ += ceilDiv(size_t(turns_.scores()) * formatBytes(format), size_t(64)) * 64;
    return matrices;
  }
  /// For what becomes of `scores` as a factor.
  Operand takeFactor(const Operand& scores) {
    return factor_ == Format::f32 ? scores : take(factor_);
  }
  size_t bytes() const { return used_; }

 private:
  const Turns& turns_;
  Format factor_;
  std::byte* memory_;
  size_t used_;
};

inline Matrix scoresOf(const Turns& t, const Turn& turn, const Operand& matrices) {
  return {matrices, turn.rows * t.ld, t.ld, true};
}
inline ScoreRows rowsOf(const Turns& t, const Turn& turn) {
  return {t.task(turn.loop, turn.member), t.taskStep(), turn.count, turn.row, turn.rows, t.ld};
}

/// Calls product(Multiply) for each product, and rows() where the rows of scores are ready.
template <class Product, class Rows>
void forwardTurn(const OpCall& call, const Turns& t, const Turn& turn, const Operand& scores,
                 const Operand& weights, Product&& product, Rows&& rows) {
  const AttentionProblem& p = t.p;
  const Matrix q = headsOf(t, turn, call.in[0], p.sq, turn.row);
  const Matrix k = headsOf(t, turn, call.in[1], p.sk), v = headsOf(t, turn, call.in[2], p.sk);
  const Matrix out = headsOf(t, turn, call.out[0], p.sq, turn.row);
  const Matrix s = scoresOf(t, turn, scores), w = scoresOf(t, turn, weights);
  product(Multiply{turn.count, turn.rows, p.sk, p.d, q, false, k, true, s});
  rows();
  product(Multiply{turn.count, turn.rows, p.d, p.sk, w, false, v, false, out});
}
template <class Product, class Rows>
void backwardTurn(const OpCall& call, const Turns& t, const Turn& turn, const Operand (&scores)[4],
                  Product&& product, Rows&& rows) {
  const AttentionProblem& p = t.p;
  const Matrix q = headsOf(t, turn, call.in[0], p.sq), k = headsOf(t, turn, call.in[1], p.sk);
  const Matrix v = headsOf(t, turn, call.in[2], p.sk), dout = headsOf(t, turn, call.in[5], p.sq);
  const Matrix dq = headsOf(t, turn, call.out[0], p.sq), dk = headsOf(t, turn, call.out[1], p.sk);
  const Matrix dv = headsOf(t, turn, call.out[2], p.sk);
  const Matrix s = scoresOf(t, turn, scores[0]), dw = scoresOf(t, turn, scores[1]);
  const Matrix w = scoresOf(t, turn, scores[2]), ds = scoresOf(t, turn, scores[3]);
  const auto multiply = [&](int64_t m, int64_t n, int64_t depth, const Matrix& a, bool transA,
                            const Matrix& b, bool transB, const Matrix& out) {
    product(Multiply{turn.count, m, n, depth, a, transA, b, transB, out});
  };
  multiply(p.sq, p.sk, p.d, q, false, k, true, s);
  multiply(p.sq, p.sk, p.d, dout, false, v, true, dw);
  rows();
  multiply(p.sk, p.d, p.sq, w, true, dout, false, dv);
  multiply(p.sq, p.d, p.sk, ds, false, k, false, dq);
  multiply(p.sk, p.d, p.sq, ds, true, q, false, dk);
}

template <class Products>
struct Kernels {
  static constexpr bool kHalf = Products::kHalf;

  static Format factorOf(const OpCall& call) { return kHalf ? call.in[0].format : Format::f32; }

  template <bool kGrad>
  static AttentionProblem problemOf(const OpCall& call) {
    if constexpr (kGrad) return AttentionProblem::of<AttentionGradParams>(call, 6);
    return AttentionProblem::of<AttentionParams>(call, 3);
  }

  /// Runs all turns of so many loops, or with nothing but `product` counts works.
  template <bool kGrad, class Product, class Rows>
  static size_t eachStep(const OpCall& call, int64_t loops, size_t partialBytes, std::byte* memory,
                         Product&& product, Rows&& rows) {
    const Turns turns = Turns::of(problemOf<kGrad>(call), kGrad);
    Scratch scratch(turns, factorOf(call), partialBytes, memory);
    const Operand scores = scratch.take(Format::f32);
    if constexpr (kGrad) {
      const Operand grads = scratch.take(Format::f32);
      const Operand all[4] = {scores, grads, scratch.takeFactor(scores), scratch.takeFactor(grads)};
      eachTurn(turns, loops ? loops : turns.loops, [&](const Turn& turn) {
        backwardTurn(call, turns, turn, all, product,
                     [&] { rows(turns.p, rowsOf(turns, turn), all); });
      });
    } else {
      const Operand all[2] = {scores, scratch.takeFactor(scores)};
      eachTurn(turns, loops ? loops : turns.loops, [&](const Turn& turn) {
        forwardTurn(call, turns, turn, all[0], all[1], product,
                    [&] { rows(turns.p, rowsOf(turns, turn), all); });
      });
    }
    return scratch.bytes();
  }

  template <bool kGrad>
  static size_t partialBytes(const OpCall& call) {
    size_t most = 0;
    eachStep<kGrad>(
        call, 1, 0, nullptr,
        [&](const Multiply& x) { most = std::max(most, Products::partialBytes(x)); },
        [](const auto&...) {});
    return most;
  }
  template <bool kGrad>
  static bool fits(const OpCall& call) {
    bool all = true;
    eachStep<kGrad>(
        call, 1, 0, nullptr, [&](const Multiply& x) { all = all && Products::fits(x); },
        [](const auto&...) {});
    return all;
  }

  template <bool kGrad>
  static int supports(const OpCall& call) {
    constexpr int kOperands = kGrad ? 6 : 3;
    // Lengths would have to keep products from values that do not count and may be NaN.
    if (call.inCount != kOperands || call.in[0].empty() || call.in[1].empty()) return -1;
    const Format format = call.in[0].format;
    if (format == Format::f64) return -1;
    if (kHalf && (format == Format::f32 || !allOf(call.in, 3, format) ||
                  (kGrad && call.in[5].format != format)))
      return -1;
    const Turns turns = Turns::of(problemOf<kGrad>(call), kGrad);
    if (!Products::takes(turns.p) || turns.rows * turns.ld > kMostScores || !fits<kGrad>(call))
      return -1;
    const int64_t d = turns.p.d;
    if (double(turns.scores()) * double(d) >= kLeastProduct &&
        d > (kGrad ? Products::kBackwardFrom : Products::kForwardFrom))
      return kGrad ? Products::kBackward : Products::kForward;
    return d > kMostSimtDim ? Products::kOfLittle : kOnRequest;
  }

  template <bool kGrad>
  static size_t scratch(const OpCall& call, int) {
    const auto nothing = [](const auto&...) {};
    const size_t steps =
        eachStep<kGrad>(call, 1, partialBytes<kGrad>(call), nullptr, nothing, nothing);
    return kGrad ? std::max(steps, mendGradBytes(call)) : steps;
  }

  template <bool kGrad>
  static void run(const OpCall& call, Context& context) {
    Launcher& launcher = launcherOf(context);
    eachStep<kGrad>(
        call, 0, partialBytes<kGrad>(call), launcher.scratch(),
        [&](const Multiply& x) { Products::run(x, launcher); },
        [&](const AttentionProblem& p, const ScoreRows& rows, const auto& scores) {
          if constexpr (kGrad)
            softmaxGradRows(p, rows, scores[0], scores[1], scores[2], scores[3], launcher);
          else
            softmaxRows(p, rows, scores[0], scores[1], call.out[1], launcher);
        });
    kGrad ? mendAttentionGrad(call, launcher) : mendAttention(call, launcher);
  }

  template <bool kGrad>
  static constexpr Variant variant(const char* name, Isa isa) {
    return {.op = kGrad ? "attentionGrad" : "attention",
            .name = name,
            .isa = isa,
            .supports = supports<kGrad>,
            .scratch = scratch<kGrad>,
            .run = run<kGrad>};
  }
};

}  // namespace figment::cuda::products
