// A chain of f32 operations on one running value, which stays in registers for several vectors
// from the first operation to the last: what the others read is loaded, constants are broadcast,
// and nothing between is stored. Included by blocks.inl.h.
#pragma once

#include "../simd/vec.h"
#include "blocks.h"

namespace figment::FIGMENT_ISA {
namespace {

using elementwise::Link;
using elementwise::LinkOp;

/// t[v] = f(t[v], other) for V whole vectors, or the first `count` elements of one.
template <int V, class F>
FIGMENT_INLINE void eachVector(F32 (&t)[V], const Link& link, const float* other, int count, F f) {
  if (link.repeats) {
    const F32 c = F32::broadcast(*other);
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) t[v] = f(t[v], c);
  } else if (count == V * kLanes) {
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) t[v] = f(t[v], F32::load(other + v * kLanes));
  } else {
    t[0] = f(t[0], F32::loadPartial(other, count));
  }
}

/// The running values of elements [first, first + count) go through all links.
template <int V>
FIGMENT_INLINE void runLinks(F32 (&t)[V], const Link* links, int linkCount, void* const* slots,
                             int first, int count) {
  for (int l = 0; l < linkCount; l++) {
    const Link& link = links[l];
    const float* other = nullptr;
    if (link.other >= 0)
      other = static_cast<const float*>(slots[link.other]) + (link.repeats ? 0 : first);
    const auto with = [&](auto f) { eachVector<V>(t, link, other, count, f); };
    const auto alone = [&](auto f) {
#pragma GCC unroll 16
      for (int v = 0; v < V; v++) t[v] = f(t[v]);
    };
    switch (link.op) {
      case LinkOp::kAdd:
        with([](F32 a, F32 b) { return a + b; });
        break;
      case LinkOp::kSub:
        with([](F32 a, F32 b) { return a - b; });
        break;
      case LinkOp::kReverseSub:
        with([](F32 a, F32 b) { return b - a; });
        break;
      case LinkOp::kMul:
        with([](F32 a, F32 b) { return a * b; });
        break;
      case LinkOp::kDiv:
        with([](F32 a, F32 b) { return a / b; });
        break;
      case LinkOp::kReverseDiv:
        with([](F32 a, F32 b) { return b / a; });
        break;
      case LinkOp::kMaximum:
        with([](F32 a, F32 b) { return maximum(a, b); });
        break;
      case LinkOp::kMinimum:
        with([](F32 a, F32 b) { return minimum(a, b); });
        break;
      case LinkOp::kNeg:
        alone([](F32 a) { return -a; });
        break;
      case LinkOp::kAbs:
        alone([](F32 a) { return abs(a); });
        break;
      case LinkOp::kSquare:
        alone([](F32 a) { return a * a; });
        break;
      case LinkOp::kSqrt:
        alone([](F32 a) { return sqrt(a); });
        break;
    }
  }
}

/// As many whole runs of V vectors as there are from element `first` on; answers where they end.
template <int V>
FIGMENT_INLINE int wholeRuns(float* to, const float* from, const Link* links, int linkCount,
                             void* const* slots, int first, int count, bool past) {
  for (; first + V * kLanes <= count; first += V * kLanes) {
    F32 t[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) t[v] = F32::load(from + first + v * kLanes);
    runLinks(t, links, linkCount, slots, first, V * kLanes);
    if (past) {
#pragma GCC unroll 16
      for (int v = 0; v < V; v++) t[v].stream(to + first + v * kLanes);
    } else {
#pragma GCC unroll 16
      for (int v = 0; v < V; v++) t[v].store(to + first + v * kLanes);
    }
  }
  return first;
}

void chain(void* dst, const void* a, const Link* links, int linkCount, void* const* slots,
           int count, bool stream) {
  constexpr uintptr_t kLine = 64;
  const bool past = stream && reinterpret_cast<uintptr_t>(dst) % kLine == 0;
  // Choosing an operation takes as long as some 16 vectors of it, which leave as many registers.
  constexpr int kMany = FIGMENT_LEVEL == 2 ? 16 : 8, kFew = 4;
  const float* from = static_cast<const float*>(a);
  float* to = static_cast<float*>(dst);
  int i = wholeRuns<kMany>(to, from, links, linkCount, slots, 0, count, past);
  i = wholeRuns<kFew>(to, from, links, linkCount, slots, i, count, past);
  for (; i < count; i += kLanes) {
    const int rest = count - i < kLanes ? count - i : kLanes;
    F32 t[1] = {F32::loadPartial(from + i, rest)};
    runLinks(t, links, linkCount, slots, i, rest);
    t[0].storePartial(to + i, rest);
  }
}

}  // namespace
}  // namespace figment::FIGMENT_ISA
