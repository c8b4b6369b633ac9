// Plain Node-API where it saves a handle or an allocation on the eager path.
#include "arguments.h"

#include <cmath>

#include "../runtime/error.h"

namespace figment {
namespace {

[[noreturn]] void wrong(const char* name, const char* expected) {
  throw Error(code::kArgument, std::string(name) + ": expected " + expected);
}

}  // namespace

double numberArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  double value;
  if (napi_get_value_double(info.Env(), info[index], &value) != napi_ok) wrong(name, "a number");
  return value;
}

uint64_t wholeArgument(const Napi::CallbackInfo& info, size_t index, const char* name,
                       uint64_t max) {
  const double value = numberArgument(info, index, name);
  if (!(value >= 0 && value <= double(max) && value == std::floor(value)))
    throw Error(code::kArgument,
                std::string(name) + ": expected a whole number from 0 to " + std::to_string(max));
  return uint64_t(value);
}

bool booleanArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  bool value;
  if (napi_get_value_bool(info.Env(), info[index], &value) != napi_ok) wrong(name, "a boolean");
  return value;
}

std::string stringArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  if (!value.IsString()) wrong(name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::string optionalStringArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  return value.IsUndefined() || value.IsNull() ? std::string() : stringArgument(info, index, name);
}

ByteView viewArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Value value = info[index];
  ByteView view = {nullptr, 0};
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    size_t length;
    if (napi_get_typedarray_info(info.Env(), value, nullptr, &length, &view.data, nullptr,
                                 nullptr) != napi_ok)
      wrong(name, "a typed array");
    view.bytes = length * array.ElementSize();
  } else if (value.IsDataView()) {
    if (napi_get_dataview_info(info.Env(), value, &view.bytes, &view.data, nullptr, nullptr) !=
        napi_ok)
      wrong(name, "a DataView");
  } else {
    wrong(name, "a typed array or DataView");
  }
  if (!view.data) view.bytes = 0;  // a detached buffer
  return view;
}

NumberView numbersArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(info.Env(), info[index], &type, &length, &data, nullptr, nullptr) !=
          napi_ok ||
      type != napi_float64_array)
    wrong(name, "a Float64Array");
  return {static_cast<double*>(data), data ? length : 0};
}

}  // namespace figment
