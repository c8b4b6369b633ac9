// A verified program, ready to run on the CPU: records with their kernels chosen and their operands
// resolved to (slot, offset). Made only by loadProgram, which trusts nothing in the bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../kernels/registry.h"
#include "program_format.h"

namespace figment {

/// An operand that a record's kernel reads in a packed form kept between runs: a state that the
/// program does not write.
struct ProgramPacking {
  Packing packing;
  std::atomic<uint64_t> packed{0};  ///< how often it was packed, in all runs
  std::atomic<uint64_t> reused{0};  ///< how often the copy that was there served
};

/// One kernel call, or a repeat of the records after it. Its operands lie in Program::operands,
/// inputs first.
struct ProgramRecord {
  OpCall call;
  const RegisteredOp* op;  ///< null for a repeat
  Choice choice;           ///< without a variant for a repeat
  uint32_t operandStart;
  uint32_t operandCount;
  Cost cost;
  double predictedMicros;
  uint32_t tag;
  format::Repeat repeat;
  ProgramPacking* packing = nullptr;  ///< null: none

  const char* opName() const { return op ? op->spec.name : "repeat"; }
  const char* variantName() const { return choice.variant ? choice.variant->name : "loop"; }
};

/// Where an operand lies: a slot's address plus an offset.
struct Place {
  uint32_t slot;
  int64_t byteOffset;
};

struct Program {
  std::unique_ptr<std::byte[]> storage;  ///< the blob's copy; params and constants point into it
  std::vector<format::Slot> slots;
  std::vector<Operand> operands;  ///< `data` is filled in before each record runs
  std::vector<Place> places;      ///< one per operand
  std::vector<ProgramRecord> records;
  /// One a record: pieces of all runs that its kernel did in a slower way, because of their
  /// numbers.
  std::unique_ptr<std::atomic<uint64_t>[]> fallbacks;
  std::deque<ProgramPacking> packings;  ///< what records point to
  const std::byte* constants = nullptr;
  uint32_t id = 0;  ///< numbers the programs of the process, from 1; for profiles
  uint32_t commitStart = 0;
  uint64_t arenaBytes = 0;
  double predictedMicros = 0;

  std::vector<uint64_t> inputBytes;
  std::vector<uint64_t> outputBytes;
  std::vector<uint64_t> stateBytes;
  std::vector<uint8_t> stateWritten;

  /// Scratch that the largest record needs with this many threads; remembered for one thread and
  /// for the last larger number. Not while the program runs.
  uint64_t scratchBytes(int threads);
  /// The larger of those remembered; any thread may ask.
  uint64_t knownScratchBytes() const;

 private:
  // The number of threads, above 48 bits of bytes.
  std::atomic<uint64_t> serialScratch_{0};
  std::atomic<uint64_t> sharedScratch_{0};
};

/// Time of one call on one thread, as the inline decision sees it.
double predictMicros(const Cost& cost);

/// Below this predicted time a record runs on one thread: waking others would take longer.
constexpr double kSharedMicros = 8;

/// Copies, verifies and prepares a program. Throws Error(ERR_FIGMENT_PROGRAM) naming what is wrong;
/// `variant` (may be empty) is preferred wherever it supports the call.
std::unique_ptr<Program> loadProgram(const void* blob, size_t bytes, std::string_view variant);

}  // namespace figment
