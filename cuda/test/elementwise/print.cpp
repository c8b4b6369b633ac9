// Writes the tests' programs as text: elementwise.cpp.inc for check.cpp, and two files of PTX.
//
//   figment_cuda_print FOLDER
#include <cstdio>
#include <fstream>

#include "programs.h"

using namespace figment::cuda::elementwise;

int main(int count, char** arguments) {
  if (count != 2) return std::fputs("usage: figment_cuda_print FOLDER\n", stderr), 2;
  const std::string folder = arguments[1];
  std::ofstream cpp(folder + "/elementwise.cpp.inc"), older(folder + "/elementwise.sm75.ptx"),
      newer(folder + "/elementwise.sm80.ptx");
  older << ptxHeader(false);
  newer << ptxHeader(true);
  int index = 0;
  std::string table;
  for (TestProgram& program : printedPrograms()) {
    std::vector<std::vector<std::byte>> buffers;
    program.place(buffers);
    const std::string name = "k" + std::to_string(index++);
    cpp << "// " << program.about << "\n" << printKernel(program.shape(true), Dialect::cpp, name);
    older << printKernel(program.shape(false), Dialect::ptx, name);
    newer << printKernel(program.shape(true), Dialect::ptx, name);
    table += "  " + name + ",\n";
  }
  cpp << "constexpr Kernel kKernels[] = {\n" << table << "};\n";
  for (std::ofstream* file : {&cpp, &older, &newer}) {
    file->close();
    if (!*file) return std::fprintf(stderr, "cannot write to %s\n", folder.c_str()), 1;
  }
}
