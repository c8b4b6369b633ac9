// Where attention writes its results: `Out` is AnyResults or PairResults.
#pragma once

#include "any_floats.h"

namespace figment::cuda {

template <class Out>
struct Results {
  Out out;
  Global<float> lse;

  static Results of(const OpCall& call) {
    return {Out::of(call.out[0]), viewOf<float>(call.out[1])};
  }
};

}  // namespace figment::cuda
