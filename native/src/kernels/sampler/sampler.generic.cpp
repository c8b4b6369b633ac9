// addNoise and samplerStep for any machine.
#include "add_noise.inl.h"
#include "sampler_step.inl.h"
