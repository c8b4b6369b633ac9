// Register code for tests: one program for each instruction, and random ones over operands that are
// contiguous, broadcast, transposed, padded, shifted or in place. A number makes the same program
// in every run, so that what one executable prints another can run.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/elementwise/layout.h"
#include "kernels/elementwise/ptx.h"
#include "kernels/registry.h"

namespace figment::cuda::elementwise {

struct TestProgram {
  std::string about;
  std::vector<std::byte> params;
  std::vector<Operand> operands;  ///< inputs first
  int inputs = 0;
  std::vector<std::vector<std::byte>> memory;  ///< of each operand, and what it begins with
  std::vector<int> shared;                     ///< of each output: the input that it lies on, or -1
  bool exact = false;  ///< instructions that are rounded alike everywhere, so that bits must agree
  bool busy = false;   ///< as on a GPU that is busy, where a thread takes several groups

  OpCall call() const;
  /// Points the operands at `buffers`, filled as the program begins, with equal alignments in every
  /// run.
  void place(std::vector<std::vector<std::byte>>& buffers);
  Shape shape(bool hasBf16) const;
};

/// Programs of one instruction each, in every format that has it.
int singlePrograms();
TestProgram singleProgram(int index);
/// A random one, of all instructions or of exact ones, of up to so many.
TestProgram randomProgram(uint32_t seed, int most, bool doubles);

/// What both executables work through: which programs are printed.
constexpr int kPrintedRandom = 60;
constexpr int kPrintedInstructions = 12;
std::vector<TestProgram> printedPrograms();

}  // namespace figment::cuda::elementwise
