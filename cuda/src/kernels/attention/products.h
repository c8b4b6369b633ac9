// Attention by the products of ../gemm, with matrices of scores in scratch: for heads that the
// kernels that keep scores in registers do not take, or only on units that are slower.
#pragma once

#include "problem.h"

namespace figment::cuda::products {

/// How heads are computed together: in each of `loops` turns, up to `groups` of `members` that lie
/// evenly spaced, those of one position in all batch entries or all of one entry; and of each of
/// them up to `rows` queries. In scratch rows of scores are `ld` elements apart.
struct Turns {
  AttentionProblem p;
  int64_t loops, members, groups, rows, ld;

  /// `wholeHeads`: all queries of a head at once.
  static Turns of(const AttentionProblem& p, bool wholeHeads);

  bool byHeads() const { return p.h >= p.b; }
  /// The head, counted over all batch entries, of a member of a turn.
  int64_t task(int64_t loop, int64_t member) const {
    return byHeads() ? loop * p.h + member : member * p.h + loop;
  }
  int64_t taskStep() const { return byHeads() ? 1 : p.h; }
  /// Elements between members of operands of so many positions.
  int64_t memberStep(int64_t length) const { return byHeads() ? p.d : length * p.rowStride(); }
  /// Scores that lie in scratch at once.
  int64_t scores() const { return groups * rows * ld; }
};

/// A matrix for each group: rows and groups so many elements apart. With `padded`, whole vectors of
/// a row may be read: what follows its elements are zeros, or make rows that nobody stores.
struct Matrix {
  Operand operand;
  int64_t group, row;
  bool padded = false;
};

/// out[m,n] = a[m,k] · b[k,n] of each group. With `transA` a's rows go along m, with `transB` b's
/// along k.
struct Multiply {
  int64_t groups, m, n, k;
  Matrix a;
  bool transA;
  Matrix b;
  bool transB;
  Matrix out;
};

/// The kernels of products that stand on tensor cores of sm_80, for factors of one 16-bit format;
/// partial sums lie at the beginning of the scratch.
struct MmaProducts {
  static constexpr bool kHalf = true;  ///< whether factors have one 16-bit format
  /// The preference of calls that pay and of heads wider than so much; of heads that only "plain"
  /// takes as well, in calls that do not pay.
  static constexpr int kForward = 18, kBackward = 18, kForwardFrom = 128, kBackwardFrom = 128;
  static constexpr int kOfLittle = 6;
  static bool takes(const AttentionProblem&) { return true; }
  static bool fits(const Multiply& product);
  static size_t partialBytes(const Multiply& product);
  static void run(const Multiply& product, Launcher& launcher);
};

/// The rows of scores that a kernel works on: of `count` heads the first of which is `task`, from
/// query `firstRow` on `rows` of each.
struct ScoreRows {
  int64_t task, taskStep, count, firstRow, rows, ld;
};

/// Scores become weights, in memory of their own or in place, with zeros up to ld; lse is written.
void softmaxRows(const AttentionProblem& p, const ScoreRows& rows, const Operand& scores,
                 const Operand& weights, const Operand& lse, Launcher& launcher);
/// Scores and derivatives by weights become weights and derivatives by the products q·k, in memory
/// of their own or in place.
void softmaxGradRows(const AttentionProblem& p, const ScoreRows& rows, const Operand& scores,
                     const Operand& weightGrads, const Operand& weights, const Operand& scoreGrads,
                     Launcher& launcher);

}  // namespace figment::cuda::products
