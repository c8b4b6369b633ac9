// The C structs of the kernel ABI have the layout of the addon's own, so that calls pass as they
// are.
#include "kernel_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <set>
#include <utility>

#include "../kernels/registry.h"
#include "error.h"
#include "figment/kernels.h"

namespace figment {
namespace {

static_assert(sizeof(FigmentOperand) == sizeof(Operand) && sizeof(FigmentCall) == sizeof(OpCall));
static_assert(offsetof(FigmentOperand, dims) == offsetof(Operand, dims) &&
              offsetof(FigmentOperand, strides) == offsetof(Operand, strides) &&
              offsetof(FigmentOperand, data) == offsetof(Operand, data) &&
              FIGMENT_MAX_RANK == kMaxRank);
static_assert(offsetof(FigmentCall, in) == offsetof(OpCall, in) &&
              offsetof(FigmentCall, in_count) == offsetof(OpCall, inCount) &&
              offsetof(FigmentCall, out) == offsetof(OpCall, out) &&
              offsetof(FigmentCall, out_count) == offsetof(OpCall, outCount));
static_assert(FIGMENT_I8 == int(Format::i8) && FIGMENT_AVX512 == int(Isa::avx512));

/// Room for what a library's check finds wrong.
constexpr size_t kProblemBytes = 512;
/// Parameter structs are small; a larger one is a mistake.
constexpr uint64_t kMaxParamBytes = 4096;
constexpr uint32_t kMaxEntries = 4096;

const FigmentCall* outside(const OpCall& call) {
  return reinterpret_cast<const FigmentCall*>(&call);
}

Context& hostOf(const FigmentKernelContext* context) {
  return *static_cast<Context*>(context->host);
}

void parallel(const FigmentKernelContext* context, int64_t count, int64_t grain,
              void (*body)(void*, int64_t, int64_t, int32_t), void* closure) {
  Context& host = hostOf(context);
  try {
    host.parallel(std::max<int64_t>(count, 0), std::max<int64_t>(grain, 1), body, closure);
  } catch (const std::exception& error) {
    host.fail(code::kDevice, error.what());
  }
}

void fail(const FigmentKernelContext* context, const char* failure, const char* message) {
  static constexpr char kPrefix[] = "ERR_FIGMENT_";
  const bool typed = failure && std::strncmp(failure, kPrefix, sizeof(kPrefix) - 1) == 0;
  hostOf(context).fail(typed ? failure : code::kDevice, message ? message : "");
}

RegisteredSpec specOf(const FigmentKernelOp& op) {
  RegisteredSpec spec = {op.name, op.schema_hash, size_t(op.param_bytes), op.has_tail != 0, {}, {},
                         {}};
  spec.check = [&op](const OpCall& call) -> std::string {
    char problem[kProblemBytes] = "";
    if (op.check(outside(call), problem, sizeof(problem)) == 0) return {};
    problem[sizeof(problem) - 1] = '\0';
    return problem[0] ? problem : "refused by its library";
  };
  if (op.may_alias)
    spec.mayAlias = [&op](const OpCall& call, int out, int in) {
      return op.may_alias(outside(call), out, in) != 0;
    };
  spec.cost = [&op](const OpCall& call) {
    Cost cost;
    op.cost(outside(call), &cost.flops, &cost.bytes);
    // Also false for NaN.
    return Cost{cost.flops >= 0 ? cost.flops : 0, cost.bytes >= 0 ? cost.bytes : 0};
  };
  return spec;
}

RegisteredVariant variantOf(const FigmentKernelVariant& variant) {
  RegisteredVariant made = {variant.name, Isa(variant.isa), {}, {}, {}};
  made.supports = [&variant](const OpCall& call) { return variant.supports(outside(call)); };
  if (variant.scratch)
    made.scratch = [&variant](const OpCall& call, int threads) {
      return variant.scratch(outside(call), threads);
    };
  made.run = [&variant](const OpCall& call, Context& host) {
    const FigmentKernelContext context = {
        sizeof(FigmentKernelContext), host.threads(), host.scratch(), parallel, fail, &host};
    variant.run(outside(call), &context);
  };
  return made;
}

/// Everything that can be checked about a description before it is believed.
std::string problemOf(const FigmentKernelLibrary& library) {
  if (library.version != FIGMENT_KERNELS_ABI_VERSION || library.size < sizeof(library))
    return "speaks kernel ABI " + std::to_string(library.version) + ", this addon speaks " +
           std::to_string(FIGMENT_KERNELS_ABI_VERSION);
  if (library.op_count > kMaxEntries || library.variant_count > kMaxEntries)
    return "holds more than " + std::to_string(kMaxEntries) + " operations or variants";
  if ((library.op_count > 0 && !library.ops) || (library.variant_count > 0 && !library.variants))
    return "has a count without a list";
  const auto named = [](const char* name) { return name && *name; };
  for (uint32_t i = 0; i < library.op_count; i++) {
    const FigmentKernelOp& op = library.ops[i];
    if (!named(op.name)) return "has an operation without a name";
    if (!op.check || !op.cost) return std::string("lacks check or cost for ") + op.name;
    if (op.param_bytes % 8 != 0 || op.param_bytes > kMaxParamBytes)
      return std::string("gives ") + op.name + " parameters of " + std::to_string(op.param_bytes) +
             " bytes; expected a multiple of 8 up to " + std::to_string(kMaxParamBytes);
  }
  for (uint32_t i = 0; i < library.variant_count; i++) {
    const FigmentKernelVariant& variant = library.variants[i];
    if (!named(variant.op) || !named(variant.name)) return "has a variant without a name";
    if (!variant.supports || !variant.run)
      return std::string("lacks supports or run for ") + variant.op + " " + variant.name;
    if (variant.isa < FIGMENT_GENERIC || variant.isa > FIGMENT_AVX512)
      return std::string("names an unknown instruction set for ") + variant.op + " " + variant.name;
  }
  return {};
}

const FigmentKernelLibrary& describe(const std::string& path) {
  const auto refuse = [&](const std::string& why) -> const FigmentKernelLibrary& {
    throw Error(code::kLibrary, "kernel library " + path + " " + why);
  };
  if (path.empty() || path[0] != '/') return refuse("is not named by an absolute path");
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return refuse(std::string("cannot be opened: ") + dlerror());
  const auto entry = reinterpret_cast<FigmentKernelsEntry>(dlsym(handle, FIGMENT_KERNELS_SYMBOL));
  if (!entry) return refuse("does not export " FIGMENT_KERNELS_SYMBOL);
  const char* reason = nullptr;
  const FigmentKernelLibrary* library = entry(FIGMENT_KERNELS_ABI_VERSION, &reason);
  if (!library)
    return refuse(std::string("cannot be used: ") + (reason ? reason : "it gave no reason"));
  if (const std::string problem = problemOf(*library); !problem.empty()) return refuse(problem);
  return *library;
}

}  // namespace

LoadedLibrary loadKernelLibrary(const std::string& path) {
  static std::mutex mutex;
  static auto* const registered = new std::set<const FigmentKernelLibrary*>;
  std::lock_guard lock(mutex);

  const FigmentKernelLibrary& library = describe(path);
  if (registered->count(&library) == 0) {
    LibraryKernels kernels;
    for (uint32_t i = 0; i < library.op_count; i++) kernels.specs.push_back(specOf(library.ops[i]));
    for (uint32_t i = 0; i < library.variant_count; i++)
      kernels.variants.emplace_back(library.variants[i].op, variantOf(library.variants[i]));
    try {
      registerKernels(std::move(kernels));
    } catch (const Error& error) {
      throw Error(error.code(), "kernel library " + path + ": " + error.message());
    }
    registered->insert(&library);
  }

  LoadedLibrary loaded = {library.name ? library.name : path, {}};
  std::set<std::string> ops;
  for (uint32_t i = 0; i < library.variant_count; i++) ops.insert(library.variants[i].op);
  loaded.ops.assign(ops.begin(), ops.end());
  return loaded;
}

}  // namespace figment
