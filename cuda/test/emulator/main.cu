// Runs cases and prints what was found, one JSON object a line:
//
//   figment_cuda_faults            every case, in turn
//   figment_cuda_faults NAME …     these
//   figment_cuda_faults --list     what there is, without running any
//   figment_cuda_faults --overflow a kernel that overflows its stack (emulator only; ends the
//   process) figment_cuda_faults --blocks N how long N small blocks take
//
// On the emulator `found` is its verdict. On a GPU it says that the launch failed or a result is
// wrong: what kernels do there is for compute-sanitizer to judge (sanitizer.mjs).
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cases.h"
#include "runtime/check.h"

namespace figment::cuda::cases {

void overflowStack(Bench& bench);
void runBlocks(Bench& bench, int64_t blocks);

namespace {

std::vector<Case>& cases() {
  static auto* const all = new std::vector<Case>;
  return *all;
}

const char* nameOf(Tool tool) {
  switch (tool) {
    case Tool::memcheck:
      return "memcheck";
    case Tool::racecheck:
      return "racecheck";
    case Tool::synccheck:
      return "synccheck";
    default:
      return "launch";
  }
}

void print(const Case& one, const char* found, const std::string& message) {
  std::printf("{\"name\": \"%s\", \"fault\": %s, \"tool\": \"%s\", \"strict\": %s", one.name,
              one.fault ? "true" : "false", nameOf(one.tool), one.strict ? "true" : "false");
  if (found) std::printf(", \"found\": %s, \"message\": \"%s\"", found, message.c_str());
  std::printf("}\n");
  std::fflush(stdout);
}

struct Stream {
  cudaStream_t stream = nullptr;
  Stream() {
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  }
  Launcher launcher() const { return Launcher(stream, nullptr, nullptr, 8, 227 * 1024); }
};

/// Whether nothing was found.
bool run(const Case& one, const Stream& on) {
  Launcher launcher = on.launcher();
  launcher.setRecord(0, one.name);
  try {
    Bench bench(launcher);
    one.run(bench);
    check(cudaStreamSynchronize(on.stream), one.name);
  } catch (const Error& error) {
    print(one, "true", error.message());
    return false;
  }
  print(one, "false", "");
  return true;
}

int main(int count, char** arguments) {
  const std::string first = count > 1 ? arguments[1] : "";
  if (first == "--list") {
    for (const Case& one : cases()) print(one, nullptr, "");
    return 0;
  }
  const Stream on;
  Launcher launcher = on.launcher();
  if (first == "--overflow") {
    launcher.setRecord(0, "overflow");
    Bench bench(launcher);
    overflowStack(bench);
    return 0;
  }
  if (first == "--blocks") {
    launcher.setRecord(0, "blocks");
    Bench bench(launcher);
    const auto begin = std::chrono::steady_clock::now();
    runBlocks(bench, count > 2 ? std::atoll(arguments[2]) : 10000);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("{\"seconds\": %.3f}\n", took.count());
    return 0;
  }
  int unknown = count - 1;
  for (const Case& one : cases()) {
    bool wanted = count == 1;
    for (int i = 1; i < count; i++) wanted |= std::strcmp(arguments[i], one.name) == 0;
    if (!wanted) continue;
    if (count > 1) unknown--;
    run(one, on);
  }
  if (unknown > 0) std::fprintf(stderr, "%d of the names are of no case; see --list\n", unknown);
  return unknown > 0 ? 2 : 0;
}

}  // namespace

RegisterCase::RegisterCase(const Case& one) { cases().push_back(one); }

Bench::~Bench() {
  for (void* memory : memory_) cudaFree(memory);
}

void* Bench::upload(const void* from, size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "allocating");
  memory_.push_back(memory);
  const auto stream = static_cast<cudaStream_t>(launcher_.stream());
  check(cudaMemcpyAsync(memory, from, bytes, cudaMemcpyHostToDevice, stream), "uploading");
  return memory;
}

void Bench::download(const void* from, void* to, size_t bytes) {
  const auto stream = static_cast<cudaStream_t>(launcher_.stream());
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream), "downloading");
  check(cudaStreamSynchronize(stream), "running");
}

void Bench::wrong(int64_t index, double is, double expected) {
  throw Error(code::kDevice, "result " + std::to_string(index) + " is " + std::to_string(is) +
                                 ", expected " + std::to_string(expected));
}

}  // namespace figment::cuda::cases

int main(int count, char** arguments) { return figment::cuda::cases::main(count, arguments); }
