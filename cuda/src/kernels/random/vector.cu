// randomUniform, randomNormal and randomInteger in one launch: a thread draws four neighbouring
// elements at a time and stores them as one access, and the last block writes the next state.
#include "../../device/four.h"
#include "../../device/last_block.h"
#include "../../device/launch.h"
#include "../../device/philox.h"
#include "kernels/params/randomInteger.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

// What is drawn: the bits of elements 4 i … 4 i + 3, and the words of the stream that each takes.

struct Uniforms {
  static constexpr int kWords = 1;
  FIGMENT_DEVICE uint4 operator()(const RandomStream& stream, int64_t i) const {
    const float4 x = uniformBlock(stream, uint64_t(i));
    return make_uint4(floatToBits(x.x), floatToBits(x.y), floatToBits(x.z), floatToBits(x.w));
  }
};
struct Normals {
  static constexpr int kWords = 1;
  FIGMENT_DEVICE uint4 operator()(const RandomStream& stream, int64_t i) const {
    const float4 x = normalBlock(stream, uint64_t(i));
    return make_uint4(floatToBits(x.x), floatToBits(x.y), floatToBits(x.z), floatToBits(x.w));
  }
};
struct Integers {
  static constexpr int kWords = 2;
  int64_t lo;
  uint64_t range;
  FIGMENT_DEVICE uint32_t at(uint32_t high, uint32_t low) const {
    return uint32_t(integerOf(uint64_t(high) << 32 | low, lo, range));
  }
  FIGMENT_DEVICE uint4 operator()(const RandomStream& stream, int64_t i) const {
    const uint4 a = philoxBlock(stream, 2 * uint64_t(i)),
                b = philoxBlock(stream, 2 * uint64_t(i) + 1);
    return make_uint4(at(a.x, a.y), at(a.z, a.w), at(b.x, b.y), at(b.z, b.w));
  }
};

template <class Draw, bool kAligned>
FIGMENT_KERNEL(kThreads)
drawKernel(Global<const int32_t> state, Global<int32_t> next, Global<uint32_t> out, int64_t count,
           Draw draw, uint32_t* arrivals) {
  const RandomStream stream = readStream(state);
  for (int64_t i = threadInGrid(); 4 * i < count; i += threadsOfGrid()) {
    const uint4 x = draw(stream, i);
    if (kAligned && 4 * i + 4 <= count) {
      out.store<uint4>(4 * i, x);
      continue;
    }
    out[4 * i] = x.x;
    if (4 * i + 1 < count) out[4 * i + 1] = x.y;
    if (4 * i + 2 < count) out[4 * i + 2] = x.z;
    if (4 * i + 3 < count) out[4 * i + 3] = x.w;
  }
  // `next` may be `state`, so all blocks must have read it.
  if (isLastBlock(arrivals) && threadIdx.x == 0) writeAdvanced(stream, Draw::kWords * count, next);
}

template <class Draw>
void runDraw(const OpCall& call, Context& context, Draw draw) {
  Launcher& launcher = launcherOf(context);
  const int64_t count = call.out[0].elements();
  const Grid grid = gridFor(launcher, count > 0 ? ceilDiv(count, 4) : 1, kThreads);
  const auto state = viewOf<const int32_t>(call.in[0]);
  const auto next = viewOf<int32_t>(call.out[1]);
  const auto out = viewOf<uint32_t>(call.out[0]);
  if (startsAligned(call.out[0]))
    launch<drawKernel<Draw, true>>(launcher, grid, kThreads, 0, state, next, out, count, draw,
                                   launcher.arrivals());
  else
    launch<drawKernel<Draw, false>>(launcher, grid, kThreads, 0, state, next, out, count, draw,
                                    launcher.arrivals());
}

constexpr Variant variantOf(const char* op, void (*run)(const OpCall&, Context&)) {
  return {.op = op,
          .name = "vector",
          .isa = Isa::sm75,
          .supports = [](const OpCall&) { return 20; },
          .scratch = nullptr,
          .run = run};
}

const RegisterVariant uniform{variantOf("randomUniform", [](const OpCall& call, Context& context) {
  runDraw(call, context, Uniforms{});
})};
const RegisterVariant normal{variantOf("randomNormal", [](const OpCall& call, Context& context) {
  runDraw(call, context, Normals{});
})};
const RegisterVariant integer{variantOf("randomInteger", [](const OpCall& call, Context& context) {
  const auto& p = call.as<RandomIntegerParams>();
  runDraw(call, context, Integers{p.lo, uint64_t(p.hi - p.lo)});
})};

}  // namespace
}  // namespace figment::cuda
