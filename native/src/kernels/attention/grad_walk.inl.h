// The order in which the derivative of attention on matrix tiles visits its units: block by block
// of keys, in it block by block of the queries that see any of them, in that key by key unit.
// Include only from files compiled for one instruction set.
#pragma once

#include "tile_heads.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Units of a block of keys and of queries: the steps of K of the sums over keys, and over queries.
constexpr int64_t kKeyUnits = 2, kQueryUnits = 4;

/// A unit of keys and one of queries.
struct GradUnit {
  int64_t firstKey, firstQuery;  ///< units where its block begins
  int64_t key, query;            ///< within the block
};

struct GradWalk {
  int64_t firstQuery, endQuery, keys;  ///< units of the run and of the keys that any of them sees
  int64_t length;                      ///< keys that count
  int64_t behind;                      ///< key j is seen by the queries from j − behind on,
  bool causal;                         ///< or by all

  int64_t keysIn(const GradUnit& u) const { return smaller(kKeyUnits, keys - u.firstKey); }
  int64_t queriesIn(const GradUnit& u) const {
    return smaller(kQueryUnits, endQuery - u.firstQuery);
  }
  /// The first query that sees a key, before it is bounded.
  int64_t firstSeeing(int64_t key) const { return causal ? key - behind : 0; }
  /// Whether all queries of a unit see all its keys.
  bool seesAll(const GradUnit& u) const {
    const int64_t last = (u.firstKey + u.key + 1) * kUnit - 1;
    return last < length && firstSeeing(last) <= (u.firstQuery + u.query) * kUnit;
  }

  /// Goes to the first unit of the block of keys from `firstKey` on, or of the next that is seen;
  /// false if there is none.
  bool enter(int64_t firstKey, GradUnit& u) const {
    for (; firstKey < keys; firstKey += kKeyUnits) {
      u = {firstKey, firstBlock(firstKey), 0, 0};
      if (u.firstQuery < endQuery) return true;
    }
    return false;
  }
  /// Goes to the next unit; false after the last.
  bool advance(GradUnit& u) const {
    if (++u.query < queriesIn(u)) return true;
    u.query = 0;
    if (++u.key < keysIn(u)) return true;
    u.key = 0;
    u.firstQuery += kQueryUnits;
    return u.firstQuery < endQuery || enter(u.firstKey + kKeyUnits, u);
  }

 private:
  /// The first block of queries of which some may see a block of keys.
  int64_t firstBlock(int64_t firstKey) const {
    const int64_t unit = larger(0, firstSeeing(firstKey * kUnit)) / kUnit;
    return firstQuery + larger(0, unit - firstQuery) / kQueryUnits * kQueryUnits;
  }
};

}  // namespace figment::FIGMENT_ISA::tiles
