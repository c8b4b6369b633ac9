// Products of warpgroups (wgmma). A product is noted when its threads come to it and done when all
// 128 wait for its group: until then its sums are NaN in the kernel's eyes, and what it reads of
// shared memory and of registers must stay as it is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hopper_units.h"

namespace figment::cuda::emulator {

class Block;

class Products {
 public:
  explicit Products(Block& block) : block_(block) {}

  void begin();
  /// Whether this block has had any.
  bool used() const { return !threads_.empty(); }

  // Called by the running thread.
  void fence();
  void multiply(const ProductKind& kind, float* sums, const uint32_t* held, uint64_t a, uint64_t b);
  void commit();
  void wait(uint32_t groups);
  /// The thread returns.
  void leave();
  /// See Asynchronous.
  std::string stuck() const;

 private:
  static constexpr uint32_t kThreads = 128;
  static constexpr int kMostSums = 128;

  struct Product {
    ProductKind kind;
    float* sums;
    const uint32_t* heldAt;
    uint32_t held[4];
    uint64_t a, b;
    uint32_t group;
    /// Of the warpgroup's first thread: where the factors' pieces of eight elements lie in shared
    /// memory.
    std::vector<size_t> piecesA, piecesB;
  };
  /// Sums that products under way add to.
  struct Sums {
    float* at;
    int count;
    int products = 0;  ///< under way
    float values[kMostSums];
  };
  struct Thread {
    bool fenced = false;
    uint32_t group = 0;
    std::vector<Product> products;
    std::vector<Sums> sums;
  };
  struct Warpgroup {
    uint32_t waiting = 0;
    uint32_t groups = 0;  ///< that those who wait leave under way
  };

  Thread& own();
  std::vector<size_t> piecesOf(uint64_t descriptor, bool across, int lines);
  void doProducts(uint32_t warpgroup, uint32_t groups);
  void doProduct(uint32_t warpgroup, size_t index);

  Block& block_;
  std::vector<Thread> threads_;
  std::vector<Warpgroup> warpgroups_;
};

}  // namespace figment::cuda::emulator
