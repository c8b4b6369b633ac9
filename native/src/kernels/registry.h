// The registry of operations and their variants. Registrars at file scope fill it before main; it
// orders itself at the first look-up. Kernel libraries add to it later: what has been handed out
// stays as it is, for as long as the process lives.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel.h"
#include "packing.h"

namespace figment {

/// An OpSpec, of this addon or of a library.
struct RegisteredSpec {
  const char* name;
  uint64_t schemaHash;
  size_t paramBytes;
  bool hasTail;
  std::function<std::string(const OpCall&)> check;
  std::function<bool(const OpCall&, int out, int in)> mayAlias;  ///< may be empty
  std::function<Cost(const OpCall&)> cost;
};

/// A Variant, of this addon or of a library.
struct RegisteredVariant {
  const char* name;
  Isa isa;
  std::function<int(const OpCall&)> supports;
  std::function<size_t(const OpCall&, int threads)> scratch;  ///< may be empty
  std::function<void(const OpCall&, Context&)> run;
  const Packer* packer = nullptr;  ///< null: reads its operands as they lie
};

struct RegisteredOp {
  RegisteredSpec spec;
  std::vector<RegisteredVariant> variants;  ///< widest ISA first, then by name: order of selection
};

/// What a kernel library brings.
struct LibraryKernels {
  std::vector<RegisteredSpec> specs;
  std::vector<std::pair<std::string, RegisteredVariant>> variants;  ///< with their operations
};

/// All operations now, by name. Throws Error when registrations contradict each other.
const std::vector<const RegisteredOp*>& registeredOps();

/// Null when unknown.
const RegisteredOp* findOp(std::string_view name);

/// Adds all of it or, when it contradicts what is there, throws Error and adds nothing. Programs
/// loaded before keep the kernels that they have.
void registerKernels(LibraryKernels kernels);

/// The widest ISA whose variants programs loaded from now on may use.
Isa isaLimit();
/// Throws Error when this machine cannot execute it.
void setIsaLimit(Isa isa);

/// Reads FIGMENT_ISA and FIGMENT_VARIANT ("op=variant,op=variant"); throws Error on a name that
/// does not exist. Called once, when the addon loads.
void configureRegistryFromEnvironment();

/// Why a call runs on the variant that it runs on. The numbers are part of the backend ABI.
enum class Reason : uint8_t {
  only = 0,       ///< no other may be chosen
  estimated = 1,  ///< the highest preference
  shipped = 2,    ///< fastest in the measurements that come with the package
  measured = 3,   ///< fastest in the measurements of this machine
  forced = 4,     ///< asked for by name
};

struct Choice {
  const RegisteredVariant* variant = nullptr;  ///< null when none can run the call
  Reason reason = Reason::only;
  /// What measurements choose between, the highest preference first: every variant whose preference
  /// is above kReferencePreference, without a narrower instruction set's instance of the same
  /// kernel. Empty when there are fewer than two.
  std::vector<const RegisteredVariant*> candidates;
  std::string key;  ///< of the call in tables of measurements; empty without candidates
};

/// The variant for one checked call: `forced` (may be empty) where it supports the call, else the
/// one named by FIGMENT_VARIANT, else the candidate that was measured to be fastest, on this
/// machine or in the shipped table, else the highest preference within the ISA limit. A pure
/// function of the call, of those settings and of the tables.
Choice chooseVariant(const RegisteredOp& op, const OpCall& call, std::string_view forced);

}  // namespace figment
