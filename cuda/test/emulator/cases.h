// Kernels with a planted fault, and correct ones that come close to one: what the emulator's
// checks, and NVIDIA's compute-sanitizer on a real GPU, are tried on. Each case is one launch.
#pragma once

#include <string>
#include <vector>

#include "device/launch.h"

namespace figment::cuda::cases {

/// Of compute-sanitizer: the tool that a case is for. `launch` needs none, because the launch is
/// refused.
enum class Tool { memcheck, racecheck, synccheck, launch };

/// What a case runs with: device memory of its own, filled with 1, 2, 3, …, and a check of results.
class Bench {
 public:
  explicit Bench(Launcher& launcher) : launcher_(launcher) {}
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench();

  Launcher& launcher() { return launcher_; }
  template <class T>
  Global<T> numbers(int64_t count) {
    std::vector<T> values;
    for (int64_t i = 0; i < count; i++) values.push_back(T(i + 1));
    return Global<T>(static_cast<T*>(upload(values.data(), size_t(count) * sizeof(T))), count);
  }
  template <class T>
  std::vector<T> read(const Global<T>& from, int64_t count) {
    std::vector<T> values{};
    values.resize(size_t(count));
    download(from.address(0), values.data(), size_t(count) * sizeof(T));
    return values;
  }
  /// Throws Error when a result is not what it should be.
  template <class T, class F>
  void expect(const Global<T>& results, int64_t count, F expected) {
    const std::vector<T> values = read(results, count);
    for (int64_t i = 0; i < count; i++)
      if (!(values[size_t(i)] == T(expected(i))))
        wrong(i, double(values[size_t(i)]), double(expected(i)));
  }

 private:
  void* upload(const void* from, size_t bytes);
  void download(const void* from, void* to, size_t bytes);
  [[noreturn]] static void wrong(int64_t index, double is, double expected);

  Launcher& launcher_;
  std::vector<void*> memory_;
};

struct Case {
  const char* name;
  bool fault;  ///< whether the kernel has one
  Tool tool;
  /// Whether the GPU's tool need not find the fault: the emulator is stricter there.
  bool strict;
  void (*run)(Bench&);
};

struct RegisterCase {
  explicit RegisterCase(const Case& one);
};
const std::vector<Case>& allCases();

/// Declarations of cases.
#define FIGMENT_FAULT(name, tool)                                        \
  void name(Bench& bench);                                               \
  const RegisterCase name##Case{{#name, true, Tool::tool, false, name}}; \
  void name(Bench& bench)
/// A fault that the emulator finds and the GPU's tool may leave.
#define FIGMENT_STRICT_FAULT(name, tool)                                \
  void name(Bench& bench);                                              \
  const RegisterCase name##Case{{#name, true, Tool::tool, true, name}}; \
  void name(Bench& bench)
#define FIGMENT_CORRECT(name, tool)                                       \
  void name(Bench& bench);                                                \
  const RegisterCase name##Case{{#name, false, Tool::tool, false, name}}; \
  void name(Bench& bench)

}  // namespace figment::cuda::cases
