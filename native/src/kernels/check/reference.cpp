// The plain check: one input after another.
#include "../reference.h"

#include "report.h"

namespace figment {
namespace {

/// The first failure that is reported stands.
void run(const OpCall& call, Context& context) {
  for (int t = 0; t < call.inCount; t++) reportFirst(call, context, t, 0, call.in[t].elements());
}

const RegisterVariant variant{referenceVariant("checkFinite", run)};

}  // namespace
}  // namespace figment
