// The program as bytes: a header, then slots, ops, records, operands, parameters, strings and
// constants, each section 8-byte aligned (constants 64), all little-endian. Emitted by
// @figment/tensor; everything in it is checked before use.
#pragma once

#include <bit>
#include <cstdint>

#include "../kernels/kernel.h"

namespace figment::format {

static_assert(std::endian::native == std::endian::little, "programs are little-endian");

constexpr uint32_t kMagic = 0x50474946;  // "FIGP"
constexpr uint32_t kVersion = 1;
constexpr uint64_t kSectionAlignment = 8;
constexpr uint64_t kConstantAlignment = 64;
constexpr uint64_t kArenaAlignment = 256;

struct Header {
  uint32_t magic;
  uint32_t version;
  uint32_t slotCount;
  uint32_t opCount;
  uint32_t recordCount;
  uint32_t operandCount;
  uint32_t inputCount;
  uint32_t outputCount;
  uint32_t stateCount;
  uint32_t commitStart;  ///< first record of the commit section; recordCount when there is none
  uint64_t arenaBytes;
  uint64_t constantBytes;
  uint32_t paramsBytes;
  uint32_t stringsBytes;
  uint64_t reserved;
};
static_assert(sizeof(Header) == 72);

enum class SlotKind : uint32_t { input = 0, output = 1, state = 2, arena = 3, constant = 4 };
constexpr uint32_t kSlotKindCount = 5;

/// A piece of memory that operands lie in.
struct Slot {
  SlotKind kind;
  uint32_t ordinal;  ///< which input, output or state
  uint64_t bytes;
  uint64_t offset;  ///< in the arena or the constants
  uint32_t flags;
  uint32_t zero;
};
static_assert(sizeof(Slot) == 32);
constexpr uint32_t kSlotWritten = 1;  ///< state that the program writes

struct Op {
  uint32_t nameOffset;
  uint32_t nameLength;
  uint64_t schemaHash;
};
static_assert(sizeof(Op) == 16);

/// A conditional is reserved.
enum class RecordKind : uint32_t { kernel = 0, repeat = 1, conditional = 2 };

struct Record {
  RecordKind kind;
  uint32_t op;
  uint32_t paramsOffset;
  uint32_t paramsBytes;
  uint32_t operandStart;
  uint32_t inCount;
  uint32_t outCount;
  uint32_t tag;
};
static_assert(sizeof(Record) == 32);

/// The parameters of a repeat record, which runs the `records` records after it `count` times. From
/// the `commitStart`-th of them on they form the commit section of each iteration. `op` is 0; the
/// only operand, if there is one, is an output i32 scalar that holds the number of the iteration.
/// A block that runs once and is all commit section writes states in mid-program.
struct Repeat {
  int64_t count;
  uint32_t records;
  uint32_t commitStart;
};
static_assert(sizeof(Repeat) == 16);
constexpr int64_t kMostIterations = 0x7fffffff;  ///< the counter is i32
constexpr size_t kDeepestRepeat = 8;

struct Operand {
  uint32_t slot;
  uint8_t format;
  uint8_t rank;
  uint16_t layout;
  int64_t byteOffset;
  int64_t dims[kMaxRank];
  int64_t strides[kMaxRank];
};
static_assert(sizeof(Operand) == 144);

}  // namespace figment::format
