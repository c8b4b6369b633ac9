/* The backend ABI: what a device family gives to the addon. A backend is one struct of C functions;
 * the CPU backend is linked in, others (CUDA) are shared libraries that export `figment_backend`.
 *
 * Rules: no C++ exception crosses it; every function but last_error may be called from any thread,
 * but run, upload, download, record_event and synchronise on one device are never called by two
 * threads at once.
 * Memory is addressed by opaque pointers that need not be readable by the host. Structs grow at
 * their end only, and start with the size that their writer knew. */
#ifndef FIGMENT_BACKEND_H
#define FIGMENT_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FIGMENT_BACKEND_ABI_VERSION 1u
/* The symbol that a plug-in exports, of type FigmentBackendEntry. */
#define FIGMENT_BACKEND_SYMBOL "figment_backend"

typedef int32_t FigmentStatus;
enum {
  FIGMENT_OK = 0,
  FIGMENT_FAILED = 1,        /* no commit section was left half done; last_error says why */
  FIGMENT_OUT_OF_MEMORY = 2, /* as FIGMENT_FAILED; freeing memory and trying again may help */
  FIGMENT_ABORTED = 3,       /* run: the poll function answered non-zero; as FIGMENT_FAILED */
  FIGMENT_FAILED_COMMIT = 4  /* run: a kernel failed after the commit section had begun */
};

typedef struct FigmentDevice FigmentDevice;
typedef struct FigmentProgram FigmentProgram;

/* The calling thread's last failure. Valid until its next call into the backend. */
typedef struct FigmentError {
  const char* code; /* stable, for example "ERR_FIGMENT_PROGRAM" */
  const char* message;
} FigmentError;

typedef struct FigmentDeviceInfo {
  uint32_t size;
  const char* kind; /* "cpu", "cuda" */
  const char* name;
  uint64_t memory_bytes;
  const char* isa;     /* the widest instruction set that programs loaded from now on may use */
  uint32_t capability; /* of a GPU, its compute capability: 90 for 9.0; else 0 */
  uint32_t multiprocessors; /* of a GPU; else 0 */
} FigmentDeviceInfo;

typedef struct FigmentMemoryInfo {
  uint32_t size;
  uint64_t in_use; /* bytes of blocks handed out, arenas included */
  uint64_t cached; /* bytes kept for reuse */
  uint64_t peak;   /* largest in_use so far */
  uint64_t system_allocations;
  uint64_t limit;  /* 0: unknown */
  uint64_t packed; /* of in_use, packed copies of states kept between runs */
} FigmentMemoryInfo;

typedef struct FigmentRecordInfo {
  const char* op;
  const char* variant;
  double flops;
  double bytes;
  uint32_t tag;
} FigmentRecordInfo;

typedef struct FigmentProgramInfo {
  uint32_t size;
  uint32_t input_count;
  uint32_t output_count;
  uint32_t state_count;
  const uint64_t* input_bytes;
  const uint64_t* output_bytes;
  const uint64_t* state_bytes;
  const uint8_t* state_written; /* one per state: 1 when the program writes it */
  uint64_t arena_bytes;
  double
      predicted_micros; /* on one thread; decides whether a run is worth a trip through the queue */
  uint32_t record_count;
  const FigmentRecordInfo* records;
  uint32_t id; /* names the program in timings */
} FigmentProgramInfo;

/* An operand of a record that its kernel reads in a packed form, of which a copy is kept between
 * runs. */
typedef struct FigmentPackingInfo {
  uint32_t size;
  uint64_t bytes;  /* of the copy */
  uint64_t packed; /* how often it has been made */
  uint64_t reused; /* how often the one that was there has served */
} FigmentPackingInfo;

typedef struct FigmentRun {
  uint32_t size;
  uint32_t flags;
  void* const* inputs;
  void* const* outputs;
  void* const* states;
  /* Non-zero asks to stop, and stays so. Asked before each record and iteration and within kernels,
   * by any thread, but not during commit sections. */
  int (*poll)(void* context);
  void* poll_context;
  /* One for each input: 1 where `inputs` points to at most 8 bytes of host memory, which the run
   * must have read when it returns. Null: none does. */
  const uint8_t* host_inputs;
} FigmentRun;

enum {
  FIGMENT_RUN_SERIAL = 1u /* stay on the calling thread: the program is too small to share */
};

