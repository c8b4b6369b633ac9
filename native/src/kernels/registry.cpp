// Registration order depends on the linker, so nothing here does: the lists are sorted by name.
#include "registry.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <utility>

#include "../runtime/cpu_features.h"
#include "../runtime/error.h"

namespace figment {
namespace {

struct Registrations {
  std::vector<OpSpec> specs;
  std::vector<Variant> variants;
};

// Never destroyed: worker threads may outlive the static destructors.
Registrations& registrations() {
  static Registrations* const all = new Registrations;
  return *all;
}

std::vector<RegisteredOp> assemble() {
  std::vector<RegisteredOp> ops;
  for (const OpSpec& spec : registrations().specs) ops.push_back({spec, {}});
  std::sort(ops.begin(), ops.end(), [](const RegisteredOp& a, const RegisteredOp& b) {
    return std::string_view(a.spec.name) < std::string_view(b.spec.name);
  });
  for (size_t i = 1; i < ops.size(); i++) {
    if (std::string_view(ops[i - 1].spec.name) == ops[i].spec.name)
      throw Error(code::kDevice, std::string("operation registered twice: ") + ops[i].spec.name);
  }
  for (const Variant& variant : registrations().variants) {
    const auto op = std::find_if(ops.begin(), ops.end(), [&](const RegisteredOp& candidate) {
      return std::string_view(candidate.spec.name) == variant.op;
    });
    if (op == ops.end())
      throw Error(code::kDevice, std::string("variant ") + variant.name +
                                     " registered for the unknown operation " + variant.op);
    for (const Variant& other : op->variants) {
      if (std::string_view(other.name) == variant.name)
        throw Error(code::kDevice,
                    std::string("variant registered twice: ") + variant.op + " " + variant.name);
    }
    op->variants.push_back(variant);
  }
  for (RegisteredOp& op : ops) {
    std::sort(op.variants.begin(), op.variants.end(), [](const Variant& a, const Variant& b) {
      if (a.isa != b.isa) return a.isa > b.isa;
      return std::string_view(a.name) < std::string_view(b.name);
    });
  }
  return ops;
}

std::atomic<Isa>& limit() {
  static std::atomic<Isa>* const isa = new std::atomic<Isa>(cpuFeatures().best);
  return *isa;
}

/// FIGMENT_VARIANT, parsed: (op, variant).
std::vector<std::pair<std::string, std::string>>& preferredVariants() {
  static auto* const pairs = new std::vector<std::pair<std::string, std::string>>;
  return *pairs;
}

const Variant* supported(const RegisteredOp& op, const OpCall& call, std::string_view name) {
  for (const Variant& variant : op.variants) {
    if (name == variant.name)
      return variant.isa <= cpuFeatures().best && variant.supports(call) >= 0 ? &variant : nullptr;
  }
  return nullptr;
}

std::pair<std::string, std::string> parsePreferredVariant(const std::string& entry) {
  const size_t equals = entry.find('=');
  const std::string opName = entry.substr(0, equals);
  const std::string variantName =
      equals == std::string::npos ? std::string() : entry.substr(equals + 1);
  const RegisteredOp* op = findOp(opName);
  const bool known =
      op && std::any_of(op->variants.begin(), op->variants.end(),
                        [&](const Variant& variant) { return variantName == variant.name; });
  if (!known)
    throw Error(code::kArgument,
                "FIGMENT_VARIANT: \"" + entry + "\" names no operation=variant of this build");
  return {opName, variantName};
}

}  // namespace

RegisterOp::RegisterOp(const OpSpec& spec) { registrations().specs.push_back(spec); }

RegisterVariant::RegisterVariant(const Variant& variant) {
  registrations().variants.push_back(variant);
}

const std::vector<RegisteredOp>& registeredOps() {
  static const auto* const ops = new std::vector<RegisteredOp>(assemble());
  return *ops;
}

const RegisteredOp* findOp(std::string_view name) {
  const std::vector<RegisteredOp>& ops = registeredOps();
  const auto found = std::lower_bound(
      ops.begin(), ops.end(), name,
      [](const RegisteredOp& op, std::string_view key) { return op.spec.name < key; });
  return found != ops.end() && found->spec.name == name ? &*found : nullptr;
}

Isa isaLimit() { return limit().load(std::memory_order_relaxed); }

void setIsaLimit(Isa isa) {
  if (isa > cpuFeatures().best)
    throw Error(code::kArgument, std::string("this machine cannot execute ") + isaName(isa) +
                                     "; its best is " + isaName(cpuFeatures().best));
  limit().store(isa, std::memory_order_relaxed);
}

void configureRegistryFromEnvironment() {
  if (const char* text = std::getenv("FIGMENT_ISA"); text && *text) {
    Isa isa;
    if (!parseIsa(text, isa))
      throw Error(code::kArgument,
                  std::string("FIGMENT_ISA is \"") + text + "\"; expected generic, avx2 or avx512");
    setIsaLimit(isa);
  }
  const char* text = std::getenv("FIGMENT_VARIANT");
  std::string list = text ? text : "";
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    pairs.push_back(parsePreferredVariant(list.substr(0, comma)));
    list = comma == std::string::npos ? std::string() : list.substr(comma + 1);
  }
  preferredVariants() = std::move(pairs);
}

const Variant* selectVariant(const RegisteredOp& op, const OpCall& call, std::string_view forced) {
  if (!forced.empty()) {
    if (const Variant* variant = supported(op, call, forced)) return variant;
  }
  for (const auto& [opName, variantName] : preferredVariants()) {
    if (opName != op.spec.name) continue;
    if (const Variant* variant = supported(op, call, variantName)) return variant;
  }
  const Variant* best = nullptr;
  int bestPreference = -1;
  for (const Variant& variant : op.variants) {
    if (variant.isa > isaLimit()) continue;
    const int preference = variant.supports(call);
    if (preference > bestPreference) {
      best = &variant;
      bestPreference = preference;
    }
  }
  return best;
}

}  // namespace figment
