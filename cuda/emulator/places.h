// Places of a kernel's source, where threads wait.
#pragma once

#include <source_location>
#include <string>
#include <string_view>

namespace figment::cuda::emulator {

inline std::string placeName(const std::source_location& place) {
  const std::string_view path = place.file_name();
  return std::string(path.substr(path.find_last_of('/') + 1)) + ":" + std::to_string(place.line());
}

inline bool samePlace(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::string_view(a.file_name()) == b.file_name();
}

}  // namespace figment::cuda::emulator
