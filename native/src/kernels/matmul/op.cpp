// matmul: out[b] = activation(scale ⊙ op(A[b]) · op(B[b]) + bias) + addend[b], with either factor
// transposed and either batch dimension broadcast; of n columns, GEGLU leaves n / 2. This file
// holds the rules of the operation; see reference.cpp for its meaning and packed.inl.h for the fast
// kernels.
#include "../op_spec.h"
#include "kernels/gemm/activation.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/precision.h"
#include "kernels/kernel.h"
#include "kernels/params/matmul.generated.h"
#include "kernels/widened.h"

namespace figment {
namespace {

std::string checkFactor(const char* name, const Operand& operand, int64_t batch, int64_t rows,
                        int64_t cols, int64_t batchStride) {
  if (operand.rank != 3) return std::string("matmul: ") + name + " must have rank 3";
  if (operand.dims[0] != batch && operand.dims[0] != 1)
    return std::string("matmul: ") + name + " has a batch that does not broadcast";
  if (operand.dims[1] != rows || operand.dims[2] != cols)
    return std::string("matmul: ") + name + " does not have the shape its parameters say";
  int64_t matrix = 0;
  if (__builtin_mul_overflow(rows, cols, &matrix))
    return std::string("matmul: ") + name + " is too large";
  const bool single = operand.dims[0] == 1;
  const bool strideOk =
      batch == 1 ? batchStride == 0 || batchStride == matrix : batchStride == (single ? 0 : matrix);
  if (!strideOk) return std::string("matmul: wrong batch stride for ") + name;
  if (!operand.contiguous()) return std::string("matmul: ") + name + " must be contiguous";
  return "";
}

std::string check(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  if (const char* flag = epilogueProblem(p)) return std::string("matmul: ") + flag;
  if (p.transA != 0 && p.transA != 1) return "matmul: transA must be 0 or 1";
  if (p.transB != 0 && p.transB != 1) return "matmul: transB must be 0 or 1";
  if (p.precision < 0 || p.precision > kLastPrecision) return "matmul: unknown precision";
  if (p.activation < 0 || p.activation > kLastOfMatmul) return "matmul: unknown activation";
  if (p.activation == kGeglu && p.n % 2 != 0)
    return "matmul: an odd number of columns has no halves";
  if (p.activation == kGeglu && (p.scale || p.addend))
    return "matmul: gated columns are neither scaled nor added to";
  const auto epilogue = EpilogueOperands::of<MatmulParams>(call);
  if (call.inCount != 2 + epilogue.count() || call.outCount != 1)
    return "matmul: wrong number of operands";
  std::string problem = floatFormatProblem(call, call.inCount);
  if (!problem.empty()) return "matmul: " + problem;
  if (p.batch < 0 || p.m < 0 || p.n < 0 || p.k < 0) return "matmul: negative dimension";

  problem = checkFactor("a", call.in[0], p.batch, p.transA ? p.k : p.m, p.transA ? p.m : p.k,
                        p.batchStrideA);
  if (problem.empty())
    problem = checkFactor("b", call.in[1], p.batch, p.transB ? p.n : p.k, p.transB ? p.k : p.n,
                          p.batchStrideB);
  if (!problem.empty()) return problem;
  for (int i = 2; i < call.inCount; i++)
    if (!call.in[i].contiguous()) return "matmul: operands must be contiguous";
  if (epilogue.scale && !scalesColumns(*epilogue.scale, p.n))
    return "matmul: scale must have shape [n] or [1]";
  if (epilogue.bias && !epilogue.bias->hasShape({p.n})) return "matmul: bias must have shape [n]";
  int64_t matrix = 0;
  if (__builtin_mul_overflow(p.m, p.n, &matrix)) return "matmul: out is too large";
  if (!call.out[0].hasShape({p.batch, p.m, resultColumns(p.n, p.activation)}))
    return "matmul: out must be [batch, m, n]";
  if (!call.out[0].contiguous()) return "matmul: out must be contiguous";
  if (epilogue.addend && !epilogue.addend->hasShape({p.batch, p.m, p.n}))
    return "matmul: addend must be [batch, m, n]";
  return "";
}

Cost cost(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  return {2.0 * double(p.batch) * double(p.m) * double(p.n) * double(p.k), operandBytes(call)};
}

const RegisterOp registration{specOf<MatmulParams>("matmul", check, neverAliases, cost)};

}  // namespace
}  // namespace figment
