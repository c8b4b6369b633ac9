// How a moving average moves toward its source, for updates of many tensors.
#pragma once

#include "update.h"

namespace figment::cuda {

struct EmaStep {
  struct Inputs {
    Global<const float> decay;
  };
  static constexpr int kReads = 2, kWrites = 1;

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE explicit EmaStep(const Inputs& in)
      : decay(in.decay[0]), rest(float(1 - double(decay))) {}
  FIGMENT_DEVICE void operator()(float (&x)[kReads]) const {
    x[0] = __fmaf_rn(rest, x[1], __fmul_rn(decay, x[0]));
  }
#endif

  float decay, rest;
};

}  // namespace figment::cuda
