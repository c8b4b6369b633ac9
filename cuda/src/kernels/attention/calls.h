// Attention's kernels as variants start them, by the files that have them. C++ may include this.
#pragma once

#include "any_floats.h"
#include "problem.h"

namespace figment::cuda {

/// In plain.cu and grad_plain.cu: every call.
void runPlainAttention(const OpCall& call, Launcher& launcher);
void runPlainAttentionGrad(const OpCall& call, Launcher& launcher);

/// Most head elements of the kernels of flash_simt.cu and flash_grad_simt.cu, which run the plain
/// ones where the device's shared memory does not hold their tiles.
constexpr int kMostSimtDim = 256;
void runFlashSimt(const OpCall& call, Launcher& launcher);
void runFlashSimtGrad(const OpCall& call, Launcher& launcher);

/// The instances of one format, T, each in a file of its own.
template <class T>
void runFlashMma(const OpCall& call, Launcher& launcher);
template <class T>
void runFlashGradMma(const OpCall& call, Launcher& launcher);
template <class T>
void runFlashWgmma(const OpCall& call, Launcher& launcher);
template <class T>
void runFlashGradWgmma(const OpCall& call, Launcher& launcher);

/// The preference of flash-mma for a call; negative where heads are larger or it cannot run.
int supportsFlashMma(const OpCall& call, int mostDim);

/// What calls that hide keys from queries do after all that writes results, or reads the scratch,
/// of which the derivative takes mendGradBytes; see mend.cu.
void mendAttention(const OpCall& call, Launcher& launcher);
void mendAttentionGrad(const OpCall& call, Launcher& launcher);
size_t mendGradBytes(const OpCall& call);

}  // namespace figment::cuda
