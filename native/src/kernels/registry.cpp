// Registration order depends on the linker, so nothing here does: the lists are sorted by name.
#include "registry.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "../runtime/error.h"
#include "../runtime/instruction_sets.h"
#include "measured.h"

namespace figment {
namespace {

struct Registrations {
  std::vector<OpSpec> specs;
  std::vector<Variant> variants;
  std::vector<const Packer*> packers;
};

// Never destroyed: worker threads may outlive the static destructors.
Registrations& registrations() {
  static Registrations* const all = new Registrations;
  return *all;
}

using OpList = std::vector<const RegisteredOp*>;

bool byName(const RegisteredOp* op, std::string_view name) { return op->spec.name < name; }

const RegisteredOp* findIn(const OpList& ops, std::string_view name) {
  const auto found = std::lower_bound(ops.begin(), ops.end(), name, byName);
  return found != ops.end() && (*found)->spec.name == name ? *found : nullptr;
}

/// What is there with more added; operations that get more variants are copied, none is changed.
OpList extended(const OpList& known, LibraryKernels kernels) {
  std::map<std::string, std::unique_ptr<RegisteredOp>> fresh;
  for (RegisteredSpec& spec : kernels.specs) {
    const std::string name = spec.name;
    if (findIn(known, name) || fresh.count(name))
      throw Error(code::kLibrary, "operation registered twice: " + name);
    fresh[name] = std::make_unique<RegisteredOp>(RegisteredOp{std::move(spec), {}});
  }
  for (auto& [op, variant] : kernels.variants) {
    std::unique_ptr<RegisteredOp>& target = fresh[op];
    if (!target) {
      const RegisteredOp* before = findIn(known, op);
      if (!before)
        throw Error(code::kLibrary, std::string("variant ") + variant.name +
                                        " registered for the unknown operation " + op);
      target = std::make_unique<RegisteredOp>(*before);
    }
    for (const RegisteredVariant& other : target->variants) {
      if (std::string_view(other.name) == variant.name)
        throw Error(code::kLibrary, "variant registered twice: " + op + " " + variant.name);
    }
    target->variants.push_back(std::move(variant));
  }
  OpList ops;
  for (const RegisteredOp* op : known) {
    if (!fresh.count(op->spec.name)) ops.push_back(op);
  }
  for (auto& [name, op] : fresh) {
    if (op->variants.empty()) throw Error(code::kLibrary, "operation " + name + " has no kernel");
    std::sort(op->variants.begin(), op->variants.end(),
              [](const RegisteredVariant& a, const RegisteredVariant& b) {
                if (a.isa != b.isa) return a.isa > b.isa;
                return std::string_view(a.name) < std::string_view(b.name);
              });
    ops.push_back(op.release());
  }
  std::sort(ops.begin(), ops.end(), [](const RegisteredOp* a, const RegisteredOp* b) {
    return std::string_view(a->spec.name) < std::string_view(b->spec.name);
  });
  return ops;
}

const Packer* packerOf(const Variant& variant) {
  for (const Packer* packer : registrations().packers) {
    if (packer->op == std::string_view(variant.op) &&
        packer->variant == std::string_view(variant.name))
      return packer;
  }
  return nullptr;
}

OpList builtIn() {
  LibraryKernels kernels;
  for (const OpSpec& spec : registrations().specs)
    kernels.specs.push_back({spec.name, spec.schemaHash, spec.paramBytes, spec.hasTail, spec.check,
                             spec.mayAlias, spec.cost});
  for (const Variant& variant : registrations().variants) {
    if (!belongsHere(variant.isa)) continue;
    kernels.variants.emplace_back(
        variant.op, RegisteredVariant{variant.name, variant.isa, variant.supports, variant.scratch,
                                      variant.run, packerOf(variant)});
  }
  return extended({}, std::move(kernels));
}

/// The list in use. Older ones are kept, because somebody may be reading them.
std::atomic<const OpList*>& published() {
  static auto* const list = new std::atomic<const OpList*>(new OpList(builtIn()));
  return *list;
}

std::atomic<Isa>& limit() {
  static std::atomic<Isa>* const isa = new std::atomic<Isa>(bestIsa());
  return *isa;
}

/// FIGMENT_VARIANT, parsed: (op, variant).
std::vector<std::pair<std::string, std::string>>& preferredVariants() {
  static auto* const pairs = new std::vector<std::pair<std::string, std::string>>;
  return *pairs;
}

const RegisteredVariant* supported(const RegisteredOp& op, const OpCall& call,
                                   std::string_view name) {
  for (const RegisteredVariant& variant : op.variants) {
    if (name == variant.name)
      return variant.isa <= bestIsa() && variant.supports(call) >= 0 ? &variant : nullptr;
  }
  return nullptr;
}

/// A variant's name without its instruction set, or what that begins with: instances of one kernel
/// share it.
std::string_view kernelOf(const RegisteredVariant& variant) {
  const std::string_view name = variant.name, isa = isaName(variant.isa);
  const std::string_view first = name.substr(0, name.find('-'));
  return isa.starts_with(first) ? name.substr(first.size()) : name;
}

/// Whether a wider instruction set's instance of the same kernel is listed: then that one's
/// judgement of the kernel counts.
bool hasTwin(const std::vector<const RegisteredVariant*>& listed,
             const RegisteredVariant& variant) {
  return std::any_of(listed.begin(), listed.end(), [&](const RegisteredVariant* other) {
    return other->isa != variant.isa && kernelOf(*other) == kernelOf(variant);
  });
}

std::pair<std::string, std::string> parsePreferredVariant(const std::string& entry) {
  const size_t equals = entry.find('=');
  const std::string opName = entry.substr(0, equals);
  const std::string variantName =
      equals == std::string::npos ? std::string() : entry.substr(equals + 1);
  const RegisteredOp* op = findOp(opName);
  const bool known = op && std::any_of(op->variants.begin(), op->variants.end(),
                                       [&](const RegisteredVariant& variant) {
                                         return variantName == variant.name;
                                       });
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

RegisterPacker::RegisterPacker(const Packer& packer) { registrations().packers.push_back(&packer); }

const OpList& registeredOps() { return *published().load(std::memory_order_acquire); }

const RegisteredOp* findOp(std::string_view name) { return findIn(registeredOps(), name); }

void registerKernels(LibraryKernels kernels) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  published().store(new OpList(extended(registeredOps(), std::move(kernels))),
                    std::memory_order_release);
}

Isa isaLimit() { return limit().load(std::memory_order_relaxed); }

void setIsaLimit(Isa isa) {
  if (isa > bestIsa())
    throw Error(code::kArgument, std::string("this machine cannot execute ") + isaName(isa) +
                                     "; its best is " + isaName(bestIsa()));
  limit().store(isa, std::memory_order_relaxed);
}

void configureRegistryFromEnvironment() {
  if (const char* text = std::getenv("FIGMENT_ISA"); text && *text) {
    Isa isa;
    if (!parseIsa(text, isa))
      throw Error(code::kArgument, std::string("FIGMENT_ISA is \"") + text +
                                       "\"; expected generic, avx2, avx512, avx512bf16 or amx");
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

Choice chooseVariant(const RegisteredOp& op, const OpCall& call, std::string_view forced) {
  Choice choice;
  int bestPreference = -1;
  for (const RegisteredVariant& variant : op.variants) {
    if (variant.isa > isaLimit()) continue;
    const int preference = variant.supports(call);
    const bool twin = hasTwin(choice.candidates, variant);
    const bool best = preference > bestPreference && !twin;
    if (best) {
      choice.variant = &variant;
      bestPreference = preference;
    }
    if (preference > kReferencePreference && !twin)
      choice.candidates.insert(best ? choice.candidates.begin() : choice.candidates.end(),
                               &variant);
  }
  if (choice.candidates.size() < 2)
    choice.candidates.clear();
  else
    choice.key = keyOf(op.spec.name, call);

  const RegisteredVariant* asked = forced.empty() ? nullptr : supported(op, call, forced);
  for (const auto& [opName, variantName] : preferredVariants()) {
    if (!asked && opName == op.spec.name) asked = supported(op, call, variantName);
  }
  if (asked) {
    choice.variant = asked;
    choice.reason = Reason::forced;
  } else if (!choice.candidates.empty()) {
    const Measured measured = measuredFor(isaLimit(), choice.key);
    choice.reason = Reason::estimated;
    for (const RegisteredVariant* candidate : choice.candidates) {
      if (measured.variant != candidate->name) continue;
      choice.variant = candidate;
      choice.reason = measured.origin == Origin::here ? Reason::measured : Reason::shipped;
    }
  }
  return choice;
}

}  // namespace figment
