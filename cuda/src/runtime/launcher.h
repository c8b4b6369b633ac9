// What a variant of this plug-in is given when it runs: a stream to queue kernels on, scratch, and
// where kernels report failures that depend on data. Variants run on the host and must not wait for
// the device: their launches may be recorded and replayed, so everything that differs from run to
// run lies in device memory.
#pragma once
#ifndef __CUDACC__
#include <string>
#endif
#include "../device/failure.h"
#include "kernels/kernel.h"

namespace figment::cuda {

class Launcher final : public Context {
 public:
  Launcher(void* stream, std::byte* scratch, DeviceFailure* failure, int multiprocessors,
           size_t sharedPerBlock)
      : stream_(stream),
        scratch_(scratch),
        failure_(failure),
        multiprocessors_(multiprocessors),
        sharedPerBlock_(sharedPerBlock) {}

  void* stream() const { return stream_; }
  std::byte* scratch() const override { return scratch_; }
  /// A word at zero, of this launch alone, which it leaves at zero.
  uint32_t* arrivals() const { return arrivals_; }
  int multiprocessors() const { return multiprocessors_; }
  /// Most dynamic shared memory of one block.
  size_t sharedPerBlock() const { return sharedPerBlock_; }
  /// For kernels that find numbers they cannot work with.
  FailureSink failures() const { return {failure_, record_}; }

  void checkGrid(int64_t x, int64_t y, int64_t z) const;
  void checkLaunch() const;
  void allowShared(const void* kernel, size_t bytes) const;
  /// Device to device, in order with the kernels.
  void copy(void* to, const void* from, size_t bytes) const;
  void fill(void* to, int byte, size_t bytes) const;
  /// Writes a number that the host knows now, by a kernel: it is part of the recording.
  void setCounter(void* counter, int32_t value);

  void setScratch(std::byte* scratch) { scratch_ = scratch; }
  void setArrivals(uint32_t* arrivals) { arrivals_ = arrivals; }
  void setRecord(uint32_t index, const char* name) {
    record_ = index;
    recordName_ = name;
  }
  const char* recordName() const { return recordName_; }

  // Of kernels on the CPU; a variant of this plug-in calls none of them.
  void parallel(int64_t, int64_t, Body, void*) override;
  int threads() const override { return 1; }
  void fail(const char* code, const std::string& message) override;

 private:
  void* stream_;
  std::byte* scratch_;
  uint32_t* arrivals_ = nullptr;
  DeviceFailure* failure_;
  int multiprocessors_;
  size_t sharedPerBlock_;
  uint32_t record_ = 0;
  const char* recordName_ = "";
};

/// The launcher behind a variant's context.
inline Launcher& launcherOf(Context& context) { return static_cast<Launcher&>(context); }

}  // namespace figment::cuda
