// What a block of threads of attention's derivative works on; see flash_grad_wgmma.h. Include from
// *.sm90a.cu files only.
#pragma once

#include "calls.h"
#include "flash_grad_wgmma_sums.h"
#include "row_statistics.h"

namespace figment::cuda::flash_grad_wgmma {

constexpr int kConsumers = 2;  ///< warpgroups that multiply

/// x1·y1ᵀ are scores and x2·y2ᵀ derivatives by weights: of queries q, dout against k, v; of keys
/// k, v against q, dout.
struct Maps {
  CUtensorMap x1, x2, y1, y2;
};

/// What blocks of one side work on.
template <class T>
struct Operands {
  Maps maps;
  Global<const T> x1, x2;        ///< once more, where registers hold them
  PairResults<T> first, second;  ///< dq, or dk and dv
  int tiles;                     ///< of own rows of a head
};

/// The piece of work of a block of threads.
struct Place {
  int64_t task;
  int batch, head;
  int start;               ///< own row
  int keys;                ///< that count
  int begin, limit;        ///< others that meet some own row, from a whole block on
  int wholeFrom, wholeTo;  ///< others that meet all own rows
  int turns;
};

template <int kDim, Side kSide>
FIGMENT_DEVICE Place placeOf(const AttentionProblem& p, unsigned block, int tiles) {
  using Size = Sizes<kDim, kSide>;
  Place place;
  place.task = block / unsigned(tiles);
  place.batch = int(place.task / p.h);
  place.head = int(place.task % p.h);
  const int turn = int(block % unsigned(tiles)), sq = int(p.sq);
  // The most work first, with `causal`: that of last queries and first keys.
  place.start = (Size::kOfKeys ? turn : tiles - 1 - turn) * Size::kOwnRows;
  place.keys = int(p.keysOf(place.batch));
  if (Size::kOfKeys) {
    const int first = int(p.firstQuery(place.keys, place.start));
    place.begin = first / Size::kOtherRows * Size::kOtherRows;
    place.limit = place.wholeTo = sq;
    place.wholeFrom = int(p.firstQuery(place.keys, place.start + Size::kOwnRows - 1));
    if (first == sq) place.begin = sq;
  } else {
    place.begin = place.wholeFrom = 0;
    place.limit = int(p.visible(place.keys, min(place.start + Size::kOwnRows, sq) - 1));
    place.wholeTo = int(p.visible(place.keys, place.start));
  }
  place.turns = ceilDiv(place.limit - place.begin, Size::kOtherRows);
  return place;
}

}  // namespace figment::cuda::flash_grad_wgmma
