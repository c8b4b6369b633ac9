// dlopen with RTLD_NOW (a plug-in that lacks a symbol says so here, not in the middle of a run) and
// RTLD_LOCAL (its CUDA runtime does not meet anybody else's).
#include "backend_loader.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <cstdlib>

namespace figment {
namespace {

constexpr const char* kCudaPlugin = "figment_cuda.so";

/// The folder of the library that this function is in, with a trailing slash.
std::string libraryFolder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<const void*>(&pinLibrary), &info) || !info.dli_fname) return {};
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}

bool exists(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0;
}

}  // namespace

OpenedBackend openBackend(const std::string& path) {
  if (path.empty() || path[0] != '/') return {nullptr, "\"" + path + "\" is not an absolute path"};
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return {nullptr, dlerror()};
  const auto entry = reinterpret_cast<FigmentBackendEntry>(dlsym(library, FIGMENT_BACKEND_SYMBOL));
  if (!entry) return {nullptr, path + " does not export " FIGMENT_BACKEND_SYMBOL};
  const char* reason = nullptr;
  const FigmentBackend* api = entry(FIGMENT_BACKEND_ABI_VERSION, &reason);
  if (!api) return {nullptr, reason ? reason : path + " gave no reason"};
  if (api->version != FIGMENT_BACKEND_ABI_VERSION || api->size < sizeof(FigmentBackend))
    return {nullptr, path + " speaks backend ABI " + std::to_string(api->version) +
                         ", this addon speaks " + std::to_string(FIGMENT_BACKEND_ABI_VERSION)};
  return {api, {}};
}

OpenedBackend openCudaBackend() {
  const char* setting = std::getenv("FIGMENT_CUDA");
  if (setting && std::string(setting) == "0") return {nullptr, "turned off by FIGMENT_CUDA=0"};
  if (setting && setting[0]) {
    if (setting[0] == '/') return openBackend(setting);
    return {nullptr, std::string("FIGMENT_CUDA is \"") + setting +
                         "\"; expected 0 or the absolute path of a plug-in"};
  }
  const std::string path = libraryFolder() + kCudaPlugin;
  if (!exists(path)) return {nullptr, "the CUDA plug-in is not installed (" + path + ")"};
  return openBackend(path);
}

void pinLibrary() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&pinLibrary), &info) && info.dli_fname)
    dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

}  // namespace figment
