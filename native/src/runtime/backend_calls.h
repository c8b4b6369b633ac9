// What the C functions of every backend have in common: errors of the calling thread, descriptions
// of programs and of what was chosen for them, the registry, timings. A backend adds memory and
// runs.
#pragma once

#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "allocator.h"
#include "error.h"
#include "figment/backend.h"
#include "program.h"
#include "run_result.h"
#include "timeline.h"

namespace figment {

/// Notes the calling thread's last error and answers the status.
FigmentStatus report(FigmentStatus status, std::string code, std::string message);
FigmentStatus report(const RunResult& result);

/// Calls `f`, which answers a status; exceptions end here.
template <class F>
FigmentStatus guarded(F&& f) noexcept {
  try {
    return f();
  } catch (const Error& error) {
    const bool memory = error.code() == code::kOutOfMemory;
    return report(memory ? FIGMENT_OUT_OF_MEMORY : FIGMENT_FAILED, error.code(), error.message());
  } catch (const std::bad_alloc&) {
    return report(FIGMENT_OUT_OF_MEMORY, code::kOutOfMemory, "out of memory");
  } catch (const std::exception& error) {
    return report(FIGMENT_FAILED, code::kDevice, error.what());
  }
}

/// A verified program with the descriptions that callers of a backend keep pointers into.
struct DescribedProgram {
  explicit DescribedProgram(std::unique_ptr<Program> verified);

  std::unique_ptr<Program> program;
  std::vector<FigmentRecordInfo> records;
  std::vector<std::vector<const char*>> candidates;  ///< names, by record
};

FigmentStatus describe(const DescribedProgram& program, FigmentProgramInfo* info);
FigmentStatus describeChoice(const DescribedProgram& program, uint32_t record, bool measurable,
                             FigmentChoice* choice);
FigmentStatus describeMemory(const MemoryCounters& counters, uint64_t packed,
                             FigmentMemoryInfo* info);
/// As FigmentBackend::read_profile.
uint64_t sendTimings(const Timeline& timeline, uint64_t since,
                     void (*sink)(void* context, const FigmentTiming*), void* context);

/// A backend with the functions that need no device: the last error, and those of the registry.
FigmentBackend commonBackend();

}  // namespace figment
