// flip by rows of neighbouring elements, shared out among workers: a row is copied, or read
// backwards where the last axis is among those reversed.
#include <cstring>

#include "../kernel.h"
#include "../params/flip.generated.h"

namespace figment::flip {
namespace {

constexpr int64_t kGrainBytes = 1 << 17;

/// The dimensions with those that behave alike joined: reversing two neighbours is reversing their
/// product. The last one is the row.
struct Rows {
  int rank = 0;
  int64_t dims[kMaxRank];
  bool reversed[kMaxRank];
  int64_t count = 1;  ///< of rows

  Rows(const Operand& x, int32_t axes) {
    for (int i = 0; i < x.rank; i++) {
      if (x.dims[i] == 1) continue;
      const bool turn = (axes >> i & 1) != 0;
      if (rank > 0 && reversed[rank - 1] == turn) {
        dims[rank - 1] *= x.dims[i];
      } else {
        dims[rank] = x.dims[i];
        reversed[rank++] = turn;
      }
    }
    if (rank == 0) {
      dims[rank] = 1;
      reversed[rank++] = false;
    }
    for (int i = 0; i + 1 < rank; i++) count *= dims[i];
  }
  int64_t length() const { return dims[rank - 1]; }
  bool backwards() const { return reversed[rank - 1]; }
  /// The row that row `index` of the result comes from.
  int64_t source(int64_t index) const {
    int64_t from = 0, stride = 1;
    for (int i = rank - 2; i >= 0; i--) {
      const int64_t place = index % dims[i];
      from += (reversed[i] ? dims[i] - 1 - place : place) * stride;
      index /= dims[i];
      stride *= dims[i];
    }
    return from;
  }
};

/// Elements [begin, end) of a row of `length`.
template <class T>
void moveSpan(const Rows& rows, const T* from, T* to, int64_t begin, int64_t end) {
  if (!rows.backwards()) {
    std::memcpy(to + begin, from + begin, size_t(end - begin) * sizeof(T));
    return;
  }
  const T* last = from + rows.length() - 1;
  for (int64_t i = begin; i < end; i++) to[i] = last[-i];
}

template <class T>
void flipAs(const OpCall& call, Context& context) {
  const Rows rows(call.in[0], call.as<FlipParams>().axes);
  constexpr int64_t kPiece = kGrainBytes / int64_t(sizeof(T));
  const int64_t pieces = (rows.length() + kPiece - 1) / kPiece;
  const int64_t grain = pieces > 1 ? 1 : kPiece / rows.length();
  const T* x = call.in[0].as<const T>();
  T* y = call.out[0].as<T>();
  context.parallelFor(rows.count * pieces, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t p = begin; p < end; p++) {
      const int64_t row = p / pieces, first = p % pieces * kPiece;
      const int64_t past = first + kPiece < rows.length() ? first + kPiece : rows.length();
      moveSpan(rows, x + rows.source(row) * rows.length(), y + row * rows.length(), first, past);
    }
  });
}

void flip(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  switch (formatBytes(call.in[0].format)) {
    case 1:
      return flipAs<uint8_t>(call, context);
    case 2:
      return flipAs<uint16_t>(call, context);
    case 4:
      return flipAs<uint32_t>(call, context);
    default:
      return flipAs<uint64_t>(call, context);
  }
}

const RegisterVariant registerFlip{
    Variant{.op = "flip",
            .name = "generic-runs",
            .isa = Isa::generic,
            .supports = [](const OpCall&) { return kReferencePreference + 10; },
            .scratch = nullptr,
            .run = flip}};

}  // namespace
}  // namespace figment::flip
