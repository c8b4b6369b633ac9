#include "data_order.h"

#include <algorithm>

namespace figment::cuda {
namespace {

bool meet(const std::vector<Range>& some, const std::vector<Range>& others) {
  for (const Range& a : some)
    for (const Range& b : others)
      if (a.begin < b.end && b.begin < a.end) return true;
  return false;
}

}  // namespace

Range rangeOf(const Operand& operand) {
  const auto* const data = static_cast<const std::byte*>(operand.data);
  if (operand.empty()) return {data, data};
  int64_t first = 0, last = 0;
  for (int i = 0; i < operand.rank; i++) {
    const int64_t reach = (operand.dims[i] - 1) * operand.strides[i];
    (reach < 0 ? first : last) += reach;
  }
  const int64_t size = int64_t(formatBytes(operand.format));
  return {data + first * size, data + (last + 1) * size};
}

std::vector<uint32_t> DataOrder::add(std::vector<Range> reads, std::vector<Range> writes) {
  const auto number = uint32_t(launches_.size());
  Launch launch = {std::move(reads), std::move(writes), std::vector<uint64_t>(number / 64 + 1),
                   false};
  std::vector<uint32_t> follows;
  for (uint32_t i = number; i-- > 0;) {
    if (launch.before[i / 64] >> i % 64 & 1) continue;
    Launch& earlier = launches_[i];
    if (!meet(launch.writes, earlier.writes) && !meet(launch.writes, earlier.reads) &&
        !meet(launch.reads, earlier.writes))
      continue;
    follows.push_back(i);
    earlier.followed = true;
    launch.before[i / 64] |= uint64_t(1) << i % 64;
    for (size_t word = 0; word < earlier.before.size(); word++)
      launch.before[word] |= earlier.before[word];
  }
  std::reverse(follows.begin(), follows.end());
  launches_.push_back(std::move(launch));
  return follows;
}

std::vector<uint32_t> DataOrder::last() const {
  std::vector<uint32_t> numbers;
  for (uint32_t i = 0; i < launches_.size(); i++)
    if (!launches_[i].followed) numbers.push_back(i);
  return numbers;
}

}  // namespace figment::cuda
