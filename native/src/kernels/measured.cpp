#include "measured.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace figment {
namespace {

constexpr const char* kFormatNames[kFormatCount] = {"f32", "f64",  "bf16", "f16", "i32",
                                                    "u8",  "bool", "i64",  "i8"};

struct Table {
  std::mutex mutex;
  /// By instruction set, origin and key.
  std::unordered_map<std::string, std::string> variants;
};

// Never destroyed: worker threads may outlive the static destructors.
Table& table() {
  static Table* const all = new Table;
  return *all;
}

std::string entryName(Isa isa, Origin origin, const std::string& key) {
  return std::to_string(int(isa)) + (origin == Origin::here ? "h " : "s ") + key;
}

void addList(std::string& text, const int64_t* values, int count) {
  for (int i = 0; i < count; i++) {
    if (i > 0) text += ',';
    text += std::to_string(values[i]);
  }
}

void addOperand(std::string& text, const Operand& operand) {
  text += ' ';
  text += kFormatNames[int(operand.format)];
  text += '[';
  addList(text, operand.dims, operand.rank);
  text += ']';
  if (operand.contiguous()) return;
  text += '@';
  addList(text, operand.strides, operand.rank);
}

}  // namespace

std::string keyOf(std::string_view op, const OpCall& call) {
  std::string text(op);
  for (int i = 0; i < call.inCount; i++) addOperand(text, call.in[i]);
  text += " ->";
  for (int i = 0; i < call.outCount; i++) addOperand(text, call.out[i]);
  text += " :";
  const auto* bytes = static_cast<const std::byte*>(call.params);
  for (size_t at = 0; at < call.paramBytes; at += sizeof(int32_t)) {
    int32_t word = 0;
    std::memcpy(&word, bytes + at, std::min(sizeof(word), call.paramBytes - at));
    text += ' ';
    text += std::to_string(word);
  }
  return text;
}

void addMeasured(Isa isa, Origin origin, const std::string& key, const std::string& variant) {
  Table& all = table();
  std::lock_guard lock(all.mutex);
  all.variants[entryName(isa, origin, key)] = variant;
}

Measured measuredFor(Isa isa, const std::string& key) {
  Table& all = table();
  std::lock_guard lock(all.mutex);
  for (const Origin origin : {Origin::here, Origin::shipped}) {
    const auto found = all.variants.find(entryName(isa, origin, key));
    if (found != all.variants.end()) return {found->second, origin};
  }
  return {};
}

}  // namespace figment
