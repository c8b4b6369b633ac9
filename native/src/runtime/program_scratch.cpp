// How much scratch a program's kernels need, asked of them once for each number of threads.
#include <algorithm>
#include <atomic>
#include <string>

#include "error.h"
#include "program.h"

namespace figment {
namespace {

constexpr int kScratchBits = 48;
/// Most scratch of one record; what a kernel asks beyond it is a mistake. Sums with an arena's size
/// stay far below 2^64.
constexpr uint64_t kLargestScratch = uint64_t(1) << 46;
constexpr uint64_t scratchOf(uint64_t packed) {
  return packed & ((uint64_t(1) << kScratchBits) - 1);
}

}  // namespace

uint64_t Program::scratchBytes(int threads) {
  std::atomic<uint64_t>& remembered = threads == 1 ? serialScratch_ : sharedScratch_;
  const uint64_t known = remembered.load(std::memory_order_relaxed);
  if (known >> kScratchBits == uint64_t(threads)) return scratchOf(known);
  uint64_t bytes = 0;
  for (const ProgramRecord& record : records) {
    const RegisteredVariant* variant = record.choice.variant;
    if (!variant || !variant->scratch) continue;
    const uint64_t wanted = variant->scratch(record.call, threads);
    if (wanted > kLargestScratch)
      throw Error(code::kLibrary, std::string("the kernel ") + record.variantName() + " of " +
                                      record.opName() + " asks for " + std::to_string(wanted) +
                                      " bytes of scratch; expected at most " +
                                      std::to_string(kLargestScratch));
    bytes = std::max(bytes, wanted);
  }
  remembered.store(uint64_t(threads) << kScratchBits | bytes, std::memory_order_relaxed);
  return bytes;
}

uint64_t Program::knownScratchBytes() const {
  return std::max(scratchOf(serialScratch_.load(std::memory_order_relaxed)),
                  scratchOf(sharedScratch_.load(std::memory_order_relaxed)));
}

}  // namespace figment
