// Rows of f32 and i32 as integer keys: a row to a worker; one very long row by all of them, digit
// by digit from the lowest, each worker counting and moving its own pieces.
#include "../params/sort.generated.h"
#include "keys.h"

namespace figment::sorting {
namespace {

/// Rows from here on are shared out among workers.
constexpr int64_t kLongRow = 1 << 17;
constexpr int64_t kMostPieces = 64;
constexpr int kDigitBits = 8;
constexpr int kDigits = 4;
constexpr int64_t kBuckets = 1 << kDigitBits;

int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

bool isLong(const SortParams& p) { return p.cols >= kLongRow; }

int64_t pieceOf(int64_t cols) { return (cols + kMostPieces - 1) / kMostPieces; }

/// Keys of one row, twice, for each worker; or of one long row, and a count for each piece and
/// digit.
size_t scratchBytes(const OpCall& call, int threads) {
  const auto& p = call.as<SortParams>();
  const size_t row = 2 * size_t(p.cols) * sizeof(uint64_t);
  return isLong(p) ? row + size_t(kMostPieces * kBuckets) * sizeof(uint32_t)
                   : row * size_t(threads);
}

template <class T>
void shortRows(const OpCall& call, Context& context) {
  const auto& p = call.as<SortParams>();
  constexpr int64_t kGrain = 4096;  // elements
  context.parallelFor(
      p.rows, kGrain / larger(1, p.cols), [&](int64_t begin, int64_t end, int worker) {
        uint64_t* keys = reinterpret_cast<uint64_t*>(context.scratch()) + 2 * worker * p.cols;
        for (int64_t r = begin; r < end; r++) {
          const T* x = call.in[0].as<T>() + r * p.cols;
          for (int64_t i = 0; i < p.cols; i++) keys[i] = keyOf(x[i], i, p.descending != 0);
          if (2 * p.count < p.cols)
            selectKeys(keys, p.cols, p.count);
          else
            sortKeys(keys, keys + p.cols, p.cols);
          writeSorted(keys, x, p.count, call.out[0].as<T>() + r * p.count,
                      call.out[1].as<int32_t>() + r * p.count);
        }
      });
}

/// One pass over a long row: pieces keep their order, and so do the keys of each.
void moveByDigit(Context& context, const uint64_t* from, uint64_t* to, uint32_t* counts,
                 int64_t cols, int digit) {
  const int64_t piece = pieceOf(cols);
  const int64_t pieces = (cols + piece - 1) / piece;
  const int shift = 32 + digit * kDigitBits;
  const auto bucketOf = [shift](uint64_t key) { return int64_t(key >> shift) & (kBuckets - 1); };
  const auto endOf = [&](int64_t k) { return (k + 1) * piece < cols ? (k + 1) * piece : cols; };
  context.parallelFor(pieces, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; k++) {
      uint32_t* own = counts + k * kBuckets;
      for (int64_t b = 0; b < kBuckets; b++) own[b] = 0;
      for (int64_t i = k * piece; i < endOf(k); i++) own[bucketOf(from[i])]++;
    }
  });
  uint32_t start = 0;
  for (int64_t b = 0; b < kBuckets; b++)
    for (int64_t k = 0; k < pieces; k++) {
      const uint32_t count = counts[k * kBuckets + b];
      counts[k * kBuckets + b] = start;
      start += count;
    }
  context.parallelFor(pieces, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t k = begin; k < end; k++) {
      uint32_t* own = counts + k * kBuckets;
      for (int64_t i = k * piece; i < endOf(k); i++) to[own[bucketOf(from[i])]++] = from[i];
    }
  });
}

template <class T>
void longRows(const OpCall& call, Context& context) {
  const auto& p = call.as<SortParams>();
  uint64_t* keys = reinterpret_cast<uint64_t*>(context.scratch());
  uint64_t* spare = keys + p.cols;
  uint32_t* counts = reinterpret_cast<uint32_t*>(spare + p.cols);
  constexpr int64_t kGrain = 16384;
  for (int64_t r = 0; r < p.rows; r++) {
    const T* x = call.in[0].as<T>() + r * p.cols;
    context.parallelFor(p.cols, kGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) keys[i] = keyOf(x[i], i, p.descending != 0);
    });
    for (int digit = 0; digit < kDigits; digit += 2) {
      moveByDigit(context, keys, spare, counts, p.cols, digit);
      moveByDigit(context, spare, keys, counts, p.cols, digit + 1);
    }
    context.parallelFor(p.count, kGrain, [&](int64_t begin, int64_t end, int) {
      writeSorted(keys + begin, x, end - begin, call.out[0].as<T>() + r * p.count + begin,
                  call.out[1].as<int32_t>() + r * p.count + begin);
    });
  }
}

template <class T>
void run(const OpCall& call, Context& context) {
  if (call.out[0].elements() == 0) return;
  isLong(call.as<SortParams>()) ? longRows<T>(call, context) : shortRows<T>(call, context);
}

const RegisterVariant registerVariant{
    {.op = "sort",
     .name = "generic-keys",
     .isa = Isa::generic,
     .supports = [](const OpCall& call) { return call.in[0].format != Format::f64 ? 10 : -1; },
     .scratch = scratchBytes,
     .run =
         [](const OpCall& call, Context& context) {
           call.in[0].format == Format::f32 ? run<float>(call, context)
                                            : run<int32_t>(call, context);
         }}};

}  // namespace
}  // namespace figment::sorting
