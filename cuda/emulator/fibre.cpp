#include "fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>

// FIGMENT_FIBRES_PORTABLE, or a processor that is not listed: by ucontext, which makes two system
// calls for each switch.
#if defined(__ELF__) && !defined(FIGMENT_FIBRES_PORTABLE) && \
    (defined(__x86_64__) || defined(__aarch64__))
#define FIGMENT_SWITCH_STACKS 1
#else
#include <ucontext.h>
#endif

namespace figment::cuda::emulator {
namespace {

constexpr size_t kStackBytes = 256 * 1024;
/// Stacks begin at different distances from the end of their memory, lest all compete for the same
/// few sets of the cache.
constexpr size_t kStaggers = 61, kStaggerBytes = 1088;

/// Below each stack lies a page that nobody may touch: a stack that overflows ends the process
/// instead of writing over its neighbour's.
size_t guardBytes() {
  static const auto bytes = size_t(sysconf(_SC_PAGESIZE));
  return bytes;
}

size_t nextStagger() {
  static std::atomic<size_t> fibres{0};
  return fibres.fetch_add(1, std::memory_order_relaxed) % kStaggers * kStaggerBytes;
}

}  // namespace

#ifdef FIGMENT_SWITCH_STACKS

// Saves what a call must preserve, swaps stacks, and restores it.
extern "C" void figmentSwitchStacks(void** from, void* to);
extern "C" void figmentFibreEntry();

#if defined(__x86_64__)
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

namespace {
/// What the first switch to a stack finds there: six registers, and where it returns to, 8 below a
/// multiple of 16.
constexpr size_t kFirstWords = 8, kReturnWord = 6;
}  // namespace
#else
asm(R"(
.text
.globl figmentSwitchStacks
.hidden figmentSwitchStacks
.type figmentSwitchStacks,%function
figmentSwitchStacks:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size figmentSwitchStacks,.-figmentSwitchStacks
)");

namespace {
/// What the first switch to a stack finds there: twenty registers, among them x30, to which it
/// returns.
constexpr size_t kFirstWords = 20, kReturnWord = 11;
}  // namespace
#endif

struct Fibre::State {
  std::byte* stack = nullptr;
  size_t bytes = kStackBytes - nextStagger();
  void* inside = nullptr;   // stack pointer while it waits
  void* outside = nullptr;  // of whoever resumed it
  Main main = nullptr;
  void* argument = nullptr;
};

namespace {
thread_local Fibre* entering = nullptr;  // the one that was resumed last
}  // namespace

void Fibre::start(Main main, void* argument) {
  state_->main = main;
  state_->argument = argument;
  auto** words = reinterpret_cast<void**>(state_->stack + state_->bytes) - kFirstWords;
  std::memset(words, 0, kFirstWords * sizeof(void*));
  words[kReturnWord] = reinterpret_cast<void*>(&figmentFibreEntry);
  state_->inside = words;
}

void Fibre::resume() {
  entering = this;
  figmentSwitchStacks(&state_->outside, state_->inside);
}

void Fibre::yield() { figmentSwitchStacks(&state_->inside, state_->outside); }

extern "C" void figmentFibreEntry() { Fibre::enter(entering); }

#else

struct Fibre::State {
  std::byte* stack = nullptr;
  size_t bytes = kStackBytes - nextStagger();
  ucontext_t inside = {};
  ucontext_t outside = {};
  Main main = nullptr;
  void* argument = nullptr;
};

namespace {
/// makecontext passes ints: a pointer in two halves.
void enterContext(unsigned high, unsigned low) {
  Fibre::enter(reinterpret_cast<Fibre*>(uintptr_t(uint64_t(high) << 32 | low)));
}
}  // namespace

void Fibre::start(Main main, void* argument) {
  state_->main = main;
  state_->argument = argument;
  getcontext(&state_->inside);
  state_->inside.uc_stack.ss_sp = state_->stack;
  state_->inside.uc_stack.ss_size = state_->bytes;
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
  void* memory = mmap(nullptr, guardBytes() + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  if (mprotect(memory, guardBytes(), PROT_NONE) != 0) {
    munmap(memory, guardBytes() + kStackBytes);
    throw std::bad_alloc();
  }
  state_->stack = static_cast<std::byte*>(memory) + guardBytes();
}

Fibre::~Fibre() { munmap(state_->stack - guardBytes(), guardBytes() + kStackBytes); }

}  // namespace figment::cuda::emulator
