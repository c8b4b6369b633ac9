// Hopper's barriers in shared memory, its copy engine, and products of warpgroups. Of the emulator
// alone: on a GPU most of these faults hang, or go well for years.
#ifdef FIGMENT_EMULATED
#include <cudaTypedefs.h>

#include "../../emulator/tensor_map.h"
#include "cases.h"
#include "device/hopper_held.h"

namespace figment::cuda::cases {
namespace {

constexpr int kThreads = 64;
constexpr uint32_t kBoxRows = 8;
constexpr int kRow = 64, kBox = kRow * int(kBoxRows);
constexpr uint32_t kBoxBytes = kBox * sizeof(uint16_t);
constexpr int kBoxes = 3;

/// Of rows of 64 elements that are copied as they lie, eight at a time.
CUtensorMap mapOf(const Global<uint16_t>& x) {
  const cuuint64_t sizes[] = {kRow, kBoxes * kBoxRows, 1};
  const cuuint64_t strides[] = {kRow * sizeof(uint16_t), kBoxes * kBoxBytes};
  const cuuint32_t box[] = {kRow, kBoxRows, 1}, steps[] = {1, 1, 1};
  CUtensorMap map;
  const auto encode =
      PFN_cuTensorMapEncodeTiled_v12000(emulator::driverFunction("cuTensorMapEncodeTiled"));
  encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, x.address(0), sizes, strides, box, steps,
         CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
         CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return map;
}

// --- The copy engine -----------------------------------------------------------------------------

enum class Copy {
  correct,
  unknown,
  twice,
  tooManyBytes,
  crooked,
  pastEnd,
  left,
  unawaited,
  ofPixels
};

template <Copy fault>
FIGMENT_KERNEL(kThreads)
boxKernel(CUtensorMap map, Global<float> y) {
  FIGMENT_DYNAMIC_SHARED(shared);
  FIGMENT_SHARED(uint64_t, barriers, 1);
  const auto tile = shared.view<uint16_t>(0, kBox);
  const uint32_t full = barriers.address(0);
  if (threadIdx.x == 0) {
    hopper::initBarrier(full, 1);
    if constexpr (fault != Copy::unknown) hopper::publishBarriers();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    hopper::arriveExpecting(full, fault == Copy::tooManyBytes ? 2 * kBoxBytes : kBoxBytes);
    if constexpr (fault == Copy::twice) hopper::arrive(full);
    const uint32_t off = fault == Copy::crooked ? 64 : fault == Copy::pastEnd ? 1 << 18 : 0;
    if constexpr (fault == Copy::ofPixels)
      hopper::copyPixels(tile.address(0), map, full, 0, 0, 0, 0, 0, 0);
    else
      hopper::copyBox(tile.address(0) + off, map, full, 0, 0, 0);
  }
  if constexpr (fault == Copy::left) return;
  if constexpr (fault != Copy::unawaited) hopper::waitFor(full, 0);
  y[threadIdx.x] = tile[int(threadIdx.x)];
}

template <Copy fault>
void copyBoxes(Bench& bench) {
  const auto x = bench.numbers<uint16_t>(kBoxes * kBox);
  const auto y = bench.numbers<float>(kThreads);
  launch<boxKernel<fault>>(bench.launcher(), {}, kThreads, 2 * kBoxBytes, mapOf(x), y);
  bench.expect(y, kThreads, [](int64_t i) { return i + 1; });
}
FIGMENT_CORRECT(readsBoxAfterItsBarrier, racecheck) { copyBoxes<Copy::correct>(bench); }
FIGMENT_STRICT_FAULT(readsBoxBeforeItsBarrier, racecheck) { copyBoxes<Copy::unawaited>(bench); }
FIGMENT_STRICT_FAULT(copiesForUnpublishedBarrier, synccheck) { copyBoxes<Copy::unknown>(bench); }
FIGMENT_STRICT_FAULT(arrivesOnceTooOften, synccheck) { copyBoxes<Copy::twice>(bench); }
FIGMENT_STRICT_FAULT(awaitsMoreBytesThanCome, synccheck) { copyBoxes<Copy::tooManyBytes>(bench); }
FIGMENT_STRICT_FAULT(boxOffAlignment, memcheck) { copyBoxes<Copy::crooked>(bench); }
FIGMENT_STRICT_FAULT(boxPastSharedMemory, memcheck) { copyBoxes<Copy::pastEnd>(bench); }
FIGMENT_STRICT_FAULT(leavesCopyUnderWay, memcheck) { copyBoxes<Copy::left>(bench); }
FIGMENT_STRICT_FAULT(copiesPixelsByMapOfBoxes, memcheck) { copyBoxes<Copy::ofPixels>(bench); }

/// One warp has a stage filled again and again, the other sums what it holds.
template <bool waitsForEmpty>
FIGMENT_KERNEL(kThreads)
ringKernel(CUtensorMap map, Global<float> y) {
  FIGMENT_DYNAMIC_SHARED(shared);
  FIGMENT_SHARED(uint64_t, barriers, 2);
  const auto tile = shared.view<uint16_t>(0, kBox);
  const uint32_t full = barriers.address(0), empty = barriers.address(1);
  if (threadIdx.x == 0) {
    hopper::initBarrier(full, 1);
    hopper::initBarrier(empty, 1);
    hopper::publishBarriers();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int t = 0; t < kBoxes; t++) {
      hopper::waitFor(waitsForEmpty ? empty : full, uint32_t(t + 1) % 2);
      hopper::arriveExpecting(full, kBoxBytes);
      hopper::copyBox(tile.address(0), map, full, 0, t * int(kBoxRows), 0);
    }
  } else if (threadIdx.x >= 32) {
    const int lane = int(threadIdx.x) - 32;
    float sum = 0;
    for (int t = 0; t < kBoxes; t++) {
      hopper::waitFor(full, uint32_t(t) % 2);
      sum += tile[lane];
      __syncwarp();
      if (lane == 0) hopper::arrive(empty);
    }
    y[lane] = sum;
  }
}
template <bool waitsForEmpty>
void runRing(Bench& bench) {
  const auto x = bench.numbers<uint16_t>(kBoxes * kBox);
  const auto y = bench.numbers<float>(32);
  launch<ringKernel<waitsForEmpty>>(bench.launcher(), {}, kThreads, kBoxBytes, mapOf(x), y);
  bench.expect(y, 32, [](int64_t i) { return kBoxes * (i + 1) + kBox * 3; });
}
FIGMENT_CORRECT(fillsStageAfterItWasRead, racecheck) { runRing<true>(bench); }
FIGMENT_STRICT_FAULT(fillsStageThatIsRead, racecheck) { runRing<false>(bench); }

// --- Barriers ------------------------------------------------------------------------------------

enum class Message { correct, unawaited, lacking, elsewhere };

template <Message fault>
FIGMENT_KERNEL(kThreads)
messageKernel(Global<float> y) {
  FIGMENT_SHARED(float, message, 32);
  FIGMENT_SHARED(uint64_t, barriers, 2);
  const uint32_t written = barriers.address(0);
  if (threadIdx.x == 0) hopper::initBarrier(written, fault == Message::lacking ? 2 : 1);
  __syncthreads();
  const int lane = int(threadIdx.x) % 32;
  if (threadIdx.x < 32) {
    message[lane] = float(lane);
    __syncwarp();
    if (lane == 0) hopper::arrive(fault == Message::elsewhere ? barriers.address(1) : written);
  } else {
    if constexpr (fault != Message::unawaited) hopper::waitFor(written, 0);
    y[lane] = message[31 - lane];
  }
}
template <Message fault>
void sendMessage(Bench& bench) {
  const auto y = bench.numbers<float>(32);
  launch<messageKernel<fault>>(bench.launcher(), {}, kThreads, 0, y);
  bench.expect(y, 32, [](int64_t i) { return 31 - i; });
}
FIGMENT_CORRECT(readsAfterMbarrier, racecheck) { sendMessage<Message::correct>(bench); }
FIGMENT_STRICT_FAULT(readsBeforeMbarrier, racecheck) { sendMessage<Message::unawaited>(bench); }
FIGMENT_STRICT_FAULT(mbarrierLacksArrival, synccheck) { sendMessage<Message::lacking>(bench); }
FIGMENT_STRICT_FAULT(arrivesAtNoMbarrier, synccheck) { sendMessage<Message::elsewhere>(bench); }

enum class Named { correct, absent, lacking, otherCount, numberOfBlock };

/// Two of three warps meet.
template <Named fault>
FIGMENT_KERNEL(96)
namedKernel(Global<float> y) {
  FIGMENT_SHARED(float, values, 64);
  const int self = int(threadIdx.x);
  if (self >= 64) return;
  values[self] = float(self);
  const int number = fault == Named::numberOfBlock ? 0 : 1;
  const bool second = self >= 32;
  if (fault == Named::lacking && second) return;
  if constexpr (fault != Named::absent)
    hopper::syncThreads(number, fault == Named::otherCount && second ? 96 : 64);
  y[self] = values[63 - self];
}
template <Named fault>
void meetSome(Bench& bench) {
  const auto y = bench.numbers<float>(64);
  launch<namedKernel<fault>>(bench.launcher(), {}, 96, 0, y);
  bench.expect(y, 64, [](int64_t i) { return 63 - i; });
}
FIGMENT_CORRECT(twoWarpsMeet, synccheck) { meetSome<Named::correct>(bench); }
FIGMENT_STRICT_FAULT(twoWarpsDoNotMeet, racecheck) { meetSome<Named::absent>(bench); }
FIGMENT_STRICT_FAULT(oneOfTwoWarpsWaits, racecheck) { meetSome<Named::lacking>(bench); }
FIGMENT_STRICT_FAULT(twoWarpsCountOtherwise, synccheck) { meetSome<Named::otherCount>(bench); }
FIGMENT_STRICT_FAULT(twoWarpsMeetAtBlocksBarrier, synccheck) {
  meetSome<Named::numberOfBlock>(bench);
}

/// Both warps write the same zeros, which is no race unless one reads what was there.
template <bool reads>
FIGMENT_KERNEL(kThreads)
zerosKernel(Global<float> y) {
  FIGMENT_SHARED(float, tile, 4 * 32);
  const int lane = int(threadIdx.x) % 32;
  for (int i = int(threadIdx.x); i < 4 * 32; i += kThreads) tile[i] = 1;
  __syncthreads();
  float before = 0;
  if (reads && threadIdx.x < 32) before = tile[4 * lane];
  if (!reads || threadIdx.x >= 32) hopper::storeZeros16(tile.address(4 * lane));
  __syncthreads();
  y[threadIdx.x] = before + tile[4 * lane];
}
FIGMENT_CORRECT(twoWarpsStoreSameZeros, racecheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<zerosKernel<false>>(bench.launcher(), {}, kThreads, 0, y);
  bench.expect(y, kThreads, [](int64_t) { return 0; });
}
FIGMENT_STRICT_FAULT(storesZerosOverWhatIsRead, racecheck) {
  launch<zerosKernel<true>>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads));
}

