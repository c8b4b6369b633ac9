// addNoise and samplerStep for AVX-512.
#include "add_noise.inl.h"
#include "sampler_step.inl.h"
