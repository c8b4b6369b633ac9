#include "ptx.h"

#include <cstring>

#include "evaluate.h"
#include "move.h"

namespace figment::cuda::elementwise {
namespace {

using figment::elementwise::kMaxOperands;

/// Offsets of the arguments, in bytes.
constexpr int kLengthAt = 0, kGroupsAt = 8, kPerRowAt = 12, kDimsAt = 24, kDimBytes = 16;
int operandsAt(const Shape& shape) { return kDimsAt + shape.outerRank * kDimBytes; }
/// Where it begins, its stride within rows, those of the outer dimensions; in bytes of memory.
int operandBytes(const Shape& shape) { return 16 + 8 * shape.outerRank; }
static_assert(kDimsAt + kMaxOuter * kDimBytes + kMaxOperands * (16 + 8 * kMaxOuter) <=
              Arguments::kMostBytes);

/// Writes one kernel to the current text.
class Printer {
 public:
  explicit Printer(const Shape& shape) : shape_(shape), text_(Text::current()) {}

  void print() {
    const int operands = int(shape_.formats.size());
    thread_ = whole({"mov.u32 $0, %tid.x;", "int32_t(threadIdx.x)"});
    const I32 block = whole({"mov.u32 $0, %ctaid.x;", "int32_t(blockIdx.x)"});
    threads_ = whole({"mov.u32 $0, %ntid.x;", "int32_t(blockDim.x)"});
    first_ = thread_ + block * threads_ * I32(shape_.groups);
    groups_ = argument32(kGroupsAt);
    length_ = argument64(kLengthAt);
    for (int i = 0; i < operands; i++) loadPlacement(i);

    // Whole groups at once; elements one by one where a row ends within a group, or the grid does.
    std::vector<Located> located;
    Predicate whole{};
    for (int u = 0; u < shape_.groups; u++) {
      const I32 group = u == 0 ? first_ : first_ + threads_ * I32(u);
      located.push_back(locate(group));
      const Predicate fits =
          below(group, groups_) &
          ~gtSigned(located.back().within + U64(uint64_t(shape_.perGroup)), length_);
      whole = u == 0 ? fits : whole & fits;
    }
    when(whole, [&] { printGroups(located); });
    when(~whole, [&] { printElements(); });
  }

 private:
  struct Located {
    U64 within;           ///< elements of the row before the group
    std::vector<U64> at;  ///< the row
  };
  struct Placement {
    U64 base, inner;
    std::vector<U64> outer;
  };

  Format formatOf(int operand) const { return shape_.formats[size_t(operand)]; }
  I32 whole(Form form) { return I32(text_.compute(Kind::whole, form)); }
  I32 argument32(int offset) {
    return I32(text_.compute(Kind::whole,
                             {"ld.param.u32 $0, [arguments+$1];", "word32(arguments, $1)"},
                             {std::to_string(offset)}));
  }
  U64 argument64(int offset) {
    return U64(text_.compute(Kind::longWhole,
                             {"ld.param.u64 $0, [arguments+$1];", "word64(arguments, $1)"},
                             {std::to_string(offset)}));
  }

  void loadPlacement(int operand) {
    const int at = operandsAt(shape_) + operand * operandBytes(shape_);
    Placement placement;
    placement.base = argument64(at);
    placement.inner = argument64(at + 8);
    for (int d = 0; d < shape_.outerRank; d++)
      placement.outer.push_back(argument64(at + 16 + 8 * d));
    placements_.push_back(placement);
  }

  /// number / divisor, and what is left of it.
  I32 divide(const I32& number, int at, I32& left) {
    const I32 divisor = argument32(at), multiplier = argument32(at + 4), shift = argument32(at + 8);
    const I32 high(text_.compute(
        Kind::whole, {"mul.hi.u32 $0, $1, $2;", "int32_t(__umulhi(uint32_t($1), uint32_t($2)))"},
        {number.text, multiplier.text}));
    const I32 sum = high + number;
    const I32 quotient(text_.compute(Kind::whole,
                                     {"shr.u32 $0, $1, $2;", "int32_t(uint32_t($1) >> $2)"},
                                     {sum.text, shift.text}));
    left = number - quotient * divisor;
    return quotient;
  }

