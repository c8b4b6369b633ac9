// The words for an index outside its axis, as the CPU has them.
#include "../../device/failure.h"

#include "kernels/kernel.h"
#include "kernels/params/gather.generated.h"
#include "kernels/params/scatterAdd.generated.h"
#include "kernels/params/scatterAddAlong.generated.h"
#include "kernels/params/takeAlong.generated.h"

namespace figment::cuda {
namespace {

FailureText badIndex(const char* op, const DeviceFailure& failure, int64_t axis) {
  return {"ERR_FIGMENT_INDEX",
          std::string(op) + ": index " + std::to_string(int32_t(failure.value)) + " at position " +
              std::to_string(failure.position) + " is outside [0, " + std::to_string(axis) + ")"};
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
}  // namespace figment::cuda
