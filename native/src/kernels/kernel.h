// The CPU kernel interface: what an operation is (OpSpec), how one implementation of it registers
// itself (Variant), and what it is given when it runs (OpCall, Context). Knows no JavaScript and no
// program format. A new kernel is a new file in its op's folder: a registrar at file scope is all
// that connects it.
#pragma once
#ifndef __CUDACC__
#include <atomic>
#include <cstddef>
#include <string>
#else
#include "names.h"
#endif

#include "params/elementwise.generated.h"

// Inlined without exception: a copy compiled for one instruction set must never serve another.
#if defined(__GNUC__)
#define FIGMENT_ALWAYS_INLINE [[gnu::always_inline]] inline
#else
#define FIGMENT_ALWAYS_INLINE inline
#endif

namespace figment {

/// How the elements of a value are stored. The numbers are part of the program format.
enum class Format : uint8_t {
  f32 = 0,
  f64 = 1,
  bf16 = 2,
  f16 = 3,
  i32 = 4,
  u8 = 5,
  boolean = 6,
  i64 = 7,
  i8 = 8,
};
constexpr int kFormatCount = 9;

constexpr size_t formatBytes(Format format) {
  switch (format) {
    case Format::f32:
    case Format::i32:
      return 4;
    case Format::f64:
    case Format::i64:
      return 8;
    case Format::bf16:
    case Format::f16:
      return 2;
    default:
      return 1;
  }
}

constexpr int kMaxRank = 8;

/// One operand of a record. Strides count elements; they are never negative. `data` is null while a
/// program is being checked.
struct Operand {
  Format format = Format::f32;
  uint8_t rank = 0;
  int64_t dims[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};
  void* data = nullptr;

  FIGMENT_ALWAYS_INLINE bool empty() const {
    for (int i = 0; i < rank; i++)
      if (dims[i] == 0) return true;
    return false;
  }
  /// The other dims of an empty operand may be anything, so they are not multiplied.
  FIGMENT_ALWAYS_INLINE int64_t elements() const {
    if (empty()) return 0;
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dims[i];
    return n;
  }
  /// True when the elements lie in row-major order without gaps (dimensions of size 1 may have any
  /// stride).
  FIGMENT_ALWAYS_INLINE bool contiguous() const {
    if (empty()) return true;
    int64_t expected = 1;
    for (int i = rank - 1; i >= 0; i--) {
      if (dims[i] != 1 && strides[i] != expected) return false;
      expected *= dims[i];
    }
    return true;
  }
  FIGMENT_ALWAYS_INLINE bool hasShape(std::initializer_list<int64_t> shape) const {
    if (shape.size() != rank) return false;
    int i = 0;
    for (int64_t d : shape)
      if (dims[i++] != d) return false;
    return true;
  }
  template <class T>
  FIGMENT_ALWAYS_INLINE T* as() const {
    return static_cast<T*>(data);
  }
};

/// One operation with its parameters and operands. `params` is 8-byte aligned and its size has been
/// checked against the op's schema before any function below sees it.
struct OpCall {
  const void* params = nullptr;
  size_t paramBytes = 0;
  const Operand* in = nullptr;
  int inCount = 0;
  const Operand* out = nullptr;
  int outCount = 0;

  template <class P>
  FIGMENT_ALWAYS_INLINE const P& as() const {
    static_assert(std::is_trivially_copyable_v<P>);
    return *static_cast<const P*>(params);
  }
};

/// What a running kernel may use besides its operands: the worker pool, scratch memory, and a way
/// to report an error that depends on the data.
class Context {
 public:
  using Body = void (*)(void* closure, int64_t begin, int64_t end, int worker);

  virtual ~Context() = default;
  /// Calls body on disjoint ranges that cover [0, count), each at most `grain` long except that a
  /// range never starts off a multiple of `grain`. Ranges are handed to workers in any order, so no
  /// result may depend on which worker gets which; `worker` (0 .. threads()-1) selects private
  /// scratch. When the run is to stop, ranges that nobody has begun are left out, and so are all
  /// those of later calls: what a kernel does between two calls must not take what a range should
  /// have written for an address.
  virtual void parallel(int64_t count, int64_t grain, Body body, void* closure) = 0;
  virtual int threads() const = 0;
  /// The memory asked for by Variant::scratch, 64-byte aligned; contents undefined.
  virtual std::byte* scratch() const = 0;
  /// Records a data-dependent failure (first one wins). The program stops before the next record.
  virtual void fail(const char* code, const std::string& message) = 0;

