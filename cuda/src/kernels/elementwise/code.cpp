#include "code.h"

#include <algorithm>

namespace figment::cuda::elementwise {

using figment::elementwise::instructionCount;
using figment::elementwise::instructions;
using figment::elementwise::sourceCount;

bool Code::hasDoubles() const {
  return std::any_of(values.begin(), values.end(), [](const Value& value) {
    return value.type == RegisterType::kF64 ||
           (value.op == Opcode::kCast && value.from == RegisterType::kF64);
  });
}

namespace {

/// Only values that an output needs, renumbered.
Code living(const Code& all) {
  std::vector<bool> needed(all.values.size(), false);
  for (const int stored : all.stores) needed[size_t(stored)] = true;
  for (size_t i = all.values.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (int s = 0; s < sourceCount(all.values[i].op); s++)
      needed[size_t(all.values[i].sources[s])] = true;
  }
  Code code;
  std::vector<int> place(all.values.size(), -1);
  for (size_t i = 0; i < all.values.size(); i++) {
    if (!needed[i]) continue;
    Value value = all.values[i];
    for (int s = 0; s < sourceCount(value.op); s++)
      value.sources[s] = place[size_t(value.sources[s])];
    place[i] = int(code.values.size());
    code.values.push_back(value);
  }
  for (const int stored : all.stores) code.stores.push_back(place[size_t(stored)]);
  return code;
}

}  // namespace

Code codeOf(const OpCall& call) {
  Code code;
  code.stores.resize(size_t(call.outCount));
  int held[kMaxRegisters] = {};
  std::vector<int> loaded(size_t(call.inCount), -1);
  const Instruction* steps = instructions(call);
  for (int i = 0; i < instructionCount(call); i++) {
    const Instruction& step = steps[i];
    if (step.op == Opcode::kStore) {
      code.stores[step.b] = held[step.a];
      continue;
    }
    if (step.op == Opcode::kLoad && loaded[step.a] >= 0) {
      held[step.dst] = loaded[step.a];
      continue;
    }
    if (step.op == Opcode::kCast && RegisterType(step.b) == step.type) {
      held[step.dst] = held[step.a];
      continue;
    }
    Value value = {step.op, step.type, step.type, {}, step.imm};
    const uint8_t fields[3] = {step.a, step.b, step.c};
    for (int s = 0; s < sourceCount(step.op); s++) value.sources[s] = held[fields[s]];
    if (step.op == Opcode::kCast) value.from = RegisterType(step.b);
    const int place = int(code.values.size());
    if (step.op == Opcode::kLoad) {
      value.sources[0] = step.a;
      loaded[step.a] = place;
    }
    code.values.push_back(value);
    held[step.dst] = place;
  }
  return living(code);
}

Allocation allocateRegisters(const Code& code) {
  const size_t count = code.values.size();
  constexpr size_t kToTheEnd = SIZE_MAX;
  std::vector<size_t> lastUse(count, 0);
  for (size_t i = 0; i < count; i++)
    for (int s = 0; s < sourceCount(code.values[i].op); s++)
      lastUse[size_t(code.values[i].sources[s])] = i;
  for (const int stored : code.stores) lastUse[size_t(stored)] = kToTheEnd;

  Allocation allocation;
  allocation.registers.resize(count);
  std::vector<int> free;
  for (size_t i = 0; i < count; i++) {
    const Value& value = code.values[i];
    // A source that ends here gives its register to the result: lanes are read before they are
    // written.
    for (int s = 0; s < sourceCount(value.op); s++) {
      const auto source = size_t(value.sources[s]);
      const bool again =
          std::find(value.sources, value.sources + s, value.sources[s]) != value.sources + s;
      if (lastUse[source] == i && !again) free.push_back(allocation.registers[source]);
    }
    if (free.empty()) free.push_back(allocation.count++);
    allocation.registers[i] = free.back();
    free.pop_back();
  }
  return allocation;
}

}  // namespace figment::cuda::elementwise