  Located locate(const I32& group) {
    Located located;
    I32 within = group;
    located.at.resize(size_t(shape_.outerRank));
    if (shape_.outerRank > 0) {
      I32 rest = divide(group, kPerRowAt, within);
      for (int d = shape_.outerRank - 1; d >= 0; d--) {
        I32 at = rest;
        if (d > 0) rest = divide(rest, kDimsAt + d * kDimBytes, at);
        located.at[size_t(d)] = widen(at);
      }
    }
    located.within = multiply(within, I32(shape_.perGroup));
    return located;
  }

  /// Of the element `within` a row.
  U64 addressOf(int operand, const Located& located, const U64& within) {
    const Placement& placement = placements_[size_t(operand)];
    U64 address = placement.base;
    for (int d = 0; d < shape_.outerRank; d++)
      address = address + located.at[size_t(d)] * placement.outer[size_t(d)];
    if (shape_.lies[size_t(operand)] == Lie::same) return address;
    return address + within * placement.inner;
  }

  void printGroups(const std::vector<Located>& located) {
    const int n = shape_.perGroup;
    const int operands = int(shape_.formats.size());
    const auto count = located.size();
    // All loads come first, so that they are under way together.
    std::vector<std::vector<U64>> addresses(count);
    std::vector<std::vector<std::vector<I32>>> raw(count);
    for (size_t u = 0; u < count; u++) {
      for (int i = 0; i < operands; i++)
        addresses[u].push_back(addressOf(i, located[u], located[u].within));
      for (int i = 0; i < shape_.inputs; i++)
        raw[u].push_back(loadGroup(i, addresses[u][size_t(i)]));
    }
    for (size_t u = 0; u < count; u++) {
      std::vector<std::vector<I32>> elements;
      for (int i = 0; i < shape_.inputs; i++)
        elements.push_back(shape_.lies[size_t(i)] == Lie::together
                               ? unpack(formatOf(i), raw[u][size_t(i)])
                               : raw[u][size_t(i)]);
      std::vector<std::vector<I32>> results(size_t(operands - shape_.inputs));
      for (int e = 0; e < n; e++) {
        const auto outputs = evaluate(shape_.code, [&](int input) {
          const auto& all = elements[size_t(input)];
          return fromMemory(formatOf(input), all.size() == 1 ? all[0] : all[size_t(e)]);
        });
        for (size_t o = 0; o < outputs.size(); o++)
          results[o].push_back(
              toMemory(shape_.formats[size_t(shape_.inputs) + o], outputs[o], shape_.hasBf16));
      }
      for (size_t o = 0; o < results.size(); o++)
        storeGroup(shape_.inputs + int(o), addresses[u][size_t(shape_.inputs) + o], results[o]);
    }
  }

  std::vector<I32> loadGroup(int operand, const U64& address) {
    const int n = shape_.perGroup, width = int(formatBytes(formatOf(operand)));
    const Lie lie = shape_.lies[size_t(operand)];
    if (lie == Lie::together) return loadWords(operand, address, n * width / 4);
    std::vector<I32> elements;
    U64 at = address;
    for (int e = 0; e < (lie == Lie::same ? 1 : n); e++) {
      if (e > 0) at = at + placements_[size_t(operand)].inner;
      elements.push_back(loadElement(formatOf(operand), operand, at));
    }
    return elements;
  }
  void storeGroup(int operand, const U64& address, const std::vector<I32>& elements) {
    if (shape_.lies[size_t(operand)] == Lie::together)
      return storeWords(operand, address, pack(formatOf(operand), elements));
    U64 at = address;
    for (size_t e = 0; e < elements.size(); e++) {
      if (e > 0) at = at + placements_[size_t(operand)].inner;
      storeElement(formatOf(operand), operand, at, elements[e]);
    }
  }

