// What became of a run, on any kind of device.
#pragma once

#include <string>

namespace figment {

enum class RunOutcome { done, aborted, failed, failedInCommit };

struct RunResult {
  RunOutcome outcome = RunOutcome::done;
  std::string code;
  std::string message;
};

}  // namespace figment