/* Something that took time while profiling was on. */
typedef struct FigmentTiming {
  uint32_t kind;    /* 0: a whole run, 1: a record, 2: a piece of a record on one worker */
  uint32_t worker;  /* which one, for pieces */
  uint32_t program; /* FigmentProgramInfo.id */
  uint32_t record;  /* its index in the program, for records and pieces */
  uint32_t tag;
  const char* op; /* null for runs; names live as long as the process */
  const char* variant;
  double start_micros; /* on the host's steady clock */
  double micros;
} FigmentTiming;

/* Why a record runs on its variant. */
enum {
  FIGMENT_ONLY_VARIANT = 0,
  FIGMENT_ESTIMATED_VARIANT = 1, /* preferred by the backend's own estimate */
  FIGMENT_SHIPPED_VARIANT = 2,   /* by measurements that come with the package */
  FIGMENT_MEASURED_VARIANT = 3,  /* by measurements of this machine */
  FIGMENT_FORCED_VARIANT = 4     /* asked for by name */
};

/* How the variant of one record was chosen. Pointers live as long as the program. */
typedef struct FigmentChoice {
  uint32_t size;
  uint32_t reason;
  uint32_t measurable;           /* 1 when measure_record can time the candidates */
  uint32_t candidate_count;      /* 0 where there is nothing to choose */
  const char* const* candidates; /* names; the one preferred by estimate first */
  const char* key; /* names the call in tables of measurements; "" without candidates */
} FigmentChoice;

/* What a device can do at best. */
typedef struct FigmentCeiling {
  const char* isa; /* multiply-adds in f32 of this instruction set; null: copying */
  uint64_t bytes;  /* of source and target together, for copying */
  double rate;     /* GFLOP/s, or GB/s read and written */
} FigmentCeiling;

/* A place in the work of a device. */
typedef struct FigmentEvent FigmentEvent;
/* Reserved. */
typedef struct FigmentCommunicator FigmentCommunicator;

