// Indices outside their axis.
#include "../../device/launch.h"
#include "../first.h"
#include "indices.h"
#include "kernels/params/gather.generated.h"
#include "kernels/params/scatterAdd.generated.h"
#include "kernels/params/scatterAddAlong.generated.h"
#include "kernels/params/takeAlong.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

FIGMENT_KERNEL(kThreads)
indicesKernel(Global<const int32_t> indices, int64_t count, int64_t axis, FailureSink failures) {
  reportFirst<kThreads>(count, 0, failures, [&](int64_t i, double& value) {
    const int32_t index = indices[i];
    value = double(index);
    return index < 0 || index >= axis;
  });
}

const RegisterFailure gather{"gather", [](const OpCall& call, const DeviceFailure& failure) {
                               return badIndex("gather", failure, call.as<GatherParams>().axis);
                             }};
const RegisterFailure scatterAdd{
    "scatterAdd", [](const OpCall& call, const DeviceFailure& failure) {
      return badIndex("scatterAdd", failure, call.as<ScatterAddParams>().axis);
    }};
const RegisterFailure takeAlong{"takeAlong", [](const OpCall& call, const DeviceFailure& failure) {
                                  return badIndex("takeAlong", failure,
                                                  call.as<TakeAlongParams>().axis);
                                }};
const RegisterFailure scatterAddAlong{
    "scatterAddAlong", [](const OpCall& call, const DeviceFailure& failure) {
      return badIndex("scatterAddAlong", failure, call.as<ScatterAddAlongParams>().axis);
    }};

}  // namespace

void checkIndices(const OpCall& call, Launcher& launcher, int64_t count, int64_t axis) {
  launch<indicesKernel>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                        viewOf<const int32_t>(call.in[1]), count, axis, launcher.failures());
}

FailureText badIndex(const char* op, const DeviceFailure& failure, int64_t axis) {
  return {"ERR_FIGMENT_INDEX",
          std::string(op) + ": index " + std::to_string(int32_t(failure.value)) + " at position " +
              std::to_string(failure.position) + " is outside [0, " + std::to_string(axis) + ")"};
}

}  // namespace figment::cuda
