// addNoise and samplerStep for AVX2.
#include "add_noise.inl.h"
#include "sampler_step.inl.h"
