#include "beside_tiles.h"

#include "../../runtime/error.h"
#include "../fallbacks.h"
#include "../registry.h"

namespace figment {
namespace {

const RegisteredVariant& named(const char* op, std::string_view name) {
  for (const RegisteredVariant& variant : findOp(op)->variants)
    if (variant.name == name) return variant;
  throw Error(code::kLibrary, std::string(op) + " has no kernel named " + std::string(name));
}

}  // namespace

size_t scratchBesideTiles(const char* op, const char* name, const OpCall& call, int threads) {
  const RegisteredVariant& variant = named(op, name);
  return variant.scratch ? variant.scratch(call, threads) : 0;
}

void runBesideTiles(const char* op, const char* name, const OpCall& call, Context& context) {
  countFallbacks(context, 1);
  named(op, name).run(call, context);
}

}  // namespace figment
