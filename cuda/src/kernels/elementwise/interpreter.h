// The interpreter, for kernels that leave calls to it.
#pragma once

#include "../../runtime/launcher.h"
#include "code.h"

namespace figment::cuda::elementwise {

/// Of a call that is not empty.
void interpret(const OpCall& call, const Code& code, Launcher& launcher);

}  // namespace figment::cuda::elementwise
