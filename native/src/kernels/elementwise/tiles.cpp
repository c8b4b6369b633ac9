// The tile interpreter: fetch inputs, run the steps, finish outputs, tile after tile. Blocks are
// independent, so workers share them without affecting any result.
#include <cstring>

#include "../params/elementwise.generated.h"
#include "plan.h"
#include "row_copy.h"
#include "transpose.h"

namespace figment::elementwise {
namespace {

/// One worker's walk over a range of tiles.
class TileRun {
 public:
  TileRun(const OpCall& call, const BlockTable& table, const Plan& plan, std::byte* scratch)
      : call_(call), table_(table), plan_(plan), tiling_(plan.tiling), scratch_(scratch) {
    slots_ = reinterpret_cast<void**>(scratch);
    const int firstBuffer = call.inCount + call.outCount;
    for (int b = 0; b < plan.buffers; b++) slots_[firstBuffer + b] = scratch + plan.bufferOffset(b);
    const int filled = tiling_.inner < tiling_.tile ? int(tiling_.inner) : tiling_.tile;
    for (int i = 0; i < plan.constantCount; i++)
      table.splat(slots_[plan.constants[i].slot], &plan.constants[i].bits, filled);
  }

  void run(int64_t begin, int64_t end) {
    const int64_t perBlock = tiling_.tilesPerBlock();
    int64_t tile = begin % perBlock;
    enterBlock(begin / perBlock);
    for (int64_t t = begin;;) {
      for (; tile < perBlock && t < end; tile++, t++) {
        const int64_t position = tile * tiling_.tile;
        const int64_t rest = tiling_.inner - position;
        runTile(position, int(rest < tiling_.tile ? rest : tiling_.tile));
      }
      if (t == end) return;
      tile = 0;
      enterNextBlock();
    }
  }

 private:
  const Access& outAccess(int o) const { return tiling_.access[call_.inCount + o]; }

  /// Points every operand at the block's first element and gathers the repeating patterns.
  void enterBlock(int64_t block) {
    const Space& space = tiling_.space;
    for (int d = tiling_.outerRank - 1; d >= 0; d--) {
      index_[d] = block % space.dims[d];
      block /= space.dims[d];
    }
    for (int i = 0; i < space.operands; i++) {
      const Operand& operand = i < call_.inCount ? call_.in[i] : call_.out[i - call_.inCount];
      int64_t offset = 0;
      for (int d = 0; d < tiling_.outerRank; d++) offset += index_[d] * space.strides[i][d];
      widths_[i] = int64_t(formatBytes(operand.format));
      bases_[i] = operand.as<char>() + offset * widths_[i];
    }
    gatherPatterns();
  }

  /// The same without divisions, which take as long as some of the blocks.
  void enterNextBlock() {
    const Space& space = tiling_.space;
    for (int d = tiling_.outerRank - 1; d >= 0; d--) {
      for (int i = 0; i < space.operands; i++) bases_[i] += space.strides[i][d] * widths_[i];
      if (++index_[d] < space.dims[d]) break;
      for (int i = 0; i < space.operands; i++)
        bases_[i] -= space.dims[d] * space.strides[i][d] * widths_[i];
      index_[d] = 0;
    }
    gatherPatterns();
  }

  void gatherPatterns() {
    for (int i = 0; i < call_.inCount; i++) {
      if (tiling_.access[i].kind != Access::kRepeat) continue;
      if (plan_.inputs[i].used && patterns_[i] != bases_[i]) gatherPattern(i, bases_[i]);
      patterns_[i] = bases_[i];
    }
  }

  void gatherPattern(int i, const char* base) {
    const InputUse& use = plan_.inputs[i];
    const int count = tiling_.inner < tiling_.tile ? int(tiling_.inner) : tiling_.tile;
    const Access& access = tiling_.access[i];
    const int width = int(formatBytes(call_.in[i].format));
    void* raw = scratch_ + use.raw;
    if (access.rank == 1 && width == 4)
      table_.splat(raw, base, count);
    else
      gatherRows(access, width, raw, base, 0, count);
    present(i, raw, count);
  }

  /// Makes gathered or in-place elements the input's value, widened if need be.
  void present(int i, void* raw, int count) {
    const InputUse& use = plan_.inputs[i];
    raws_[i] = raw;
    slots_[i] = raw;
    if (!use.widen) return;
    slots_[i] = scratch_ + use.converted;
    use.widen(slots_[i], raw, nullptr, nullptr, count);
  }

  void runTile(int64_t position, int count) {
    for (int i = 0; i < call_.inCount; i++) {
      const InputUse& use = plan_.inputs[i];
      if (!use.used || tiling_.access[i].kind == Access::kRepeat) continue;
      const int width = int(widths_[i]);
      void* raw = bases_[i] + position * width;
      if (use.raw >= 0) {
        raw = scratch_ + use.raw;
        gatherRows(tiling_.access[i], width, raw, bases_[i], position, count);
      } else if (plan_.fetches) {
        fetch(bases_[i] + (position + count) * width, count * width);
      }
      present(i, raw, count);
    }
    for (int o = 0; o < call_.outCount; o++)
      slots_[call_.inCount + o] = bases_[call_.inCount + o] + position * widths_[call_.inCount + o];
    for (int s = 0; s < plan_.stepCount; s++) {
      const Step& step = plan_.steps[s];
      if (step.block)
        step.block(slots_[step.dst], at(step.a), at(step.b), at(step.c), count);
      else
        table_.chain(slots_[step.dst], at(step.a), plan_.links + step.links, step.linkCount, slots_,
                     count, step.stream);
    }
    for (int o = 0; o < call_.outCount; o++) finish(o, position, count);
  }

