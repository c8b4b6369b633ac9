// Threads of one block as fibres: stacks that are switched between by hand, so that a thousand of
// them cost nothing but memory and run in an order that is the same every time.
#pragma once

#include <cstddef>
#include <memory>

namespace figment::cuda::emulator {

class Fibre {
 public:
  using Main = void (*)(void* argument);

  Fibre();
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  /// From now on resume() runs main(argument) from its beginning. What ran before is forgotten.
  void start(Main main, void* argument);
  /// Runs until the fibre yields or its main function returns.
  void resume();
  /// Back to whoever resumed; called on the fibre.
  void yield();

  /// Runs a fibre's main function on its own stack; for the switch only.
  static void enter(Fibre* fibre);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace figment::cuda::emulator
