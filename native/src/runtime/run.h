// One execution of a program, inline or queued: what it works on, and what becomes of its buffers
// when it fails.
#pragma once

#include "device.h"

namespace figment {

/// Pointers borrowed from whoever asks for the run.
struct RunRequest {
  LoadedProgram* program;
  Binding* binding;       ///< null when the program has no state
  Buffer* const* inputs;  ///< null where the input is a number of `numbers`
  Buffer* const* outputs;
  /// One for each input, of which it may be the first bytes; null when no input is one.
  const double* numbers;
  CancelToken* cancel;  ///< may be null
  Client* client;
};

/// Programs predicted to take less stay on one thread, and run at once when the queue is idle.
constexpr double kInlineMicros = 20;

/// Runs now if the program is small and its device's queue idle; otherwise queues a job that shares
/// all it needs. Throws only what submitting can throw: failures of the run itself are stored in
/// its outputs and remembered by the client.
void submitRun(const RunRequest& request);

}  // namespace figment
