#include "products.h"

#include <cstring>

#include "block.h"
#include "kernels/simd/half.h"
#include "tensor_map.h"

namespace figment::cuda::emulator {
namespace {

constexpr int kRows = 64, kDepth = 16, kMostColumns = 256;
constexpr int kPiece = 8;  ///< elements of 16 bytes
constexpr uint32_t kPieceBytes = 16, kRowBytes = 128;
/// What sums that are under way look like.
constexpr uint32_t kUnderWay = 0x7fc0dead;

/// A descriptor of shared memory, by the manual's "Matrix Descriptor Format".
struct Descriptor {
  uint32_t start, leading, stride;
  uint32_t swizzle;
  explicit Descriptor(uint64_t bits)
      : start(uint32_t(bits & 0x3fff) << 4),
        leading(uint32_t(bits >> 16 & 0x3fff) << 4),
        stride(uint32_t(bits >> 32 & 0x3fff) << 4),
        swizzle(uint32_t(bits >> 62)) {}
};
constexpr uint32_t kSwizzle128 = 1;

float widened(bool half, uint16_t bits) {
  return half ? fromBits(widenF16(bits)) : fromBits(uint32_t(bits) << 16);
}

/// The eight elements of each piece, in order.
void widen(const Block& block, bool half, const std::vector<size_t>& pieces, float* to) {
  for (const size_t offset : pieces) {
    uint16_t bits[kPiece];
    std::memcpy(bits, block.sharedBytesAt(offset), sizeof(bits));
    for (int i = 0; i < kPiece; i++) *to++ = widened(half, bits[i]);
  }
}

/// c = a·b with a [64, 16], b [16, columns].
void multiplyMatrices(const float* a, const float* b, int columns, float* c) {
  std::memset(c, 0, sizeof(float) * size_t(kRows * columns));
  for (int i = 0; i < kRows; i++)
    for (int k = 0; k < kDepth; k++) {
      const float factor = a[i * kDepth + k];
      const float* const row = b + k * columns;
      float* const sums = c + i * columns;
      for (int n = 0; n < columns; n++) sums[n] += factor * row[n];
    }
}

void transpose(const float* from, int rows, int columns, float* to) {
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
}

bool underWay(const float* sums, int count) {
  for (int i = 0; i < count; i++)
    if (std::bit_cast<uint32_t>(sums[i]) != kUnderWay) return false;
  return true;
}

}  // namespace

void Products::begin() {
  threads_.clear();
  warpgroups_.clear();
}

Products::Thread& Products::own() {
  const uint32_t self = block_.runningThread();
  if (threads_.size() <= self) {
    threads_.resize(block_.threadCount());
    warpgroups_.resize(threads_.size() / kThreads);
  }
  if (self / kThreads >= warpgroups_.size())
    block_.fail("a product of a warpgroup that lacks threads");
  return threads_[self];
}

void Products::fence() { own().fenced = true; }
void Products::commit() { own().group++; }

std::vector<size_t> Products::piecesOf(uint64_t bits, bool across, int lines) {
  const Descriptor d(bits);
  if (d.swizzle != kSwizzle128)
    block_.fail("a product's descriptor has no swizzle of 128 bytes, the only one emulated");
  std::vector<size_t> pieces;
  const auto add = [&](uint32_t address) {
    const size_t offset = block_.sharedOffset(swizzled(address, CU_TENSOR_MAP_SWIZZLE_128B),
                                              kPieceBytes, kPieceBytes);
    block_.noteEngineAt(offset, kPieceBytes, Touch::read);
    block_.races().beginReading(offset, kPieceBytes);
    pieces.push_back(offset);
  };
  constexpr int kGroup = int(kRowBytes) / 2;
  if (across) {
    for (int k = 0; k < kDepth; k++)
      for (int i = 0; i < lines; i += kPiece)
        add(d.start + uint32_t(i / kGroup) * d.leading + uint32_t(k / 8) * d.stride +
            uint32_t(k % 8) * kRowBytes + uint32_t(i % kGroup) * 2);
  } else {
    for (int i = 0; i < lines; i++)
      for (int k = 0; k < kDepth; k += kPiece)
        add(d.start + uint32_t(i / 8) * d.stride + uint32_t(i % 8) * kRowBytes + uint32_t(k) * 2);
  }
  return pieces;
}

void Products::multiply(const ProductKind& kind, float* at, const uint32_t* held, uint64_t a,
                        uint64_t b) {
  Thread& thread = own();
  if (!thread.fenced) block_.fail("a product of a warpgroup without wgmma.fence before it");
  Product product = {kind, at, held, {}, a, b, thread.group, {}, {}};
  if (held) std::memcpy(product.held, held, sizeof(product.held));
  if (block_.runningThread() % kThreads == 0) {
    if (!held) product.piecesA = piecesOf(a, kind.acrossA, kRows);
    product.piecesB = piecesOf(b, kind.acrossB, kind.columns);
  }
  size_t i = 0;
  while (i < thread.sums.size() && thread.sums[i].at != at) i++;
  const int count = kind.columns / 2;
  if (i == thread.sums.size()) {
    Sums sums = {.at = at, .count = count, .values = {}};
    std::memcpy(sums.values, at, sizeof(float) * size_t(count));
    for (int e = 0; e < count; e++) at[e] = std::bit_cast<float>(kUnderWay);
    thread.sums.push_back(sums);
  } else if (thread.sums[i].count != count) {
    block_.fail("a product adds to sums that another one of other columns is adding to");
  }
  thread.sums[i].products++;
  thread.products.push_back(std::move(product));
}

void Products::wait(uint32_t groups) {
  Thread& thread = own();
  thread.fenced = false;
  const uint32_t self = block_.runningThread(), index = self / kThreads;
  Warpgroup& warpgroup = warpgroups_[index];
  if (warpgroup.waiting > 0 && warpgroup.groups != groups)
    block_.fail("waits for all but " + std::to_string(groups) +
                " groups of products while others wait for all but " +
                std::to_string(warpgroup.groups));
  warpgroup.groups = groups;
  if (++warpgroup.waiting < kThreads) return block_.suspend();
  warpgroup.waiting = 0;
  doProducts(index, groups);
  for (uint32_t t = index * kThreads; t < (index + 1) * kThreads; t++)
    if (t != self) block_.wake(t);
}

void Products::doProducts(uint32_t warpgroup, uint32_t groups) {
  const uint32_t first = warpgroup * kThreads;
  Thread& lead = threads_[first];
  size_t count = 0;
  while (count < lead.products.size() && lead.products[count].group + groups < lead.group) count++;
  for (uint32_t t = first; t < first + kThreads; t++)
    if (threads_[t].group != lead.group || threads_[t].products.size() != lead.products.size())
      block_.fail("divergent warpgroup: thread " + std::to_string(t) +
                  " has other products under way than thread " + std::to_string(first));
  for (size_t i = 0; i < count; i++) doProduct(warpgroup, i);
  for (uint32_t t = first; t < first + kThreads; t++) {
    Thread& thread = threads_[t];
    thread.products.erase(thread.products.begin(), thread.products.begin() + int64_t(count));
    std::erase_if(thread.sums, [&](const Sums& sums) {
      if (sums.products > 0) return false;
      if (!underWay(sums.at, sums.count))
        block_.fail("thread " + std::to_string(t) +
                    " wrote to the sums of a product that was under way");
      std::memcpy(sums.at, sums.values, sizeof(float) * size_t(sums.count));
      return true;
    });
  }
}

void Products::doProduct(uint32_t warpgroup, size_t index) {
  static thread_local float a[kRows * kDepth], b[kDepth * kMostColumns],
      turned[kDepth * kMostColumns], c[kRows * kMostColumns];
  const uint32_t first = warpgroup * kThreads;
  const Product& lead = threads_[first].products[index];
  const ProductKind& kind = lead.kind;
  const int columns = kind.columns;
  for (uint32_t t = 0; t < kThreads; t++) {
    const Product& own = threads_[first + t].products[index];
    if (own.a != lead.a || own.b != lead.b || own.kind.columns != columns)
      block_.fail("divergent warpgroup: thread " + std::to_string(first + t) +
                  " names other factors than thread " + std::to_string(first));
    if (!own.heldAt) continue;
    if (std::memcmp(own.heldAt, own.held, sizeof(own.held)) != 0)
      block_.fail("thread " + std::to_string(first + t) +
                  " changed a factor in registers while its product was under way");
    const int row = int(t / 32 * 16 + t % 32 / 4), k = int(t % 4 * 2);
    for (int i = 0; i < 4; i++)
      for (int e = 0; e < 2; e++)
        a[(row + i % 2 * 8) * kDepth + k + e + i / 2 * 8] =
            widened(kind.half, uint16_t(own.held[i] >> (16 * e)));
  }
  if (!lead.heldAt) {
    widen(block_, kind.half, lead.piecesA, kind.acrossA ? turned : a);
    if (kind.acrossA) transpose(turned, kDepth, kRows, a);
  }
  widen(block_, kind.half, lead.piecesB, kind.acrossB ? b : turned);
  if (!kind.acrossB) transpose(turned, columns, kDepth, b);
  for (const auto* pieces : {&lead.piecesA, &lead.piecesB})
    for (const size_t offset : *pieces) block_.races().endReading(offset, kPieceBytes);
  multiplyMatrices(a, b, columns, c);
  for (uint32_t t = 0; t < kThreads; t++) {
    const int row = int(t / 32 * 16 + t % 32 / 4), column = int(t % 4 * 2);
    Thread& thread = threads_[first + t];
    size_t s = 0;
    while (thread.sums[s].at != thread.products[index].sums) s++;
    Sums& sums = thread.sums[s];
    sums.products--;
    for (int i = 0; i < columns / 2; i++) {
      const float sum = c[(row + i % 4 / 2 * 8) * columns + i / 4 * 8 + column + i % 2];
      sums.values[i] = kind.add ? sums.values[i] + sum : sum;
    }
  }
}

void Products::leave() {
  const uint32_t self = block_.runningThread();
  if (self < threads_.size() && !threads_[self].products.empty())
    block_.fail("returns while products of its warpgroup are under way");
}

std::string Products::stuck() const {
  for (size_t i = 0; i < warpgroups_.size(); i++)
    if (warpgroups_[i].waiting > 0)
      return "divergent warpgroup: " + std::to_string(warpgroups_[i].waiting) +
             " threads of warpgroup " + std::to_string(i) +
             " wait for their products, the others never do";
  return "";
}

}  // namespace figment::cuda::emulator
