// The file of calls that record.cjs writes: see there for its layout.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace figment::replay {

using Bytes = std::vector<char>;
/// A piece of memory that many calls may share.
using Payload = std::shared_ptr<const Bytes>;

struct Call {
  Payload program;
  std::string variant;  ///< asked for when the program was loaded
  std::string kernels;  ///< "op variant" of each record, joined by commas
  std::string outcome;  ///< empty, or the error: of loading when there are no kernels
  std::vector<Payload> inputs;
  std::vector<Payload> statesBefore;
  std::vector<Payload> outputs;
  std::vector<Payload> statesAfter;
};

class CallReader {
 public:
  /// Throws std::runtime_error when the file cannot be read.
  explicit CallReader(const char* path);
  /// False at the end; throws std::runtime_error in the middle of a call.
  bool next(Call& call);

 private:
  uint64_t number();
  Payload payload();
  std::string text();
  std::vector<Payload> payloads();

  std::string path_;
  std::ifstream file_;
  std::vector<Payload> known_;
};

}  // namespace figment::replay
