// Reads recorded calls and makes them again.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "record.h"
#include "runtime/cpu_device.h"

namespace figment::replay {

struct Totals {
  long calls = 0;
  long same = 0;   ///< with the same bits in all that they wrote
  long close = 0;  ///< with other bits, within the bound
  long failedAlike = 0;
  long refusedAlike = 0;
  long different = 0;
  double worst = 0;                ///< of those that are close, in units of the bound
  std::set<std::string> kernels;   ///< "op variant" of all that ran
  std::set<std::string> rounding;  ///< those of calls that are close
};

class Replayer {
 public:
  explicit Replayer(Totals& totals);
  /// All calls of a file. Throws std::runtime_error when it is no file of calls.
  void replay(const char* path);

 private:
  /// What is wrong with the call made here; "" when nothing is.
  std::string differenceOf(const Call& call);
  std::string run(const Call& call, Program& program, CpuDevice& device);
  std::string compareAll(const Call& call, const Program& program,
                         const std::vector<void*>& outputs, const std::vector<void*>& states);

  Totals& totals_;
  CpuDevice alone_;
  CpuDevice shared_;
};

}  // namespace figment::replay