typedef struct FigmentBackend {
  uint32_t size;    /* sizeof(FigmentBackend) as the backend was compiled */
  uint32_t version; /* FIGMENT_BACKEND_ABI_VERSION */

  const FigmentError* (*last_error)(void);

  int32_t (*device_count)(void);
  FigmentStatus (*open_device)(int32_t index, FigmentDevice** device);
  FigmentStatus (*device_info)(FigmentDevice* device, FigmentDeviceInfo* info);

  /* Memory. Zero bytes give a valid, distinct pointer. `release` takes what `allocate` gave. */
  FigmentStatus (*allocate)(FigmentDevice* device, uint64_t bytes, void** memory);
  void (*release)(FigmentDevice* device, void* memory, uint64_t bytes);
  FigmentStatus (*upload)(FigmentDevice* device, void* to, uint64_t offset, const void* from,
                          uint64_t bytes);
  FigmentStatus (*download)(FigmentDevice* device, const void* from, uint64_t offset, void* to,
                            uint64_t bytes);
  FigmentStatus (*memory_info)(FigmentDevice* device, FigmentMemoryInfo* info);
  FigmentStatus (*set_memory_limit)(FigmentDevice* device, uint64_t bytes); /* 0: all there is */
  void (*trim)(FigmentDevice* device); /* returns cached blocks and arenas to the system */
  void (*set_poison)(FigmentDevice* device, int32_t on);

  /* Programs. `blob` is copied; `variant` (may be null) is preferred wherever it can run. */
  FigmentStatus (*load_program)(FigmentDevice* device, const void* blob, uint64_t bytes,
                                const char* variant, FigmentProgram** program);
  void (*release_program)(FigmentProgram* program);
  FigmentStatus (*program_info)(FigmentProgram* program, FigmentProgramInfo* info);
  FigmentStatus (*run)(FigmentDevice* device, FigmentProgram* program, const FigmentRun* run);
  FigmentStatus (*synchronise)(FigmentDevice* device);

  /* Timings. Turned on and off by count. Events are numbered; read_profile gives those from number
   * `since` on that are still kept and answers the first one's number (the next one's if there is
   * none). */
  void (*set_profiling)(FigmentDevice* device, int32_t on);
  uint64_t (*read_profile)(FigmentDevice* device, uint64_t since,
                           void (*sink)(void* context, const FigmentTiming*), void* context);

  /* Work that goes on beside the caller; null where all is done when calls return. record_event
   * notes the place behind all that has been queued, transfers included; wait_event waits until the
   * device has come to it. */
  FigmentStatus (*record_event)(FigmentDevice* device, FigmentEvent** event);
  FigmentStatus (*wait_event)(FigmentDevice* device, FigmentEvent* event);
  void (*release_event)(FigmentEvent* event);
  /* Reserved; null in version 1. */
  FigmentStatus (*peer_copy)(FigmentDevice* to_device, void* to, FigmentDevice* from_device,
                             const void* from, uint64_t bytes);
  /* Host memory; null together with events. Transfers from and to its beginning are queued. It may
   * be released while they are under way. FIGMENT_OUT_OF_MEMORY: other memory has to do. */
  FigmentStatus (*allocate_pinned)(FigmentDevice* device, uint64_t bytes, void** memory);
  void (*release_pinned)(FigmentDevice* device, void* memory);
  /* Reserved; null in version 1. */
  FigmentStatus (*collective_start)(FigmentDevice* device, FigmentCommunicator* communicator,
                                    uint32_t kind, void* memory, uint64_t bytes);
  FigmentStatus (*collective_wait)(FigmentDevice* device, FigmentCommunicator* communicator);

  /* Room for the temporaries of programs in the queue. `claim_program`, before a run is queued, has
   * later allocations leave enough for it, or answers FIGMENT_OUT_OF_MEMORY; `withdraw_claims`,
   * when nothing is queued, forgets all claims. Null where runs need no memory of their own. */
  FigmentStatus (*claim_program)(FigmentDevice* device, FigmentProgram* program);
  void (*withdraw_claims)(FigmentDevice* device);

  /* Pieces of work of a record, in all runs so far, that its kernel did in a slower way because of
   * the numbers in them. Null where no kernel does. */
  uint64_t (*record_fallbacks)(FigmentProgram* program, uint32_t record);

  /* How variants were chosen, and what they take: writes microseconds for each candidate of a
   * measurable record, negative for one that failed. measure_record is exclusive, as run is. Null
   * where there is nothing to choose. */
  FigmentStatus (*record_choice)(FigmentProgram* program, uint32_t record, FigmentChoice* choice);
  FigmentStatus (*measure_record)(FigmentDevice* device, FigmentProgram* program, uint32_t record,
                                  double* micros);

  /* Answers 0 when the record reads nothing in a packed form that is kept. Null where no kernel
   * does. */
  int32_t (*record_packing)(FigmentProgram* program, uint32_t record, FigmentPackingInfo* info);

  /* What the backend can do: calls the sink with the name of each operation, and with each variant
   * of one that this machine can execute and its instruction set, in order of selection. Names live
   * as long as the process. */
  void (*each_op)(void (*sink)(void* context, const char* op), void* context);
  void (*each_variant)(const char* op,
                       void (*sink)(void* context, const char* variant, const char* isa),
                       void* context);

  /* From now on calls with this key run on this variant, where it is a candidate of theirs under
   * this limit of the instruction set; what was measured on this machine (here: 1) comes before
   * what was shipped (0). */
  FigmentStatus (*add_measured)(const char* isa, int32_t here, const char* key,
                                const char* variant);
  /* Measures the device, for about a second; of the CPU, on so many threads. Exclusive, as run is.
   */
  FigmentStatus (*measure_ceilings)(FigmentDevice* device, int32_t threads,
                                    void (*sink)(void* context, const FigmentCeiling*),
                                    void* context);

  /* For memory that nobody has used yet, other memory of as many bytes that was released lately and
   * may still be in caches; the same where there is none. Null where caches do not matter. */
  void* (*exchange)(FigmentDevice* device, void* memory, uint64_t bytes);

  /* The least that a run needs for its kernels besides arena_bytes for temporaries. Null where that
   * is nothing. */
  uint64_t (*scratch_bytes)(FigmentProgram* program);
} FigmentBackend;

/* Answers the backend, or null and the reason when it cannot run on this machine. */
typedef const FigmentBackend* (*FigmentBackendEntry)(uint32_t abi_version, const char** reason);

#ifdef __cplusplus
}
#endif

#endif /* FIGMENT_BACKEND_H */
