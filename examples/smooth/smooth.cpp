// A kernel library with one operation: exponential smoothing along rows,
//
//   y[t] = decay · y[t−1] + (1 − decay) · x[t],   y[−1] = 0,
//
// or, reversed, from the end to the start. A recurrence, so no composition of elementwise
// operations gives it in one pass. Build it with one command (see README.md).
#include <cstdio>
#include <initializer_list>

#include "figment/kernels.h"

namespace {

// The struct that smooth.ts declares with nativeSchema; fields in the same order.
struct SmoothParams {
  int64_t rows;
  int64_t cols;
  double decay;
  int32_t reverse;
  int32_t padding;
};

// nativeSchema(…).hash, which names the struct: programs made for another one are refused.
constexpr uint64_t kSchemaHash = 0x7d516357741fdb91ull;

const SmoothParams& paramsOf(const FigmentCall* call) {
  return *static_cast<const SmoothParams*>(call->params);
}

int32_t refuse(char* problem, size_t capacity, const char* what) {
  std::snprintf(problem, capacity, "%s", what);
  return 1;
}

// What run() relies on: one input and one output of the same float format, [rows, cols],
// contiguous.
int32_t check(const FigmentCall* call, char* problem, size_t capacity) {
  if (call->in_count != 1 || call->out_count != 1)
    return refuse(problem, capacity, "expected one input and one output");
  const SmoothParams& params = paramsOf(call);
  for (const FigmentOperand& operand : {call->in[0], call->out[0]}) {
    if (operand.format != call->in[0].format ||
        (operand.format != FIGMENT_F32 && operand.format != FIGMENT_F64))
      return refuse(problem, capacity, "operands must be f32, or f64");
    if (operand.rank != 2 || operand.dims[0] != params.rows || operand.dims[1] != params.cols)
      return refuse(problem, capacity, "operands must be [rows, cols]");
    if (operand.strides[1] != 1 || operand.strides[0] != params.cols)
      return refuse(problem, capacity, "operands must be contiguous");
  }
  return 0;
}

// Each element is read before it is written, so the result may overwrite the input.
int32_t mayAlias(const FigmentCall*, int32_t, int32_t) { return 1; }

void cost(const FigmentCall* call, double* flops, double* bytes) {
  const double elements = double(paramsOf(call).rows) * double(paramsOf(call).cols);
  *flops = 3 * elements;
  *bytes = 2 * elements * (call->in[0].format == FIGMENT_F32 ? 4 : 8);
}

int32_t supports(const FigmentCall*) { return 0; }

template <class T>
struct Rows {
  const T* x;
  T* y;
  SmoothParams params;

  static void smooth(void* closure, int64_t begin, int64_t end, int32_t) {
    const Rows& rows = *static_cast<Rows*>(closure);
    const int64_t cols = rows.params.cols;
    const T decay = T(rows.params.decay);
    for (int64_t r = begin; r < end; r++) {
      T state = 0;
      for (int64_t i = 0; i < cols; i++) {
        const int64_t at = r * cols + (rows.params.reverse ? cols - 1 - i : i);
        state = decay * state + (1 - decay) * rows.x[at];
        rows.y[at] = state;
      }
    }
  }
};

template <class T>
void runAs(const FigmentCall* call, const FigmentKernelContext* context) {
  Rows<T> rows = {static_cast<const T*>(call->in[0].data), static_cast<T*>(call->out[0].data),
                  paramsOf(call)};
  // Rows are independent, so who computes which changes nothing.
  context->parallel(context, rows.params.rows, 8, Rows<T>::smooth, &rows);
}

void run(const FigmentCall* call, const FigmentKernelContext* context) {
  call->in[0].format == FIGMENT_F32 ? runAs<float>(call, context) : runAs<double>(call, context);
}

const FigmentKernelOp kOp = {"smooth", kSchemaHash, sizeof(SmoothParams), 0, check, mayAlias, cost};
const FigmentKernelVariant kVariant = {"smooth", "reference", FIGMENT_GENERIC,
                                       supports, nullptr,     run};
const FigmentKernelLibrary kLibrary = {
    sizeof(FigmentKernelLibrary), FIGMENT_KERNELS_ABI_VERSION, "smooth", 1, &kOp, 1, &kVariant};

}  // namespace

extern "C" FIGMENT_KERNELS_EXPORT const FigmentKernelLibrary* figment_kernels(uint32_t,
                                                                              const char**) {
  return &kLibrary;
}
