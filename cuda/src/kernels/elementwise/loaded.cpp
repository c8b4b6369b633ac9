#ifndef FIGMENT_EMULATED

#include "loaded.h"

#include <cuda_runtime.h>

#include <mutex>
#include <unordered_map>

namespace figment::cuda::elementwise {
namespace {

/// Kernels are never unloaded, since recorded runs may hold them; what comes later is interpreted.
constexpr size_t kMostKernels = 2048;

/// Everything that a kernel's text depends on.
std::string keyOf(const Shape& shape) {
  std::string key;
  const auto add = [&](const auto& value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  for (const Value& value : shape.code.values) {
    add(value.op);
    add(value.type);
    add(value.from);
    add(value.sources);
    add(value.constant);
  }
  add(shape.code.values.size());
  for (const int stored : shape.code.stores) add(stored);
  for (const Format format : shape.formats) add(format);
  for (const Lie lie : shape.lies) add(lie);
  add(shape.inputs);
  add(shape.outerRank);
  add(shape.perGroup);
  add(shape.groups);
  add(shape.hasBf16);
  return key;
}

/// The driver assembles the text, or finds it in its own cache on disk (see NOTES.md).
const void* load(const Shape& shape) {
  constexpr const char* kName = "elementwise";
  const std::string text = ptxHeader(shape.hasBf16) + printKernel(shape, Dialect::ptx, kName);
  cudaLibrary_t library = nullptr;
  cudaKernel_t kernel = nullptr;
  cudaError_t status =
      cudaLibraryLoadData(&library, text.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0);
  if (status == cudaSuccess) status = cudaLibraryGetKernel(&kernel, library, kName);
  if (status == cudaSuccess) return kernel;
  cudaGetLastError();
  if (library) cudaLibraryUnload(library);
  return nullptr;
}

}  // namespace

const void* loadedKernel(const Shape& shape, bool mayLoad) {
  static auto* const kernels = new std::unordered_map<std::string, const void*>();
  static auto* const mutex = new std::mutex();
  std::string key = keyOf(shape);
  const std::lock_guard lock(*mutex);
  const auto found = kernels->find(key);
  if (found != kernels->end()) return found->second;
  if (!mayLoad || kernels->size() >= kMostKernels) return nullptr;
  return (*kernels)[std::move(key)] = load(shape);
}

}  // namespace figment::cuda::elementwise

#endif
