#include "record.h"

#include <stdexcept>

namespace figment::replay {

CallReader::CallReader(const char* path) : path_(path), file_(path, std::ios::binary) {
  if (!file_) throw std::runtime_error(path_ + ": cannot be read");
}

uint64_t CallReader::number() {
  uint64_t value = 0;
  if (!file_.read(reinterpret_cast<char*>(&value), sizeof(value)))
    throw std::runtime_error(path_ + ": ends in the middle of a call");
  return value;
}

Payload CallReader::payload() {
  const uint64_t index = number();
  if (index < known_.size()) return known_[index];
  if (index > known_.size()) throw std::runtime_error(path_ + ": names a payload to come");
  auto bytes = std::make_shared<Bytes>(number());
  if (!file_.read(bytes->data(), std::streamsize(bytes->size())))
    throw std::runtime_error(path_ + ": ends in the middle of a payload");
  known_.push_back(std::move(bytes));
  return known_.back();
}

std::string CallReader::text() {
  const Payload bytes = payload();
  return std::string(bytes->begin(), bytes->end());
}

std::vector<Payload> CallReader::payloads() {
  std::vector<Payload> all(number());
  for (Payload& one : all) one = payload();
  return all;
}

bool CallReader::next(Call& call) {
  if (file_.peek() == std::ifstream::traits_type::eof()) return false;
  call.program = payload();
  call.variant = text();
  call.kernels = text();
  call.outcome = text();
  call.inputs = payloads();
  call.statesBefore = payloads();
  call.outputs = payloads();
  call.statesAfter = payloads();
  return true;
}

}  // namespace figment::replay
