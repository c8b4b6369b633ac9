#include "fibre.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <new>

namespace figment::cuda::emulator {
namespace {

constexpr size_t kStackBytes = 256 * 1024;

}  // namespace

#if defined(__x86_64__)

// Saves what a call must preserve, swaps stacks, and restores it: ucontext would make two system
// calls for each switch.
extern "C" void figmentSwitchStacks(void** from, void* to);
asm(R"(
.text
.globl figmentSwitchStacks
.hidden figmentSwitchStacks
.type figmentSwitchStacks,@function
figmentSwitchStacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size figmentSwitchStacks,.-figmentSwitchStacks
)");

struct Fibre::State {
  std::byte* stack = nullptr;
  void* inside = nullptr;   // stack pointer while it waits
  void* outside = nullptr;  // of whoever resumed it
  Main main = nullptr;
  void* argument = nullptr;
};

namespace {
thread_local void* entering = nullptr;  // the State that is resumed for the first time

}  // namespace

extern "C" void figmentFibreEntry();

void Fibre::start(Main main, void* argument) {
  state_->main = main;
  state_->argument = argument;
  auto** top = reinterpret_cast<void**>(state_->stack + kStackBytes);
  *--top = nullptr;  // alignment: at entry, rsp is 8 below a multiple of 16
  *--top = reinterpret_cast<void*>(&figmentFibreEntry);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  state_->inside = top;
}

void Fibre::resume() {
  entering = this;
  figmentSwitchStacks(&state_->outside, state_->inside);
}

void Fibre::yield() { figmentSwitchStacks(&state_->inside, state_->outside); }

extern "C" void figmentFibreEntry() {
  Fibre::enter(static_cast<Fibre*>(entering));
}

#else

struct Fibre::State {
  std::byte* stack = nullptr;
  ucontext_t inside = {};
  ucontext_t outside = {};
  Main main = nullptr;
  void* argument = nullptr;
};

namespace {
void enterContext(unsigned high, unsigned low) {
  Fibre::enter(reinterpret_cast<Fibre*>(uintptr_t(high) << 32 | uintptr_t(low)));
}
}  // namespace

void Fibre::start(Main main, void* argument) {
  state_->main = main;
  state_->argument = argument;
  getcontext(&state_->inside);
  state_->inside.uc_stack.ss_sp = state_->stack;
  state_->inside.uc_stack.ss_size = kStackBytes;
  state_->inside.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&state_->inside, reinterpret_cast<void (*)()>(&enterContext), 2,
              unsigned(uint64_t(self) >> 32), unsigned(self));
}

void Fibre::resume() { swapcontext(&state_->outside, &state_->inside); }

void Fibre::yield() { swapcontext(&state_->inside, &state_->outside); }

#endif

void Fibre::enter(Fibre* fibre) {
  fibre->state_->main(fibre->state_->argument);
  for (;;) fibre->yield();  // resumed after its end: nothing to do
}

Fibre::Fibre() : state_(std::make_unique<State>()) {
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack == MAP_FAILED) throw std::bad_alloc();
  state_->stack = static_cast<std::byte*>(stack);
}

Fibre::~Fibre() { munmap(state_->stack, kStackBytes); }

}  // namespace figment::cuda::emulator
