#include "block.h"

#include <algorithm>

#include "runtime/error.h"
#include "shared.h"

namespace figment::cuda::emulator {

thread_local const ThreadVariables* running = nullptr;

namespace {

thread_local Block* currentBlock = nullptr;

/// Fresh shared memory: a NaN in f32 and bf16, so that reading what nobody wrote shows.
constexpr auto kUnwritten = std::byte(0xff);

std::string threadName(uint32_t thread) { return "thread " + std::to_string(thread); }

}  // namespace

Block& Block::current() { return *currentBlock; }

std::string Block::where() const {
  const ThreadVariables& v = threads_[0].variables;
  return std::string(name_) + ", block (" + std::to_string(v.block.x) + ", " +
         std::to_string(v.block.y) + ", " + std::to_string(v.block.z) + ")";
}

void Block::fail(const std::string& message) {
  failure_ = where() + ", " + threadName(running_) + ": " + message;
  for (;;) threads_[running_].fibre->yield();  // run() sees the failure and never comes back
}

void Block::run(dim3 grid, dim3 block, uint32_t count, size_t dynamicBytes, const char* name,
                const std::function<void()>& kernel) {
  if (count == 0 || count > kMaxThreads)
    throw Error(code::kDevice, std::string(name) + ": " + std::to_string(count) +
                                   " threads in a block; there may be 1 to 1024");
  if (dynamicBytes > kMaxShared)
    throw Error(code::kDevice, std::string(name) + ": " + std::to_string(dynamicBytes) +
                                   " bytes of shared memory; a block has 232448");
  if (threads_.size() < count) threads_.resize(count);
  warps_.assign((count + 31) / 32, {});
  sharedMemory_.assign(kMaxShared, kUnwritten);
  races_.reset(kMaxShared);
  kernel_ = &kernel;
  name_ = name;
  failure_.clear();
  count_ = count;
  waiting_ = ended_ = epoch_ = 0;
  votes_ = 0;
  voteKind_ = -1;
  dynamicBytes_ = dynamicBytes;
  currentBlock = this;
  for (uint32_t t = 0; t < count; t++) {
    Thread& thread = threads_[t];
    if (!thread.fibre) thread.fibre = std::make_unique<Fibre>();
    thread.variables = {{t, 0, 0}, block, {count, 1, 1}, grid};
    thread.wait = Wait::none;
    thread.sharedUsed = (dynamicBytes + 15) / 16 * 16;
    thread.copies = {};
    thread.fibre->start(
        [](void* self) {
          Block& of = *static_cast<Block*>(self);
          (*of.kernel_)();
          of.threads_[of.running_].wait = Wait::done;
          of.ended_++;
        },
        this);
  }
  while (ended_ < count) {
    bool progress = false;
    for (uint32_t t = 0; t < count; t++) {
      if (threads_[t].wait != Wait::none) continue;
      progress = true;
      running_ = t;
      running = &threads_[t].variables;
      threads_[t].fibre->resume();
      if (!failure_.empty()) break;
    }
    if (failure_.empty() && !progress) failure_ = stuck();
    if (failure_.empty()) continue;
    running = nullptr;
    currentBlock = nullptr;
    throw Error(code::kDevice, "emulated kernel of " + failure_);
  }
  running = nullptr;
  currentBlock = nullptr;
}

std::string Block::stuck() const {
  for (uint32_t t = 0; t < count_; t++) {
    if (threads_[t].wait != Wait::warp) continue;
    for (const Gathering& open : warps_[t / 32].gatherings) {
      if (!(open.arrived >> (t % 32) & 1)) continue;
      return where() + ": divergent " + open.kind + ": " + threadName(t) +
             " waits for lanes of its mask that never come";
    }
  }
  return where() + ": divergent __syncthreads: " + std::to_string(waiting_) + " of " +
         std::to_string(count_) + " threads wait, " + std::to_string(ended_) + " have returned";
}

void Block::releaseBarrier() {
  const int result = voteKind_ == 1 ? votes_ == int(count_) : voteKind_ == 0 ? votes_ > 0 : votes_;
  for (uint32_t t = 0; t < count_; t++) {
    threads_[t].wait = Wait::none;
    threads_[t].voteResult = result;
  }
  waiting_ = 0;
  votes_ = 0;
  voteKind_ = -1;
  epoch_++;
}

void Block::waitForBlock(int voteKind, bool vote, int* result) {
  if (waiting_ > 0 && voteKind != voteKind_)
    fail("threads of one block wait at barriers of two kinds");
  voteKind_ = voteKind;
  votes_ += vote;
  const uint32_t self = running_;
  if (++waiting_ == count_) {
    releaseBarrier();
  } else {
    threads_[self].wait = Wait::block;
    threads_[self].fibre->yield();
  }
  if (result) *result = threads_[self].voteResult;
}

void Block::waitForWarp(uint32_t mask, const char* kind, WarpAction action, void* mine) {
  const uint32_t self = running_, bit = 1u << (self % 32);
  if (!(mask & bit)) fail(std::string(kind) + ": the calling lane is not in its mask");
  const uint32_t first = self / 32 * 32;
  const uint32_t inWarp = std::min(32u, count_ - first);
  // Lanes that the block does not have are not waited for.
  const uint32_t wanted = inWarp == 32 ? mask : mask & ((1u << inWarp) - 1);
  Warp& warp = warps_[self / 32];
  auto open = std::find_if(warp.gatherings.begin(), warp.gatherings.end(),
                           [&](const Gathering& g) { return (g.mask & bit) != 0; });
  if (open == warp.gatherings.end()) {
    warp.gatherings.push_back({wanted, 0, kind, {}});
    open = warp.gatherings.end() - 1;
  }
  if (open->mask != wanted || std::string_view(open->kind) != kind)
    fail(std::string("lanes of one warp meet in different operations: ") + open->kind + " and " +
         kind);
  open->arrived |= bit;
  open->lanes[self % 32] = mine;
  if (open->arrived != open->mask) {
    threads_[self].wait = Wait::warp;
    threads_[self].fibre->yield();
    return;
  }
  const Gathering complete = *open;
  warp.gatherings.erase(open);
  if (action) action(complete.lanes, complete.mask);
  else warp.epoch++;
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (complete.mask >> lane & 1) threads_[first + lane].wait = Wait::none;
  }
}

