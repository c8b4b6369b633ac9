// The emulated twins of src/device/cluster.h, which says what each does.
#pragma once

#include "shared.h"

namespace figment::cuda::emulator {

int clusterSize();
int clusterRank();
void syncCluster(const std::source_location& place);
/// Where another block of the cluster has what the running one has at `at`; notes that it is read.
const std::byte* readInCluster(const std::byte* at, size_t bytes, int rank);

}  // namespace figment::cuda::emulator

namespace figment::cuda {

struct Cluster {
  static int ranks() { return emulator::clusterSize(); }
  static int rank() { return emulator::clusterRank(); }
  static void sync(const std::source_location& place = std::source_location::current()) {
    emulator::syncCluster(place);
  }
  /// Blocks run on until they wait, so that is where all of them meet.
  static void arrive() {}
  static void wait(const std::source_location& place = std::source_location::current()) {
    sync(place);
  }
  template <class T>
  static T read(const emulator::SharedArray<T>& from, int i, int of) {
    from.check(i, 1, alignof(T));
    T value;
    std::memcpy(
        &value,
        emulator::readInCluster(reinterpret_cast<const std::byte*>(from.pointer(i)), sizeof(T), of),
        sizeof(T));
    return value;
  }
};

}  // namespace figment::cuda
