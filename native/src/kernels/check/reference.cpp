// The plain check: one input after another.
#include "../kernel.h"
#include "report.h"

namespace figment {
namespace {

int always(const OpCall&) { return kReferencePreference; }

/// The first failure that is reported stands.
void run(const OpCall& call, Context& context) {
  for (int t = 0; t < call.inCount; t++) reportFirst(call, context, t, 0, call.in[t].elements());
}

const RegisterVariant variant{{"checkFinite", "reference", Isa::generic, always, nullptr, run}};

}  // namespace
}  // namespace figment