  void printElements() {
    const I32 turn = variable(I32(0)), group = variable(first_);
    F32::repeatWhile([&] { return lt(turn, I32(shape_.groups)); },
                     [&] {
                       when(below(group, groups_), [&] { printRow(locate(group)); });
                       assign(turn, turn + I32(1));
                       assign(group, group + threads_);
                     });
  }
  void printRow(const Located& located) {
    const I32 e = variable(I32(0));
    F32::repeatWhile(
        [&] { return lt(e, I32(shape_.perGroup)) & gtSigned(length_, located.within + widen(e)); },
        [&] {
          const U64 within = located.within + widen(e);
          std::vector<I32> raw;
          for (int i = 0; i < shape_.inputs; i++)
            raw.push_back(loadElement(formatOf(i), i, addressOf(i, located, within)));
          const auto outputs = evaluate(shape_.code, [&](int input) {
            return fromMemory(formatOf(input), raw[size_t(input)]);
          });
          for (size_t o = 0; o < outputs.size(); o++) {
            const int operand = shape_.inputs + int(o);
            storeElement(formatOf(operand), operand, addressOf(operand, located, within),
                         toMemory(formatOf(operand), outputs[o], shape_.hasBf16));
          }
          assign(e, e + I32(1));
        });
  }

  const Shape& shape_;
  Text& text_;
  I32 thread_, threads_, first_, groups_;
  U64 length_;
  std::vector<Placement> placements_;
};

}  // namespace

std::string ptxHeader(bool hasBf16) {
  return hasBf16 ? ".version 7.0\n.target sm_80\n.address_size 64\n"
                 : ".version 6.4\n.target sm_75\n.address_size 64\n";
}

std::string printKernel(const Shape& shape, Dialect dialect, const std::string& name) {
  Text text(dialect);
  Printer(shape).print();
  const std::string threads = std::to_string(kPtxThreads);
  if (dialect == Dialect::cpp)
    return "FIGMENT_KERNEL(" + threads + ") " + name +
           "(const FIGMENT_GRID_CONSTANT Arguments arguments, const FIGMENT_GRID_CONSTANT Views "
           "all) "
           "{\n  const auto& views = all.view;\n" +
           text.body() + "}\n";
  return ".visible .entry " + name + "(.param .align 8 .b8 arguments[" +
         std::to_string(Arguments::kMostBytes) + "])\n.maxntid " + threads + ", 1, 1\n{\n" +
         text.declarations() + text.body() + "  ret;\n}\n";
}

Arguments argumentsOf(const Shape& shape, const Rows& rows, const std::vector<Operand>& operands,
                      const std::vector<Strides>& strides, bool addresses) {
  Arguments arguments = {};
  const auto put = [&](int offset, auto value) {
    std::memcpy(arguments.bytes + offset, &value, sizeof value);
  };
  const auto putDivisor = [&](int offset, const Divisor& divisor) {
    put(offset, divisor.divisor);
    put(offset + 4, divisor.multiplier);
    put(offset + 8, divisor.shift);
  };
  put(kLengthAt, rows.length);
  put(kGroupsAt, uint32_t(rows.groups));
  putDivisor(kPerRowAt, rows.byGroups);
  for (int d = 0; d < shape.outerRank; d++) putDivisor(kDimsAt + d * kDimBytes, rows.byDim[d]);
  for (size_t i = 0; i < operands.size(); i++) {
    const int at = operandsAt(shape) + int(i) * operandBytes(shape);
    const auto width = int64_t(formatBytes(operands[i].format));
    put(at, addresses ? reinterpret_cast<uint64_t>(operands[i].data) : uint64_t(0));
    put(at + 8, strides[i].inner * width);
    for (int d = 0; d < shape.outerRank; d++) put(at + 16 + 8 * d, strides[i].outer[d] * width);
  }
  return arguments;
}

}  // namespace figment::cuda::elementwise