  template <class F>
  void parallelFor(int64_t count, int64_t grain, F&& f) {
    parallel(
        count, grain < 1 ? 1 : grain,
        [](void* closure, int64_t begin, int64_t end, int worker) {
          (*static_cast<std::remove_reference_t<F>*>(closure))(begin, end, worker);
        },
        const_cast<void*>(static_cast<const void*>(&f)));
  }
};

/// Work and traffic of one call, for the inline decision, explain() and benchmarks.
struct Cost {
  double flops = 0;
  double bytes = 0;
};

/// Bytes of all operands, each read or written once; the default traffic estimate.
FIGMENT_ALWAYS_INLINE double operandBytes(const OpCall& call) {
  double bytes = 0;
  for (int i = 0; i < call.inCount; i++)
    bytes += double(call.in[i].elements()) * double(formatBytes(call.in[i].format));
  for (int i = 0; i < call.outCount; i++)
    bytes += double(call.out[i].elements()) * double(formatBytes(call.out[i].format));
  return bytes;
}

/// What an operation is, apart from any implementation.
struct OpSpec {
  const char* name;
  uint64_t schemaHash;  ///< from params/*.generated.h
  size_t paramBytes;    ///< exact size of the parameter struct; the fixed head when `hasTail`
  bool hasTail;         ///< a byte tail follows the struct
  /// The loader's guard: answers "" when, with these parameters and operand shapes, no variant can
  /// read or write outside the operands' own dims; otherwise says what is wrong. Must check operand
  /// counts first, then formats, ranks, dims against params (with overflow in mind: dims come from
  /// a stranger), and contiguity unless the op accepts strides. The loader itself checks that each
  /// operand's dims and strides stay inside its memory.
  std::string (*check)(const OpCall& call);
  /// True when out[o] may start at the very bytes of in[i] (same size, element for element in
  /// place).
  bool (*mayAlias)(const OpCall& call, int out, int in);
  Cost (*cost)(const OpCall& call);
};

/// Instruction sets with their own translation units, in order of preference; each includes those
/// before it. avx512bf16 is AVX-512 with dot products of bf16, and amx that with matrix tiles of
/// bf16. The sets of GPUs are apart: a backend has variants of its own kind only.
enum class Isa : uint8_t {
  generic = 0,
  avx2 = 1,
  avx512 = 2,
  avx512bf16 = 3,
  amx = 4,
  sm75 = 16,   ///< what every GPU that the plug-in runs on has
  sm80 = 17,   ///< mma on bf16, copies that a thread does not wait for
  sm90a = 18,  ///< wgmma and the bulk copy engine, of Hopper only
};

/// One implementation of an operation.
struct Variant {
  const char* op;
  const char* name;  ///< unique within the op, for example "reference", "avx512-packed"
  Isa isa;
  /// Preference for this call: negative when it cannot run it, otherwise the highest wins. A pure
  /// function of the call: shapes, formats, params.
  int (*supports)(const OpCall& call);
  /// Scratch bytes needed with that many threads; null when none.
  size_t (*scratch)(const OpCall& call, int threads);
  void (*run)(const OpCall& call, Context& context);
};

struct RegisterOp {
  explicit RegisterOp(const OpSpec& spec);
};
struct RegisterVariant {
  explicit RegisterVariant(const Variant& variant);
#ifdef FIGMENT_ISA_FILE
  // Only constants are registered in a file of one instruction set: putting a temporary together
  // would be code that runs at load, made of instructions that the machine may lack.
  explicit RegisterVariant(Variant&&) = delete;
#endif
};

/// Preference of the plain implementations that serve as oracles: only ever chosen when nothing
/// else runs. Above it a variant is a candidate: where measurements find it fastest for a call, it
/// runs, so its results must be as exact as its operation's precision promises.
constexpr int kReferencePreference = 1;
/// Preference of kernels that run only when they are asked for.
constexpr int kOnRequest = 0;

}  // namespace figment
