// The registry of operations and their variants. Registrars at file scope fill it before main; it
// orders itself at the first look-up and never changes afterwards.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel.h"

namespace figment {

struct RegisteredOp {
  OpSpec spec;
  std::vector<Variant> variants;  ///< widest ISA first, then by name: the order of selection
};

/// All operations, by name. Throws Error when registrations contradict each other.
const std::vector<RegisteredOp>& registeredOps();

/// Null when unknown.
const RegisteredOp* findOp(std::string_view name);

/// The widest ISA whose variants programs loaded from now on may use.
Isa isaLimit();
/// Throws Error when this machine cannot execute it.
void setIsaLimit(Isa isa);

/// Reads FIGMENT_ISA and FIGMENT_VARIANT ("op=variant,op=variant"); throws Error on a name that
/// does not exist. Called once, when the addon loads.
void configureRegistryFromEnvironment();

/// The variant for one checked call, or null when none can run it: `forced` (may be empty) where it
/// supports the call, else the one named by FIGMENT_VARIANT, else the highest preference within the
/// ISA limit. A pure function of the call and of those settings.
const Variant* selectVariant(const RegisteredOp& op, const OpCall& call, std::string_view forced);

}  // namespace figment