// --- Products of warpgroups ----------------------------------------------------------------------

constexpr int kWarpgroup = 128;
constexpr int kTile = 64 * 64;
constexpr uint32_t kTileAlignment = 1024;
constexpr uint16_t kOne = 0x3f80;  ///< bf16
constexpr int kDepth = 16;         ///< of one product, so that its sums are of so many ones

enum class Product {
  correct,
  unfenced,
  unpublished,
  unswizzled,
  ofFew,
  otherFactors,
  writesFactor,
  writesSums,
  readsSums,
  returns,
  halfWaits,
  otherGroups
};

/// Two products of ones, each a group, of which the first is done before the second.
template <Product fault>
FIGMENT_KERNEL(kWarpgroup)
productKernel(Global<float> y) {
  FIGMENT_DYNAMIC_SHARED(shared);
  FIGMENT_SHARED(uint64_t, barriers, 1);
  // In a block without any, writes are not asked whether they were published.
  if (threadIdx.x == 0) hopper::initBarrier(barriers.address(0), 1);
  const uint32_t begin = shared.view<uint16_t>(0, 0).address(0);
  const auto tile = shared.view<uint16_t>(-begin % kTileAlignment, kTile);
  for (int i = int(threadIdx.x); i < kTile; i += int(blockDim.x)) tile[i] = kOne;
  if constexpr (fault != Product::unpublished) hopper::publishWrites();
  __syncthreads();
  const bool last = threadIdx.x == kWarpgroup - 1, second = threadIdx.x >= kWarpgroup / 2;
  uint64_t factor = hopper::operandAt(tile.address(0), 0);
  if (fault == Product::unswizzled) factor &= ~(uint64_t{3} << 62);
  if (fault == Product::otherFactors && last) factor += hopper::kOperandStep<false>;
  float first[32] = {}, next[32] = {};
  if constexpr (fault != Product::unfenced) hopper::beginProducts();
  hopper::multiply<Bf16, false, false>(first, factor, factor);
  hopper::commitProducts();
  hopper::multiply<Bf16, false, false>(next, factor, factor);
  hopper::commitProducts();
  if (fault == Product::writesFactor && threadIdx.x == 0) tile[0] = 0;
  if (fault == Product::writesSums && last) first[0] = 1;
  if (fault == Product::returns) return;
  if (fault == Product::otherGroups && last) hopper::waitForProducts<0>();
  if (fault == Product::halfWaits && second) __syncthreads();
  hopper::waitForProducts<1>();
  float sum = first[0];
  if (fault == Product::readsSums) sum += next[0];
  hopper::waitForProducts<0>();
  if (fault != Product::readsSums) sum += next[0];
  y[threadIdx.x] = sum;
}
template <Product fault>
void multiplyOnes(Bench& bench) {
  const auto y = bench.numbers<float>(kWarpgroup);
  launch<productKernel<fault>>(bench.launcher(), {},
                               fault == Product::ofFew ? kWarpgroup / 2 : kWarpgroup,
                               kTile * sizeof(uint16_t) + kTileAlignment, y);
  bench.expect(y, kWarpgroup, [](int64_t) { return 2 * kDepth; });
}
FIGMENT_CORRECT(waitsForProductsInTurn, racecheck) { multiplyOnes<Product::correct>(bench); }
FIGMENT_STRICT_FAULT(productWithoutFence, racecheck) { multiplyOnes<Product::unfenced>(bench); }
FIGMENT_STRICT_FAULT(productOfUnpublishedWrites, racecheck) {
  multiplyOnes<Product::unpublished>(bench);
}
FIGMENT_STRICT_FAULT(productWithoutSwizzle, memcheck) { multiplyOnes<Product::unswizzled>(bench); }
FIGMENT_STRICT_FAULT(productOfTwoWarps, synccheck) { multiplyOnes<Product::ofFew>(bench); }
FIGMENT_STRICT_FAULT(productOfOtherFactors, synccheck) {
  multiplyOnes<Product::otherFactors>(bench);
}
FIGMENT_STRICT_FAULT(writesFactorUnderWay, racecheck) {
  multiplyOnes<Product::writesFactor>(bench);
}
FIGMENT_STRICT_FAULT(writesSumsUnderWay, racecheck) { multiplyOnes<Product::writesSums>(bench); }
FIGMENT_STRICT_FAULT(readsSumsUnderWay, racecheck) { multiplyOnes<Product::readsSums>(bench); }
FIGMENT_STRICT_FAULT(returnsBeforeProducts, synccheck) { multiplyOnes<Product::returns>(bench); }
FIGMENT_STRICT_FAULT(halfOfWarpgroupWaits, synccheck) { multiplyOnes<Product::halfWaits>(bench); }
FIGMENT_STRICT_FAULT(waitsForOtherGroups, synccheck) { multiplyOnes<Product::otherGroups>(bench); }