std::byte* Block::shared(size_t bytes) {
  Thread& thread = threads_[running_];
  const size_t begin = thread.sharedUsed;
  thread.sharedUsed += (bytes + 15) / 16 * 16;
  if (thread.sharedUsed > kMaxShared)
    fail("its shared arrays take " + std::to_string(thread.sharedUsed) +
         " bytes; a block has 232448");
  return sharedMemory_.data() + begin;
}

std::byte* Block::dynamicShared(size_t offset, size_t bytes) {
  if (offset + bytes > dynamicBytes_)
    fail("a view of dynamic shared memory ends at byte " + std::to_string(offset + bytes) +
         "; the launch asked for " + std::to_string(dynamicBytes_));
  return sharedMemory_.data() + offset;
}

void Block::note(const std::byte* at, size_t bytes, bool write) {
  const auto offset = size_t(at - sharedMemory_.data());
  const Moment now = {uint16_t(running_), epoch_, warps_[running_ / 32].epoch};
  uint16_t other = 0;
  if (races_.note(offset, bytes, write, now, &other)) return;
  fail("race in shared memory at byte " + std::to_string(offset) + ": " +
       (write ? "writes" : "reads") + " what " + threadName(other) +
       " touched with no barrier between");
}

// What device.h and shared.h declare.

void runGrid(dim3 grid, uint32_t threads, size_t sharedBytes, const char* name,
             const std::function<void()>& kernel) {
  static thread_local Block block;
  for (uint32_t z = 0; z < grid.z; z++)
    for (uint32_t y = 0; y < grid.y; y++)
      for (uint32_t x = 0; x < grid.x; x++)
        block.run(grid, {x, y, z}, threads, sharedBytes, name, kernel);
}

void refuse(const std::string& message) { Block::current().fail(message); }

void refuseGlobal(int64_t index, int64_t elements, int64_t count, size_t size) {
  refuse("accesses elements [" + std::to_string(index) + ", " + std::to_string(index + elements) +
         ") of a global array of " + std::to_string(count) + " (" + std::to_string(size) +
         " bytes each)");
}

void refuseShared(int64_t index, int64_t elements, int64_t count, size_t size) {
  refuse("accesses elements [" + std::to_string(index) + ", " + std::to_string(index + elements) +
         ") of a shared array of " + std::to_string(count) + " (" + std::to_string(size) +
         " bytes each)");
}

void refuseAlignment(size_t bytes) {
  refuse("moves a vector that is not aligned to " + std::to_string(bytes) + " bytes");
}

void blockBarrier() { Block::current().waitForBlock(-1, false, nullptr); }

int blockVote(int kind, bool vote) {
  int result = 0;
  Block::current().waitForBlock(kind, vote, &result);
  return result;
}

void warpOperation(uint32_t mask, const char* kind, WarpAction action, void* mine) {
  Block::current().waitForWarp(mask, kind, action, mine);
}

int lane() { return Block::current().lane(); }

std::byte* sharedBytes(size_t bytes) { return Block::current().shared(bytes); }
std::byte* dynamicSharedBytes(size_t offset, size_t bytes) {
  return Block::current().dynamicShared(offset, bytes);
}
void noteRead(const std::byte* at, size_t bytes) { Block::current().note(at, bytes, false); }
void noteWrite(const std::byte* at, size_t bytes) { Block::current().note(at, bytes, true); }

}  // namespace figment::cuda::emulator

void __syncwarp(uint32_t mask) {
  figment::cuda::emulator::warpOperation(mask, "__syncwarp", nullptr, nullptr);
}

uint32_t __ballot_sync(uint32_t mask, int vote) {
  struct Vote {
    bool vote;
    uint32_t result;
  };
  Vote mine = {vote != 0, 0};
  figment::cuda::emulator::warpOperation(
      mask, "__ballot_sync",
      [](void* const* lanes, uint32_t members) {
        uint32_t result = 0;
        for (int lane = 0; lane < 32; lane++)
          if (members >> lane & 1 && static_cast<Vote*>(lanes[lane])->vote) result |= 1u << lane;
        for (int lane = 0; lane < 32; lane++)
          if (members >> lane & 1) static_cast<Vote*>(lanes[lane])->result = result;
      },
      &mine);
  return mine.result;
}
