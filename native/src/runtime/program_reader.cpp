// All sizes are sums of 32-bit counts times small constants plus two 64-bit fields that are bounded
// first, so 64-bit arithmetic cannot overflow here.
#include "program_reader.h"

#include <cstring>
#include <string>

#include "error.h"

namespace figment {
namespace {

/// Bound on the 64-bit sizes in a header (64 TiB): beyond any machine, far from overflow.
constexpr uint64_t kLargestSize = uint64_t(1) << 46;

constexpr uint64_t alignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// Takes consecutive aligned sections off the front of the blob.
class Cursor {
 public:
  Cursor(const std::byte* base, uint64_t bytes) : base_(base), bytes_(bytes) {}

  template <class T>
  std::span<const T> take(const char* name, uint64_t count,
                          uint64_t alignment = format::kSectionAlignment) {
    const uint64_t start = count == 0 ? position_ : alignUp(position_, alignment);
    const uint64_t end = start + count * sizeof(T);
    if (end > bytes_)
      refuse(std::string(name) + " end at byte " + std::to_string(end) + " of " +
             std::to_string(bytes_));
    position_ = end;
    return {reinterpret_cast<const T*>(base_ + start), size_t(count)};
  }
  uint64_t position() const { return position_; }

 private:
  const std::byte* base_;
  uint64_t bytes_;
  uint64_t position_ = 0;
};

}  // namespace

void refuse(const std::string& reason) {
  throw Error(code::kProgram, "program refused: " + reason);
}

ProgramSections readSections(const void* blob, size_t bytes) {
  if (bytes < sizeof(format::Header))
    refuse("it has " + std::to_string(bytes) + " bytes, less than its header");
  ProgramSections sections;
  // new[] aligns to 16; constants want 64, so the copy starts at an aligned address inside.
  sections.storage.reset(new std::byte[bytes + format::kConstantAlignment]);
  auto* base = reinterpret_cast<std::byte*>(
      alignUp(reinterpret_cast<uintptr_t>(sections.storage.get()), format::kConstantAlignment));
  std::memcpy(base, blob, bytes);

  Cursor cursor(base, bytes);
  const format::Header header = cursor.take<format::Header>("header", 1)[0];
  if (header.magic != format::kMagic) refuse("it does not start with FIGP");
  if (header.version != format::kVersion)
    refuse("format version " + std::to_string(header.version) + ", this build reads " +
           std::to_string(format::kVersion));
  if (header.reserved != 0) refuse("reserved header field is not zero");
  if (header.arenaBytes > kLargestSize) refuse("arena size out of range");
  if (header.constantBytes > kLargestSize) refuse("constant size out of range");

  sections.header = header;
  sections.slots = cursor.take<format::Slot>("slots", header.slotCount);
  sections.ops = cursor.take<format::Op>("ops", header.opCount);
  sections.records = cursor.take<format::Record>("records", header.recordCount);
  sections.operands = cursor.take<format::Operand>("operands", header.operandCount);
  sections.params = cursor.take<std::byte>("params", header.paramsBytes);
  const auto strings = cursor.take<char>("strings", header.stringsBytes);
  sections.strings = {strings.data(), strings.size()};
  sections.constants =
      cursor.take<std::byte>("constants", header.constantBytes, format::kConstantAlignment);
  if (bytes - cursor.position() >= format::kConstantAlignment)
    refuse(std::to_string(bytes - cursor.position()) + " bytes after its last section");
  return sections;
}

}  // namespace figment
