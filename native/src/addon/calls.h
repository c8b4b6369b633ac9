// The exported functions, by file. Each registers its own on the module's exports.
#pragma once

#include "environment.h"

namespace figment {

/// The device of this number; the CPU where the argument is left out.
Device& deviceArgument(const Napi::CallbackInfo& info, size_t index);

void exportDeviceCalls(Napi::Object exports, Environment& environment);
void exportMemoryCalls(Napi::Object exports, Environment& environment);
void exportProgramCalls(Napi::Object exports, Environment& environment);
void exportChoiceCalls(Napi::Object exports, Environment& environment);
void exportRunCalls(Napi::Object exports, Environment& environment);
void exportProfileCalls(Napi::Object exports, Environment& environment);

}  // namespace figment
