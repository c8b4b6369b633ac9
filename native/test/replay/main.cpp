// replay FILE…: makes the calls that record.cjs wrote on another processor, on one thread and on
// three, and compares what they leave behind. Bits may differ by a few roundings: where a processor
// fuses multiply-adds, kernels that may do either fuse them, and references take exponentials from
// the C library. Ends with a summary; 1 when something differs by more.

#include <cstdio>
#include <exception>

#include "kernels/registry.h"
#include "replay.h"

using namespace figment;

namespace {

void report(const replay::Totals& totals) {
  int all = 0;
  for (const RegisteredOp* op : registeredOps()) {
    for (const RegisteredVariant& variant : op->variants) {
      all++;
      const std::string name = std::string(op->spec.name) + " " + variant.name;
      if (!totals.kernels.count(name)) std::printf("never run: %s\n", name.c_str());
    }
  }
  std::printf("%zu of %d kernels ran, %zu of them in calls that were rounded otherwise\n",
              totals.kernels.size(), all, totals.rounding.size());
  std::printf("%ld calls: %ld left the same bits, %ld were within %.3f of the bound, ",
              totals.calls, totals.same, totals.close, totals.worst);
  std::printf("%ld failed alike, %ld programs were refused alike; %ld differ\n", totals.failedAlike,
              totals.refusedAlike, totals.different);
}

}  // namespace

int main(int count, char** files) {
  try {
    replay::Totals totals;
    // Never destroyed, as devices are: their threads wait for work until the process ends.
    replay::Replayer& replayer = *new replay::Replayer(totals);
    for (int i = 1; i < count; i++) replayer.replay(files[i]);
    report(totals);
    return totals.calls > 0 && totals.different == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
