// matmul as the work of the kernels in ../gemm: a · bᵀ is a convolution of 1 × 1 taps over an image
// of one row of pixels, a · b its input gradient, aᵀ · b its weight gradient.
#pragma once

#include "../gemm/work.h"
#include "kernels/params/matmul.generated.h"

namespace figment::cuda {

/// `unit` elements make a vector of 16 bytes.
inline Work workOf(const MatmulParams& p, int unit) {
  Work work;
  const int32_t m = narrowTo32(work, p.m), n = narrowTo32(work, p.n), k = narrowTo32(work, p.k);
  Product& product = work.product;
  product.columns = n;
  product.groups = narrowTo32(work, p.batch);
  product.mostRows = m;
  product.outGroup = p.m * p.n;
  product.outColumn = p.n;
  Phase& phase = product.phase[0];
  phase.rows = m;
  phase.depth = k;
  // Pixels are rows, or the depth where both factors go across it.
  const int32_t pixels = p.transA ? k : m;
  phase.area = phase.width = divisorOf(work, pixels);
  phase.tapsX = Divisor(1);

  const auto window = [&](int64_t batchStride, int32_t channels) {
    work.window.groupStep = batchStride;
    work.window.columnStep = channels;
    work.window.width = pixels;
    work.window.channels = divisorOf(work, channels);
    work.window.aligned = channels % unit == 0;
  };
  const auto matrix = [&] { work.matrix = {p.batchStrideB, p.k, k % unit == 0}; };
  const auto taps = [&](int64_t batchStride, int32_t across) {
    work.taps.groupStep = batchStride;
    work.taps.channelStep = across;
    work.taps.channels = divisorOf(work, k);
    work.taps.aligned = across % unit == 0;
  };
  if (p.transA) {
    taps(p.batchStrideA, m);
    if (p.transB) {
      matrix();
      work.layout = Layout::transposed;
    } else {
      window(p.batchStrideB, n);
      work.layout = Layout::weights;
    }
  } else {
    window(p.batchStrideA, k);
    if (p.transB) {
      matrix();
      work.layout = Layout::forward;
    } else {
      taps(p.batchStrideB, n);
      work.layout = Layout::backward;
    }
  }
  return work;
}

}  // namespace figment::cuda
