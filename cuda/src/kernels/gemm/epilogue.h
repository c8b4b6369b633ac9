// What becomes of a sum of products before it is stored: a scale and a bias by column, an
// activation, a number that is added, and the result's format. A kernel argument of every variant
// of matmul and the convolutions.
#pragma once

#include "../../device/four.h"
#include "../../device/functions.h"
#include "floats.h"
#include "kernels/gemm/activation.h"
#include "kernels/gemm/epilogue.h"

namespace figment::cuda {

/// `elements` side by side: partial sums, or factors that are made before they are multiplied.
inline Operand rowOperand(void* data, Format format, int64_t elements) {
  Operand row;
  row.format = format;
  row.rank = 1;
  row.dims[0] = elements;
  row.strides[0] = 1;
  row.data = data;
  return row;
}

template <class Sum>
FIGMENT_DEVICE Sum activated(Sum x, int32_t activation) {
  if (activation == kSilu) return x / (Sum(1) + exp(-x));
  if (activation == kRelu) return x < Sum(0) ? Sum(0) : x;
  return x;
}

/// All of it but where results go.
template <class Sum>
struct Finishing {
  Floats<Sum> scale, bias, addend;            ///< an addend lies as the result does
  int32_t scaled = 0, biased = 0, added = 0;  ///< which of them there are
  int32_t scaleStep = 0;                      ///< from one column to the next
  int32_t activation = kNoActivation;

  /// Of a product's or convolution's call.
  template <class P>
  static Finishing of(const OpCall& call) {
    Finishing f;
    const auto operands = EpilogueOperands::of<P>(call);
    f.activation = call.as<P>().activation;
    if (operands.scale) {
      f.scaled = 1;
      f.scaleStep = columnStepOf(*operands.scale);
      f.scale = Floats<Sum>(*operands.scale);
    }
    if (operands.bias) {
      f.biased = 1;
      f.bias = Floats<Sum>(*operands.bias);
    }
    if (operands.addend) {
      f.added = 1;
      f.addend = Floats<Sum>(*operands.addend);
    }
    return f;
  }

  /// A sum of this column, scaled and with its bias.
  FIGMENT_DEVICE Sum shifted(Sum sum, int64_t column) const {
    if (scaled) sum *= scale[column * scaleStep];
    if (biased) sum += bias[column];
    return sum;
  }
};

template <class Sum>
struct Epilogue : Finishing<Sum> {
  using Finishing<Sum>::addend, Finishing<Sum>::added;

  FloatResults<Sum> out;
  int32_t aligned = 0;  ///< result and addend begin at multiples of 16 bytes
  /// They do, and rows begin and end at multiples of eight: the host that knows them sets it.
  int32_t octets = 0;

  Epilogue() = default;
  explicit Epilogue(const Operand& result) : out(result), aligned(startsAligned(result)) {}
  /// Of a product's or convolution's call.
  template <class P>
  static Epilogue of(const OpCall& call) {
    Epilogue e(call.out[0]);
    static_cast<Finishing<Sum>&>(e) = Finishing<Sum>::template of<P>(call);
    const Operand* addend = EpilogueOperands::of<P>(call).addend;
    e.aligned = e.aligned && (!addend || startsAligned(*addend));
    return e;
  }

  /// The number to be stored of a sum in this column.
  FIGMENT_DEVICE Sum finish(Sum sum, int64_t column) const {
    return activated(this->shifted(sum, column), this->activation);
  }
  FIGMENT_DEVICE void store(int64_t at, int64_t column, Sum sum) const {
    sum = finish(sum, column);
    out.store(at, added ? sum + addend[at] : sum);
  }
  /// One sum of each half.
  FIGMENT_DEVICE void storeGated(int64_t at, int64_t columnU, Sum u, int64_t columnV, Sum v) const {
    u = finish(u, columnU);
    v = finish(v, columnV);
    out.store(at, u * (v * Sum(0.5) * (errorFunction(v * Sum(0.7071067811865476)) + Sum(1))));
  }
  /// Eight columns from `column` on; only where `octets` is set.
  FIGMENT_DEVICE void storeOctet(int64_t at, int64_t column, const float4& low,
                                 const float4& high) const {
    float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    FIGMENT_UNROLL
    for (int i = 0; i < 8; i++) x[i] = finish(x[i], column + i);
    if (added) {
      float more[8];
      addend.eight(at, more);
      FIGMENT_UNROLL
      for (int i = 0; i < 8; i++) x[i] += more[i];
    }
    out.storeOctet(at, x);
  }
};

}  // namespace figment::cuda
