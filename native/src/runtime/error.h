// The one exception type of the runtime: a stable code and a message. The addon turns it into a
// JavaScript Error with `.code`; the backend ABI turns it into a status.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace figment {

namespace code {
inline constexpr const char* kArgument = "ERR_FIGMENT_ARGUMENT";
inline constexpr const char* kHandle = "ERR_FIGMENT_HANDLE";
inline constexpr const char* kProgram = "ERR_FIGMENT_PROGRAM";
inline constexpr const char* kOutOfMemory = "ERR_FIGMENT_OUT_OF_MEMORY";
inline constexpr const char* kAborted = "ERR_FIGMENT_ABORTED";
inline constexpr const char* kLibrary = "ERR_FIGMENT_LIBRARY";
inline constexpr const char* kDevice = "ERR_FIGMENT_DEVICE";
}  // namespace code

class Error : public std::exception {
 public:
  Error(std::string code, std::string message)
      : code_(std::move(code)), message_(std::move(message)) {}

  const std::string& code() const { return code_; }
  const std::string& message() const { return message_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string code_;
  std::string message_;
};

}  // namespace figment
