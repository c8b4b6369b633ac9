// The outer layer of program loading: sections found and bounded, so that the verifier can index
// them freely. Offsets and counts only; no meaning.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "program_format.h"

namespace figment {

/// A program's sections, inside `storage`.
struct ProgramSections {
  std::unique_ptr<std::byte[]> storage;
  format::Header header;
  std::span<const format::Slot> slots;
  std::span<const format::Op> ops;
  std::span<const format::Record> records;
  std::span<const format::Operand> operands;
  std::span<const std::byte> params;
  std::string_view strings;
  std::span<const std::byte> constants;
};

/// Copies the blob into aligned memory and finds its sections. Throws Error(ERR_FIGMENT_PROGRAM).
ProgramSections readSections(const void* blob, size_t bytes);

/// Throws Error(ERR_FIGMENT_PROGRAM, "program refused: " + reason).
[[noreturn]] void refuse(const std::string& reason);

}  // namespace figment
