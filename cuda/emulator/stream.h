// Work on an emulated stream.
#pragma once

#include <functional>

namespace figment::cuda::emulator {

/// Runs the work now, or notes it when the stream is being captured.
void queue(void* stream, std::function<void()> work);

}  // namespace figment::cuda::emulator