/// A left factor in registers, changed when its product is done, or before.
template <bool early>
FIGMENT_KERNEL(kWarpgroup)
heldKernel(Global<float> y) {
  FIGMENT_DYNAMIC_SHARED(shared);
  const uint32_t begin = shared.view<uint16_t>(0, 0).address(0);
  const auto tile = shared.view<uint16_t>(-begin % kTileAlignment, kTile);
  for (int i = int(threadIdx.x); i < kTile; i += kWarpgroup) tile[i] = kOne;
  hopper::publishWrites();
  __syncthreads();
  constexpr uint32_t kOnes = uint32_t(kOne) << 16 | kOne;
  uint32_t held[4] = {kOnes, kOnes, kOnes, kOnes};
  float sums[32] = {};
  hopper::beginProducts();
  hopper::multiplyHeld<Bf16>(sums, held, hopper::operandAt(tile.address(0), 0));
  hopper::commitProducts();
  if constexpr (early) held[1] = 0;
  hopper::waitForProducts<0>();
  held[1] = 0;
  y[threadIdx.x] = sums[0] + float(held[1]);
}
template <bool early>
void multiplyHeldOnes(Bench& bench) {
  const auto y = bench.numbers<float>(kWarpgroup);
  launch<heldKernel<early>>(bench.launcher(), {}, kWarpgroup,
                            kTile * sizeof(uint16_t) + kTileAlignment, y);
  bench.expect(y, kWarpgroup, [](int64_t) { return kDepth; });
}
FIGMENT_CORRECT(changesHeldFactorAfterwards, racecheck) { multiplyHeldOnes<false>(bench); }
FIGMENT_STRICT_FAULT(changesHeldFactorUnderWay, racecheck) { multiplyHeldOnes<true>(bench); }

/// Three warpgroups share a multiprocessor's registers.
template <int most>
FIGMENT_KERNEL(3 * kWarpgroup)
registersKernel(Global<float> y) {
  if (threadIdx.x < kWarpgroup)
    hopper::giveRegisters<24>();
  else
    hopper::takeRegisters<most>();
  y[threadIdx.x] = 1;
}
FIGMENT_CORRECT(asksForAllRegisters, synccheck) {
  launch<registersKernel<240>>(bench.launcher(), {}, 3 * kWarpgroup, 0,
                               bench.numbers<float>(3 * kWarpgroup));
}
FIGMENT_STRICT_FAULT(asksForMoreRegisters, synccheck) {
  launch<registersKernel<248>>(bench.launcher(), {}, 3 * kWarpgroup, 0,
                               bench.numbers<float>(3 * kWarpgroup));
}

}  // namespace
}  // namespace figment::cuda::cases
#endif
