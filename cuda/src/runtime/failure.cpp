#include "../device/failure.h"

#include <map>

#include "runtime/error.h"

namespace figment::cuda {
namespace {

using Describer = FailureText (*)(const OpCall&, const DeviceFailure&);

std::map<std::string, Describer, std::less<>>& describers() {
  static auto* const all = new std::map<std::string, Describer, std::less<>>;
  return *all;
}

}  // namespace

RegisterFailure::RegisterFailure(const char* op, Describer describe) {
  describers()[op] = describe;
}

bool mayFail(const char* op) { return describers().contains(op); }

FailureText describeFailure(const char* op, const OpCall& call, const DeviceFailure& failure) {
  const auto found = describers().find(op);
  if (found == describers().end())
    return {code::kDevice, std::string(op) + ": a kernel failed without words for it"};
  return found->second(call, failure);
}

}  // namespace figment::cuda
