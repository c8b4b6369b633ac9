// Updates of many tensors in few launches, at the rate of memory: `Step` says what becomes of one
// element of each operand.
//
//   struct Step {
//     struct Inputs;                         // of the launch: scalars in memory, parameters
//     static constexpr int kReads, kWrites;  // operands of each tensor, and results
//     Step(const Inputs&);                   // in all threads of a block
//     void operator()(float (&x)[kReads]) const;
//   };
//
// The first result is the new value of operand 0, the next are those of operands 2, 3, …
#pragma once

#include "sweep.h"

namespace figment::cuda {

constexpr int kUpdateThreads = 256;
/// Fours of each operand that a thread loads before it computes.
constexpr int kUpdateVectors = 2;
constexpr int64_t kUpdateChunk = 4 * kUpdateVectors * kUpdateThreads;
/// On one multiprocessor: more would leave a thread too few registers.
constexpr int kUpdateBlocks = 3;

/// Whose new value result w is: operand 1, a gradient or a source, has none.
FIGMENT_BOTH constexpr int operandOf(int w) { return w == 0 ? 0 : w + 1; }

/// In place, results lie where their operands do, and the table has half as many arrays.
template <class Step, bool kInPlace>
using UpdateTable = SweepTable<float, kInPlace ? Step::kReads : Step::kReads + Step::kWrites>;

#ifdef FIGMENT_KERNELS

template <class Step>
FIGMENT_DEVICE void updateFour(const Step& step, float4 (&x)[Step::kReads]) {
  float element[4][Step::kReads];
  FIGMENT_UNROLL
  for (int g = 0; g < Step::kReads; g++) {
    element[0][g] = x[g].x;
    element[1][g] = x[g].y;
    element[2][g] = x[g].z;
    element[3][g] = x[g].w;
  }
  FIGMENT_UNROLL
  for (int k = 0; k < 4; k++) step(element[k]);
  FIGMENT_UNROLL
  for (int g = 0; g < Step::kReads; g++)
    x[g] = make_float4(element[0][g], element[1][g], element[2][g], element[3][g]);
}

template <class Step, bool kInPlace>
FIGMENT_KERNEL_OCCUPIED(kUpdateThreads, kUpdateBlocks)
updateKernel(FIGMENT_GRID_CONSTANT const UpdateTable<Step, kInPlace> table,
             typename Step::Inputs inputs) {
  constexpr int kReads = Step::kReads;
  const Step step(inputs);
  const auto group = [](int w) { return kInPlace ? operandOf(w) : kReads + w; };
  for (uint32_t chunk = blockIdx.x; chunk < table.chunks; chunk += gridDim.x) {
    const int t = table.tensorOf(chunk);
    const int64_t count = table.count[t];
    const int64_t first =
        int64_t(chunk - table.firstChunk[t]) * kUpdateChunk + 4 * int64_t(threadIdx.x);
    if (table.aligned) {
      float4 x[kUpdateVectors][kReads];
      FIGMENT_UNROLL
      for (int v = 0; v < kUpdateVectors; v++) {
        const int64_t i = first + 4 * kUpdateThreads * v;
        if (i + 4 > count) continue;
        FIGMENT_UNROLL
        for (int g = 0; g < kReads; g++) x[v][g] = table.at[g][t].template load<float4>(i);
      }
      FIGMENT_UNROLL
      for (int v = 0; v < kUpdateVectors; v++) {
        const int64_t i = first + 4 * kUpdateThreads * v;
        if (i + 4 > count) continue;
        updateFour(step, x[v]);
        FIGMENT_UNROLL
        for (int w = 0; w < Step::kWrites; w++)
          table.at[group(w)][t].template store<float4>(i, x[v][operandOf(w)]);
      }
    }
    // What is left of the tensor's last four, or everything.
    for (int v = 0; v < kUpdateVectors; v++) {
      const int64_t i = first + 4 * kUpdateThreads * v;
      if (table.aligned && i + 4 <= count) continue;
      for (int64_t j = i; j < i + 4 && j < count; j++) {
        float x[kReads];
        FIGMENT_UNROLL
        for (int g = 0; g < kReads; g++) x[g] = table.at[g][t][j];
        step(x);
        FIGMENT_UNROLL
        for (int w = 0; w < Step::kWrites; w++) table.at[group(w)][t][j] = x[operandOf(w)];
      }
    }
  }
}

#endif

template <class Step, bool kInPlace>
void launchUpdates(Launcher& launcher, const Operand* operands, const Operand* results, int count,
                   const typename Step::Inputs& inputs) {
  UpdateTable<Step, kInPlace> table;
  const auto flush = [&] {
    const int64_t most = int64_t(launcher.multiprocessors()) * kUpdateBlocks;
    const Grid grid = {table.chunks < most ? int64_t(table.chunks) : most};
    launch<updateKernel<Step, kInPlace>>(launcher, grid, kUpdateThreads, 0, table, inputs);
    table = {};
  };
  for (int t = 0; t < count; t++) {
    if (operands[t].empty()) continue;
    constexpr int kGroups = kInPlace ? Step::kReads : Step::kReads + Step::kWrites;
    const Operand* arrays[kGroups];
    for (int g = 0; g < kGroups; g++)
      arrays[g] =
          g < Step::kReads ? &operands[g * count + t] : &results[(g - Step::kReads) * count + t];
    table.add(arrays, t, kUpdateChunk);
    if (table.full()) flush();
  }
  if (table.tensors > 0) flush();
}

/// `operands` and `results` are in groups of `count` tensors.
template <class Step>
void updateAll(Launcher& launcher, const Operand* operands, const Operand* results, int count,
               const typename Step::Inputs& inputs) {
  bool inPlace = true;
  for (int w = 0; w < Step::kWrites; w++)
    for (int t = 0; t < count; t++)
      if (results[w * count + t].data != operands[operandOf(w) * count + t].data) inPlace = false;
  (inPlace ? launchUpdates<Step, true> : launchUpdates<Step, false>)(launcher, operands, results,
                                                                     count, inputs);
}

inline int supportsF32(const OpCall& call) { return call.in[0].format == Format::f32 ? 20 : -1; }

}  // namespace figment::cuda
