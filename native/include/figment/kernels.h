/* The kernel ABI: how a library outside this repository adds operations and kernels for the CPU.
 * The library exports one function, `figment_kernels`, which answers a description of what it
 * holds; loadKernels(path) of @figment/tensor opens it and registers that. Plain C: write the
 * kernels in any language that can say `extern "C"`.
 *
 * Rules: no exception crosses the boundary. What the description points to lives as long as the
 * process; a library is never closed. Every function may be called by several threads at once, for
 * different calls. Results may not depend on the number of threads, nor on which worker computes
 * which piece. Structs grow at their end only. */
#ifndef FIGMENT_KERNELS_H
#define FIGMENT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FIGMENT_KERNELS_ABI_VERSION 1u
/* The symbol that a library exports, of type FigmentKernelsEntry. */
#define FIGMENT_KERNELS_SYMBOL "figment_kernels"
#if defined(__GNUC__)
#define FIGMENT_KERNELS_EXPORT __attribute__((visibility("default")))
#else
#define FIGMENT_KERNELS_EXPORT
#endif

/* How the elements of an operand are stored. */
enum {
  FIGMENT_F32 = 0,
  FIGMENT_F64 = 1,
  FIGMENT_BF16 = 2,
  FIGMENT_F16 = 3,
  FIGMENT_I32 = 4,
  FIGMENT_U8 = 5,
  FIGMENT_BOOL = 6,
  FIGMENT_I64 = 7,
  FIGMENT_I8 = 8
};

/* The instruction set that a kernel needs. The loader never runs one that the machine lacks. */
enum { FIGMENT_GENERIC = 0, FIGMENT_AVX2 = 1, FIGMENT_AVX512 = 2 };

#define FIGMENT_MAX_RANK 8

/* An operand. Strides count elements and are never negative. `data` is null while a program is
 * being checked. */
typedef struct FigmentOperand {
  uint8_t format;
  uint8_t rank;
  int64_t dims[FIGMENT_MAX_RANK];
  int64_t strides[FIGMENT_MAX_RANK];
  void* data;
} FigmentOperand;

/* One call of an operation. `params` is the struct that nativeSchema() declares in TypeScript:
 * fields in order, each at its natural alignment, padded to 8 bytes; its size has been checked. */
typedef struct FigmentCall {
  const void* params;
  size_t param_bytes;
  const FigmentOperand* in;
  int32_t in_count;
  const FigmentOperand* out;
  int32_t out_count;
} FigmentCall;

/* What a running kernel may use besides its operands. */
typedef struct FigmentKernelContext {
  uint32_t size;
  int32_t threads;
  void* scratch; /* what the kernel's `scratch` asked for, 64-byte aligned; contents undefined */
  /* Calls body on disjoint ranges that cover [0, count), each [k*grain, min((k+1)*grain, count)),
   * on any worker and in any order; `worker` (0 .. threads-1) selects private scratch. */
  void (*parallel)(const struct FigmentKernelContext* context, int64_t count, int64_t grain,
                   void (*body)(void* closure, int64_t begin, int64_t end, int32_t worker),
                   void* closure);
  /* Reports a failure that depends on the data; the first one wins, and the program stops before
   * its next record. May be called by any worker. `code` begins with ERR_FIGMENT_, for example
   * "ERR_FIGMENT_INDEX". */
  void (*fail)(const struct FigmentKernelContext* context, const char* code, const char* message);
  void* host; /* the addon's own */
} FigmentKernelContext;

/* What an operation is. */
typedef struct FigmentKernelOp {
  const char* name;
  uint64_t
      schema_hash; /* nativeSchema(...).hash in TypeScript; a program with another one is refused */
  uint64_t param_bytes; /* nativeSchema(...).bytes */
  int32_t has_tail;     /* whether bytes follow the struct */
  /* The loader's guard: answers 0 when, with these parameters and operand shapes, no kernel can
   * read or write outside the operands' own dims; otherwise writes what is wrong, at most
   * `capacity` bytes with the final zero, and answers another number. Must check operand counts
   * first, then formats, ranks, dims against params (with overflow in mind: a program may come from
   * a stranger), and contiguity unless its kernels heed strides. That each operand's dims and
   * strides stay inside its memory is checked by the loader itself. */
  int32_t (*check)(const FigmentCall* call, char* problem, size_t capacity);
  /* Non-zero when output `out` may lie at the very bytes of input `in`, element for element. Null:
   * never. */
  int32_t (*may_alias)(const FigmentCall* call, int32_t out, int32_t in);
  /* Floating-point operations, and bytes moved. */
  void (*cost)(const FigmentCall* call, double* flops, double* bytes);
} FigmentKernelOp;

/* One implementation of an operation: of the library's own, or of one that is there already. */
typedef struct FigmentKernelVariant {
  const char* op;
  const char* name; /* unique within the op; "reference" for the plain one */
  int32_t isa;
  /* Preference for this call: negative when it cannot run it, otherwise the highest wins; 0 for a
   * reference. A pure function of formats, shapes and params. */
  int32_t (*supports)(const FigmentCall* call);
  /* Bytes of scratch needed with that many threads. Null: none. */
  size_t (*scratch)(const FigmentCall* call, int32_t threads);
  /* Must write every element of every output. */
  void (*run)(const FigmentCall* call, const FigmentKernelContext* context);
} FigmentKernelVariant;

typedef struct FigmentKernelLibrary {
  uint32_t size;    /* sizeof(FigmentKernelLibrary) as the library was compiled */
  uint32_t version; /* FIGMENT_KERNELS_ABI_VERSION */
  const char* name;
  uint32_t op_count;
  const FigmentKernelOp* ops;
  uint32_t variant_count;
  const FigmentKernelVariant* variants;
} FigmentKernelLibrary;

/* Answers the library's description, the same at every call, or null and the reason when it cannot
 * be used here. */
typedef const FigmentKernelLibrary* (*FigmentKernelsEntry)(uint32_t abi_version,
                                                           const char** reason);

#ifdef __cplusplus
}
#endif

#endif /* FIGMENT_KERNELS_H */
