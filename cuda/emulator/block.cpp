#include "block.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string_view>

#include "block_cluster.h"
#include "places.h"
#include "runtime/error.h"

namespace figment::cuda::emulator {

thread_local const ThreadVariables* running = nullptr;

namespace {

thread_local Block* currentBlock = nullptr;

/// Fresh shared memory: a NaN in f32 and bf16, so that reading what nobody wrote shows.
constexpr int kUnwritten = 0xff;
/// Of dynamic shared memory, as launches have it.
constexpr size_t kSharedAlignment = 1024;

constexpr size_t roundedUp(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

std::string threadName(uint32_t thread) { return "thread " + std::to_string(thread); }

}  // namespace

Block::Block(BlockCluster& cluster)
    : cluster_(cluster),
      sharedMemory_(static_cast<std::byte*>(std::aligned_alloc(
          kSharedAlignment, roundedUp(kMaxShared + kMaxDeclared, kSharedAlignment)))) {
  if (!sharedMemory_) throw std::bad_alloc();
}

Block::~Block() { std::free(sharedMemory_); }

Block& Block::current() { return *currentBlock; }

std::string Block::where() const {
  const ThreadVariables& v = threads_[0].variables;
  return std::string(name_) + ", block (" + std::to_string(v.block.x) + ", " +
         std::to_string(v.block.y) + ", " + std::to_string(v.block.z) + ")";
}

void Block::fail(const std::string& message) {
  failure_ = where() + ", " + threadName(running_) + ": " + message;
  for (;;) threads_[running_].fibre->yield();  // its cluster sees the failure and never comes back
}

void Block::begin(dim3 grid, dim3 block, int rank, uint32_t count, size_t dynamicBytes,
                  const char* name, const std::function<void()>& kernel) {
  if (count == 0 || count > kMaxThreads)
    throw Error(code::kDevice, std::string(name) + ": " + std::to_string(count) +
                                   " threads in a block; there may be 1 to 1024");
  if (dynamicBytes > kMaxShared)
    throw Error(code::kDevice, std::string(name) + ": " + std::to_string(dynamicBytes) +
                                   " bytes of shared memory; a block has 232448");
  kernel_ = &kernel;
  name_ = name;
  rank_ = rank;
  reader_ = kNobody;
  count_ = count;
  dynamicBytes_ = dynamicBytes;
  if (threads_.size() < count_) threads_.resize(count_);
  const uint32_t warps = (count_ + 31) / 32;
  if (warps_.size() < warps) warps_.resize(warps);
  for (uint32_t w = 0; w < warps; w++) {
    const uint32_t lanes = std::min(32u, count_ - 32 * w);
    warps_[w].gatherings.clear();
    warps_[w].there = lanes == 32 ? 0xffffffffu : (1u << lanes) - 1;
  }
  const size_t dynamicEnd = roundedUp(dynamicBytes_, 16);
  std::memset(sharedMemory_, kUnwritten, std::max(sharedEnd_, dynamicEnd));
  sharedEnd_ = dynamicEnd;
  declared_.clear();
  races_.begin(warps, kMaxShared + kMaxDeclared);
  asynchronous_.begin();
  products_.begin();
  registers_.clear();
  for (NamedBarrier& barrier : named_) barrier.waiting.clear();
  failure_.clear();
  waiting_ = ended_ = 0;
  votes_ = 0;
  voteKind_ = -1;
  for (uint32_t t = 0; t < count_; t++) {
    Thread& thread = threads_[t];
    if (!thread.fibre) thread.fibre = std::make_unique<Fibre>();
    thread.variables = {{t, 0, 0}, block, {count_, 1, 1}, grid};
    thread.wait = Wait::none;
    thread.copyGroup = 0;
    thread.fibre->start([](void* self) { static_cast<Block*>(self)->runThread(); }, this);
  }
}

bool Block::takeTurns() {
  currentBlock = this;
  bool progress = false;
  for (uint32_t t = 0; t < count_ && failure_.empty(); t++) {
    if (threads_[t].wait != Wait::none) continue;
    progress = true;
    resume(t);
  }
  return progress;
}

std::string Block::leftOver() const {
  const std::string left = asynchronous_.leftOver();
  return left.empty() ? left : where() + ": " + left;
}

void Block::end() {
  if (asynchronous_.used() || products_.used()) races_.forget(0, sharedEnd_);
  for (uint32_t t = 0; t < count_; t++) dropCopies(threads_[t]);
  running = nullptr;
  currentBlock = nullptr;
}

void Block::resume(uint32_t thread) {
  running_ = thread;
  running = &threads_[thread].variables;
  threads_[thread].fibre->resume();
}

void Block::runThread() {
  std::string problem;
  try {
    (*kernel_)();
  } catch (const std::exception& error) {
    problem = error.what();
  }
  // Not in the handler: a fibre that is left there for good would disturb its thread's exceptions.
  if (!problem.empty()) fail(problem);
  leave();
}

void Block::leave() {
  products_.leave();
  Thread& thread = threads_[running_];
  const uint32_t self = running_;
  Warp& warp = warps_[self / 32];
  warp.there &= ~(1u << (self % 32));
  for (size_t g = 0; g < warp.gatherings.size();)
    if (!completed(self / 32, g)) g++;
  thread.wait = Wait::done;
  if (++ended_ == count_ && reader_ != kNobody)
    fail("its block ends although block " + std::to_string(reader_) +
         " of its cluster read its shared memory after the cluster's last barrier");
}

void Block::dropCopies(Thread& thread) {
  for (const PendingCopy& copy : thread.copies) races_.endCopy(offsetOf(copy.to), copy.bytes);
  thread.copies.clear();
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
  for (const std::string& other : {asynchronous_.stuck(), products_.stuck()})
    if (!other.empty()) return where() + ": " + other;
  for (int i = 0; i < kNamedBarriers; i++)
    if (!named_[i].waiting.empty())
      return where() + ": divergent barrier " + std::to_string(i) + ": " +
             std::to_string(named_[i].waiting.size()) + " of " + std::to_string(named_[i].threads) +
             " threads wait";
  if (waiting_ == 0) return "";
  return where() + ": divergent __syncthreads: " + std::to_string(waiting_) + " of " +
         std::to_string(count_) + " threads wait at " + placeName(barrier_) + ", " +
         std::to_string(ended_) + " have returned";
}

void Block::releaseBarrier() {
  const int result = voteKind_ == 1 ? votes_ == int(count_) : voteKind_ == 0 ? votes_ > 0 : votes_;
  for (uint32_t t = 0; t < count_; t++) {
    threads_[t].wait = Wait::none;
    threads_[t].voteResult = result;
  }
  waiting_ = 0;
  votes_ = 0;
  races_.passBlockBarrier();
}

int Block::waitForBlock(int voteKind, bool vote, const std::source_location& place) {
  if (waiting_ == 0) {
    barrier_ = place;
    voteKind_ = voteKind;
  } else if (!samePlace(place, barrier_) || voteKind != voteKind_) {
    fail("divergent __syncthreads: waits at " + placeName(place) + " while others wait at " +
         placeName(barrier_));
  }
  votes_ += vote;
  const uint32_t self = running_;
  if (++waiting_ == count_) {
    releaseBarrier();
  } else {
    threads_[self].wait = Wait::block;
    threads_[self].fibre->yield();
  }
  return threads_[self].voteResult;
}

int Block::clusterSize() const { return cluster_.size(); }

void Block::waitForCluster(const std::source_location& place) { cluster_.wait(*this, place); }

void Block::suspendForCluster() {
  Thread& thread = threads_[running_];
  thread.wait = Wait::cluster;
  thread.fibre->yield();
}

void Block::passClusterBarrier() {
  for (uint32_t t = 0; t < count_; t++)
    if (threads_[t].wait == Wait::cluster) threads_[t].wait = Wait::none;
  races_.passClusterBarrier();
  reader_ = kNobody;
}

const std::byte* Block::readInCluster(const std::byte* at, size_t bytes, int rank) {
  if (rank == rank_) {
    note(at, bytes, Touch::read);
    return at;
  }
  const std::string what =
      "reads shared memory of block " + std::to_string(rank) + " of its cluster, which ";
  if (rank < 0 || rank >= cluster_.size()) fail(what + "has " + std::to_string(cluster_.size()));
  if (!cluster_.met()) fail(what + "need not have begun: no barrier of the cluster comes before");
  Block& other = cluster_.block(rank);
  if (other.over()) fail(what + "has returned");
  other.reader_ = rank_;
  const size_t offset = offsetOf(at);
  RaceDetector::Conflict conflict;
  if (!other.races_.noteForeign(offset, bytes, {uint8_t(rank_), uint16_t(running_)}, conflict))
    fail("race in shared memory at byte " + std::to_string(offset) + " of block " +
         std::to_string(rank) + " of its cluster: reads what " +
         (conflict.kind == RaceDetector::Conflict::copying ? "an asynchronous copy of " : "") +
         threadName(conflict.thread) + " there " +
         (conflict.kind == RaceDetector::Conflict::copying ? "brings" : "wrote") +
         " with no barrier of the cluster between");
  return other.sharedMemory_ + offset;
}

void Block::waitForWarp(uint32_t mask, const char* kind, WarpAction action, void* mine) {
  const uint32_t self = running_, bit = 1u << (self % 32);
  if (!(mask & bit)) fail(std::string(kind) + ": the calling lane is not in its mask");
  Warp& warp = warps_[self / 32];
  size_t g = 0;
  while (g < warp.gatherings.size() && !(warp.gatherings[g].mask & bit)) g++;
  if (g == warp.gatherings.size()) warp.gatherings.push_back({mask, 0, kind, action, {}});
  Gathering& open = warp.gatherings[g];
  const bool same = open.action == action &&
                    (open.kind == kind || std::string_view(open.kind) == std::string_view(kind));
  if (open.mask != mask || !same)
    fail(std::string("divergent warp: its lanes meet in different operations: ") + open.kind +
         " and " + kind + (same ? " of another mask" : ""));
  open.arrived |= bit;
  open.lanes[self % 32] = mine;
  if (completed(self / 32, g)) return;
  threads_[self].wait = Wait::warp;
  threads_[self].fibre->yield();
}

/// Lanes that have returned, or that the block does not have, are not waited for.
bool Block::completed(uint32_t index, size_t gathering) {
  Warp& warp = warps_[index];
  Gathering& open = warp.gatherings[gathering];
  const uint32_t members = open.mask & warp.there;
  if ((members & ~open.arrived) != 0) return false;
  if (open.action)
    open.action(open.lanes, open.arrived);
  else
    races_.passWarpBarrier(index, open.arrived, open.arrived == warp.there);
  for (uint32_t left = open.arrived; left != 0; left &= left - 1)
    threads_[32 * index + uint32_t(std::countr_zero(left))].wait = Wait::none;
  warp.gatherings.erase(warp.gatherings.begin() + int64_t(gathering));
  return true;
}

std::byte* Block::shared(const void* key, size_t bytes) {
  for (const DeclaredArray& array : declared_)
    if (array.key == key) return sharedMemory_ + array.begin;
  const size_t begin = sharedEnd_, end = begin + roundedUp(bytes, 16);
  const size_t declared = end - roundedUp(dynamicBytes_, 16);
  if (declared > kMaxDeclared)
    fail("its shared arrays take " + std::to_string(declared) + " bytes; a kernel may have 49152");
  const size_t dynamic = dynamicBytes_ == 0 ? 0 : roundedUp(declared, kSharedAlignment) - declared;
  if (declared + dynamic + dynamicBytes_ > kMaxShared)
    fail("its shared arrays take " + std::to_string(declared) + " bytes besides " +
         std::to_string(dynamicBytes_) + " of the launch; a block has 232448");
  declared_.push_back({key, begin});
  sharedEnd_ = end;
  return sharedMemory_ + begin;
}

std::byte* Block::dynamicShared(size_t offset, size_t bytes) {
  if (offset + bytes > dynamicBytes_)
    fail("a view of dynamic shared memory ends at byte " + std::to_string(offset + bytes) +
         "; the launch asked for " + std::to_string(dynamicBytes_));
  return sharedMemory_ + offset;
}

void Block::suspend() {
  Thread& thread = threads_[running_];
  thread.wait = Wait::other;
  thread.fibre->yield();
}

void Block::waitForSome(int number, uint32_t threads) {
  if (number <= 0 || number >= kNamedBarriers || threads % 32 != 0)
    fail("a barrier of number " + std::to_string(number) + " and " + std::to_string(threads) +
         " threads; there are 1 to 15, of whole warps");
  NamedBarrier& barrier = named_[number];
  if (!barrier.waiting.empty() && barrier.threads != threads)
    fail("divergent barrier " + std::to_string(number) + ": of " + std::to_string(threads) +
         " threads and of " + std::to_string(barrier.threads));
  barrier.threads = threads;
  barrier.waiting.push_back(running_);
  if (barrier.waiting.size() < threads) return suspend();
  WarpTimes order;
  for (const uint32_t thread : barrier.waiting) races_.release(thread / 32, order);
  for (const uint32_t thread : barrier.waiting) {
    races_.acquire(thread / 32, order);
    wake(thread);
  }
  barrier.waiting.clear();
}

void Block::setRegisters(uint32_t registers) {
  constexpr uint32_t kWarpgroup = 128, kRegisters = 65536;
  registers_.resize((count_ + kWarpgroup - 1) / kWarpgroup);
  registers_[running_ / kWarpgroup] = registers;
  uint32_t all = 0;
  for (const uint32_t each : registers_) all += each * kWarpgroup;
  if (all > kRegisters)
    fail("its warpgroups ask for " + std::to_string(all) + " registers; there are 65536");
}

size_t Block::sharedOffset(uint32_t address, size_t bytes, size_t alignment) {
  const size_t offset = offsetAt(address);
  if (address < kFirstAddress || offset + bytes > sharedEnd_)
    fail("names " + std::to_string(bytes) + " bytes from byte " +
         std::to_string(int64_t(address) - kFirstAddress) + " of shared memory on; its block has " +
         std::to_string(sharedEnd_));
  if (address % alignment != 0) refuseAlignment(alignment);
  return offset;
}

void Block::note(const std::byte* at, size_t bytes, Touch touch) {
  noteAt(offsetOf(at), bytes, touch);
  if (touch == Touch::write) asynchronous_.noteWrite(offsetOf(at), bytes);
}

void Block::noteAt(size_t offset, size_t bytes, Touch touch) {
  RaceDetector::Conflict conflict;
  if (!races_.note(offset, bytes, touch, running_, conflict)) failAt(offset, touch, conflict);
}

void Block::noteEngineAt(size_t offset, size_t bytes, Touch touch) {
  RaceDetector::Conflict conflict;
  if (!races_.noteEngine(offset, bytes, touch, running_, conflict)) failAt(offset, touch, conflict);
}

void Block::failAt(size_t offset, Touch touch, const RaceDetector::Conflict& conflict) {
  constexpr const char* kNow[] = {"reads", "writes", "updates"};
  constexpr const char* kBefore[] = {"read", "wrote", "updated"};
  const std::string what =
      "race in shared memory at byte " + std::to_string(offset) + ": " + kNow[int(touch)];
  switch (conflict.kind) {
    case RaceDetector::Conflict::copying:
      fail(what + " what an asynchronous copy of " + threadName(conflict.thread) +
           " has not been waited for");
    case RaceDetector::Conflict::multiplying:
      fail(what + " what a product that is under way reads");
    case RaceDetector::Conflict::foreign:
      fail(what + " what " + threadName(conflict.thread) + " of block " +
           std::to_string(conflict.block) +
           " of its cluster read with no barrier of the cluster between");
    case RaceDetector::Conflict::unpublished:
      fail(what + " by the copy engine or the tensor cores what " + threadName(conflict.thread) +
           " wrote without fence.proxy.async");
    default:
      fail(what + " what " + threadName(conflict.thread) + " " + kBefore[int(conflict.with)] +
           " with no barrier between");
  }
}

void Block::beginCopy(std::byte* to, const void* data, uint32_t bytes) {
  note(to, bytes, Touch::write);
  races_.beginCopy(offsetOf(to), bytes, running_);
  Thread& thread = threads_[running_];
  PendingCopy& copy = thread.copies.emplace_back(PendingCopy{to, {}, bytes, thread.copyGroup});
  std::memcpy(copy.data, data, bytes);
}

void Block::waitForCopies(uint32_t groups) {
  Thread& thread = threads_[running_];
  std::erase_if(thread.copies, [&](const PendingCopy& copy) {
    if (copy.group + groups >= thread.copyGroup) return false;
    races_.endCopy(offsetOf(copy.to), copy.bytes);
    note(copy.to, copy.bytes, Touch::write);
    std::memcpy(copy.to, copy.data, copy.bytes);
    return true;
  });
}

}  // namespace figment::cuda::emulator
