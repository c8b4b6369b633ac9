// What every kernel of attention works on: operands [b,s,h,d] and which keys a query sees.
#pragma once

#include "../../device/launch.h"
#include "kernels/params/attention.generated.h"
#include "kernels/params/attentionGrad.generated.h"

namespace figment::cuda {

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;
/// Scores are multiplied and shifted with one rounding up to this shift, in units of log 2, whose
/// own is 2^-12 there. Beyond, differences of products are multiplied, which takes an operation
/// more.
constexpr float kFarShift = 4096;

struct AttentionProblem {
  int64_t b, h, sq, sk, d;
  int causal;
  double scale;
  Global<const int32_t> lengths;  ///< null: all keys of every batch entry count

  template <class Params>
  static AttentionProblem of(const OpCall& call, int lengthsAt) {
    const auto& p = call.as<Params>();
    return {p.b,
            p.h,
            p.sq,
            p.sk,
            p.d,
            p.causal,
            p.scale,
            call.inCount > lengthsAt ? viewOf<const int32_t>(call.in[lengthsAt])
                                     : Global<const int32_t>()};
  }

  int64_t heads() const { return b * h; }
  /// Whether some keys may be hidden from some queries.
  FIGMENT_BOTH bool hides() const { return causal || lengths; }
  /// Elements between positions.
  FIGMENT_BOTH int64_t rowStride() const { return h * d; }
  /// The first element of a head at position 0; `task` counts heads of all batch entries.
  FIGMENT_BOTH int64_t headStart(int64_t task, int64_t length) const {
    return task / h * length * h * d + task % h * d;
  }
#ifdef FIGMENT_KERNELS
  /// Keys of a batch entry that count.
  FIGMENT_DEVICE int64_t keysOf(int64_t batch) const {
    if (!lengths) return sk;
    const int64_t length = lengths[batch];
    return length < 0 ? 0 : length > sk ? sk : length;
  }
  /// Of `keys` that count, those that query i sees.
  FIGMENT_DEVICE int64_t visible(int64_t keys, int64_t i) const {
    if (!causal) return keys;
    const int64_t seen = i + 1 + keys - sq;
    return seen < 0 ? 0 : seen > keys ? keys : seen;
  }
  /// The first query that sees key j; sq when none does.
  FIGMENT_DEVICE int64_t firstQuery(int64_t keys, int64_t j) const {
    if (j >= keys) return sq;
    const int64_t first = causal ? j + sq - keys : 0;
    return first < 0 ? 0 : first;
  }
#endif
};

/// Whether `count` operands are all of one format.
inline bool allOf(const Operand* operands, int count, Format format) {
  for (int i = 0; i < count; i++)
    if (operands[i].format != format) return false;
  return true;
}

}  // namespace figment::cuda
