// dynamicSlice and dynamicUpdateSlice by runs of neighbouring bytes in pieces of up to 16, one
// thread for each piece.
#include "../../device/divisor.h"
#include "../../device/launch.h"
#include "../../device/units.h"
#include "kernels/params/dynamicSlice.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// The box of `part` in `whole`. Dimensions up to the last that it does not fill; the rest is part
/// of a run, and so is that one.
struct Box {
  int rank;                  ///< dimensions with a start
  int64_t room[kMaxRank];    ///< most that a start may be
  int64_t stride[kMaxRank];  ///< pieces of the whole tensor between neighbours
  Divisor size[kMaxRank];    ///< of the part
  Divisor run;               ///< pieces
  int64_t pieces;            ///< of the part
};

int64_t strideBytes(const Operand& whole, int dimension) {
  int64_t bytes = int64_t(formatBytes(whole.format));
  for (int i = whole.rank - 1; i > dimension; i--) bytes *= whole.dims[i];
  return bytes;
}
/// −1 when the box is the tensor.
int lastWithRoom(const Operand& whole, const Operand& part) {
  int last = whole.rank - 1;
  while (last >= 0 && whole.dims[last] == part.dims[last]) last--;
  return last;
}

Box boxOf(const Operand& whole, const Operand& part, int unit) {
  const int last = lastWithRoom(whole, part);
  Box box = {};
  box.rank = last + 1;
  box.pieces = part.elements() * int64_t(formatBytes(part.format)) / unit;
  int64_t run = box.pieces;
  for (int i = 0; i <= last; i++) {
    box.room[i] = whole.dims[i] - part.dims[i];
    box.stride[i] = strideBytes(whole, i) / unit;
    box.size[i] = Divisor(uint32_t(part.dims[i]));
    if (i < last) run /= part.dims[i];
  }
  box.run = Divisor(uint32_t(run));
  return box;
}

/// Where in the whole tensor the box begins.
FIGMENT_DEVICE int64_t startOf(const Box& box, const Global<const int32_t>& starts) {
  int64_t at = 0;
  for (int i = 0; i < box.rank; i++) {
    const int64_t wished = starts[i];
    at += (wished < 0 ? 0 : wished > box.room[i] ? box.room[i] : wished) * box.stride[i];
  }
  return at;
}
/// Where a piece of the box lies, from its beginning.
FIGMENT_DEVICE int64_t placeOf(const Box& box, uint32_t piece) {
  uint32_t rest = box.run.quotient(piece);
  int64_t at = piece - rest * box.run.divisor;
  for (int i = box.rank - 2; i >= 0; i--) {
    const uint32_t next = box.size[i].quotient(rest);
    at += int64_t(rest - next * box.size[i].divisor) * box.stride[i];
    rest = next;
  }
  return at;
}

/// Copies the box out of the whole tensor, or into it.
template <class Unit, bool kInto>
FIGMENT_KERNEL(kThreads)
boxKernel(Global<Unit> whole, Global<const int32_t> starts, Global<Unit> part,
          FIGMENT_GRID_CONSTANT const Box box) {
  const int64_t start = startOf(box, starts);
  for (int64_t i = threadInGrid(); i < box.pieces; i += threadsOfGrid()) {
    const int64_t at = start + placeOf(box, uint32_t(i));
    if constexpr (kInto)
      whole[at] = part[i];
    else
      part[i] = whole[at];
  }
}

template <bool kInto>
void copyBox(Launcher& launcher, const Operand& whole, const Operand& starts, const Operand& part) {
  if (part.empty()) return;
  const int last = lastWithRoom(whole, part);
  const int64_t step =
      last < 0 ? part.elements() * int64_t(formatBytes(part.format)) : strideBytes(whole, last);
  const int bytes = unitOf(step, addressOf(whole), addressOf(part));
  const Box box = boxOf(whole, part, bytes);
  byUnit(bytes, [&](auto unit) {
    using Unit = decltype(unit);
    launch<boxKernel<Unit, kInto>>(launcher, gridFor(launcher, box.pieces, kThreads), kThreads, 0,
                                   unitsOf<Unit>(whole), viewOf<const int32_t>(starts),
                                   unitsOf<Unit>(part), box);
  });
}

void slice(const OpCall& call, Context& context) {
  copyBox<false>(launcherOf(context), call.in[0], call.in[1], call.out[0]);
}

void update(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const Operand &x = call.in[0], &out = call.out[0];
  if (x.data != out.data)
    launcher.copy(out.data, x.data, size_t(x.elements()) * formatBytes(x.format));
  copyBox<true>(launcher, out, call.in[2], call.in[1]);
}

/// Pieces must be counted in 31 bits.
int preferenceFor(const Operand& part) { return part.elements() < int64_t{1} << 31 ? 20 : -1; }

const RegisterVariant sliceRegistrar{
    {.op = "dynamicSlice",
     .name = "runs",
     .isa = Isa::sm75,
     .supports = [](const OpCall& call) { return preferenceFor(call.out[0]); },
     .scratch = nullptr,
     .run = slice}};
const RegisterVariant updateRegistrar{
    {.op = "dynamicUpdateSlice",
     .name = "runs",
     .isa = Isa::sm75,
     .supports = [](const OpCall& call) { return preferenceFor(call.in[1]); },
     .scratch = nullptr,
     .run = update}};

}  // namespace
}  // namespace figment::cuda
