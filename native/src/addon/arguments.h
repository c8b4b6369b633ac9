// Reading JavaScript arguments. Every function checks type and range and throws
// Error(ERR_FIGMENT_ARGUMENT) that names the argument; nothing is coerced.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

namespace figment {

double numberArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
/// A whole number in [0, max].
uint64_t wholeArgument(const Napi::CallbackInfo& info, size_t index, const char* name,
                       uint64_t max = (uint64_t(1) << 53) - 1);
bool booleanArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
std::string stringArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
/// Absent, null or undefined give "".
std::string optionalStringArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

struct ByteView {
  void* data;
  size_t bytes;
};
/// Any typed array, Buffer or DataView.
ByteView viewArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

struct NumberView {
  double* data;
  size_t length;
};
/// A Float64Array.
NumberView numbersArgument(const Napi::CallbackInfo& info, size_t index, const char* name);

}  // namespace figment