  /// Into the second-level cache.
  static void fetch(const char* from, int bytes) {
    constexpr int kLine = 64;
    for (int i = 0; i < bytes; i += kLine) __builtin_prefetch(from + i, 0, 2);
  }

  const void* at(int slot) const { return slot < 0 ? nullptr : slots_[slot]; }

  void finish(int o, int64_t position, int count) {
    const OutputUse& use = plan_.outputs[o];
    if (use.kind == OutputUse::kInPlace) return;
    const Access& access = outAccess(o);
    const int width = int(widths_[call_.inCount + o]);
    const void* value = use.fromRaw ? raws_[use.slot] : slots_[use.slot];
    void* target = slots_[call_.inCount + o];
    const size_t bytes = size_t(count) * size_t(width);
    if (access.kind == Access::kDirect) {
      if (use.kind == OutputUse::kNarrow)
        use.narrow(target, value, nullptr, nullptr, count);
      else if (use.streamed)
        table_.stream(target, value, bytes);
      else if (target != value)
        std::memcpy(target, value, bytes);
      return;
    }
    if (use.kind == OutputUse::kNarrow) {
      use.narrow(scratch_ + use.raw, value, nullptr, nullptr, count);
      value = scratch_ + use.raw;
    }
    scatterRows(access, width, value, bases_[call_.inCount + o], position, count);
  }

  const OpCall& call_;
  const BlockTable& table_;
  const Plan& plan_;
  const Tiling& tiling_;
  std::byte* scratch_;
  void** slots_;
  int64_t index_[kMaxRank];  ///< of the block
  int64_t widths_[kMaxOperands];
  char* bases_[kMaxOperands];
  void* raws_[kMaxInputs];
  const char* patterns_[kMaxInputs] = {};
};

/// Whether a call only moves elements of one operand to another, and by what conversion; null: by
/// none.
bool onlyMoves(const OpCall& call, const Plan& plan, Block& convert) {
  if (call.inCount != 1 || call.outCount != 1 || plan.stepCount > 0) return false;
  const InputUse& in = plan.inputs[0];
  const OutputUse& out = plan.outputs[0];
  if (!in.used) return false;  // a constant is stored
  convert = out.kind == OutputUse::kNarrow ? out.narrow : out.fromRaw ? nullptr : in.widen;
  const bool twice = out.kind == OutputUse::kNarrow && in.widen;
  return !twice && (out.fromRaw || convert);
}

/// Tiles that make up about 20 microseconds of work.
int64_t grainOf(const OpCall& call, const Plan& plan) {
  constexpr double kWork = 20000, kTile = 20, kOperand = 60, kStep = 30, kGathered = 200;
  double nanoseconds = kOperand * (call.inCount + call.outCount) + kStep * plan.stepCount;
  for (int i = 0; i < call.inCount + call.outCount; i++)
    if (plan.tiling.access[i].kind == Access::kRows) nanoseconds += kGathered;
  const Tiling& tiling = plan.tiling;
  const double elements = double(tiling.inner < tiling.tile ? tiling.inner : tiling.tile);
  nanoseconds = kTile + nanoseconds * elements / kTileElements;
  const int64_t tiles = int64_t(kWork / nanoseconds);
  return tiles < 1 ? 1 : tiles;
}

/// A copy between ordered operands needs no buffers, so nothing bounds its tiles.
void enlargeCopyTiles(const OpCall& call, Plan& plan) {
  constexpr int kCopyElements = 16384;
  if (plan.stepCount > 0 || plan.constantCount > 0) return;
  for (int i = 0; i < call.inCount; i++)
    if (plan.inputs[i].raw >= 0 || plan.inputs[i].converted >= 0) return;
  for (int o = 0; o < call.outCount; o++)
    if (plan.tiling.access[call.inCount + o].kind != Access::kDirect) return;
  plan.tiling.tile = kCopyElements;
}

}  // namespace

bool tilesSupport(const OpCall& call) {
  const Instruction* code = instructions(call);
  for (int i = 0; i < instructionCount(call); i++) {
    const bool moves = code[i].op == Opcode::kLoad || code[i].op == Opcode::kStore;
    if (code[i].type == RegisterType::kF64 && !moves) return false;
    if (code[i].op == Opcode::kCast && RegisterType(code[i].b) == RegisterType::kF64) return false;
    if (isComparison(code[i].op) && code[i].type == RegisterType::kF64) return false;
  }
  return true;
}

size_t tileScratch(const OpCall& call, int threads, const BlockTable& table) {
  Plan plan;
  buildPlan(call, table, plan);
  // Operands have no addresses yet; when they do, each output may need one more buffer.
  constexpr size_t kLine = 64;
  plan.bytes += size_t(call.outCount) * (kBufferBytes + kLine);
  return plan.bytes * size_t(threads);
}

void runTiles(const OpCall& call, Context& context, const BlockTable& table) {
  if (call.out[0].elements() == 0) return;
  Plan plan;
  buildPlan(call, table, plan);
  Block convert = nullptr;
  if (onlyMoves(call, plan, convert) &&
      ((!convert && transposeCopy(call, context, plan.tiling.space)) ||
       copyRows(call, context, plan.tiling.space, convert)))
    return;
  enlargeCopyTiles(call, plan);
  bool streamed = false;
  for (int o = 0; o < call.outCount; o++) streamed |= plan.outputs[o].streamed;
  const int64_t tiles = plan.tiling.outerCount * plan.tiling.tilesPerBlock();
  std::byte* scratch = context.scratch();
  context.parallelFor(tiles, grainOf(call, plan), [&](int64_t begin, int64_t end, int worker) {
    TileRun(call, table, plan, scratch + size_t(worker) * plan.bytes).run(begin, end);
    if (streamed) table.streamFence();
  });
}

}  // namespace figment::elementwise
