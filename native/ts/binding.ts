// The native binding as TypeScript sees it, written by hand; a test compares it with what the addon
// exports. Handles are positive numbers; using one that is stale, foreign or invented throws.
// Every error is an Error with one of the codes below in `.code`.

/** What a native error's `code` can be. */
export type NativeErrorCode =
  | "ERR_FIGMENT_ARGUMENT"
  | "ERR_FIGMENT_HANDLE"
  | "ERR_FIGMENT_PROGRAM"
  | "ERR_FIGMENT_OUT_OF_MEMORY"
  | "ERR_FIGMENT_INDEX"
  | "ERR_FIGMENT_NONFINITE"
  | "ERR_FIGMENT_ABORTED"
  | "ERR_FIGMENT_LIBRARY"
  | "ERR_FIGMENT_DEVICE";

/** Instruction sets that have their own kernels. */
export type Isa = "generic" | "avx2" | "avx512" | "avx512bf16" | "amx" | "sm75" | "sm80" | "sm90a";

export interface CpuInfo {
  readonly name: string;
  /** Vendor, family and model, for example "AuthenticAMD 25.1". */
  readonly family: string;
  /** Physical cores that this process may use (affinity and cgroup quota considered). */
  readonly cores: number;
  /** The widest set that programs loaded from now on may use. */
  readonly isa: Isa;
  /** For example "avx2", "avx512-bf16", "amx-int8", "neon". */
  readonly features: readonly string[];
  readonly threads: number;
}

/** How the addon was built. */
export interface BuildInfo {
  /** For example "GNU 12.2.0". */
  readonly compiler: string;
  /** Of all files; those of one instruction set are compiled for it besides. */
  readonly flags: string;
}

export type DeviceInfo =
  | {
      readonly kind: string;
      readonly index: number;
      readonly name: string;
      readonly memoryLimit: number;
      /** The widest set that programs loaded from now on may use. */
      readonly isa: Isa;
      /** Of a GPU, its compute capability, 90 for 9.0; else 0. */
      readonly capability: number;
      /** Of a GPU; else 0. */
      readonly multiprocessors: number;
    }
  | { readonly kind: string; readonly index?: undefined; readonly reason: string };

export interface MemoryInfo {
  /** Bytes of this environment's live buffers on the device; so below. */
  readonly live: number;
  readonly liveBuffers: number;
  /** Bytes of blocks that the process has in use: buffers of all environments, arenas, scratch. */
  readonly inUse: number;
  /** Bytes that the process keeps for reuse. */
  readonly cached: number;
  /** The most that the process had in use at once: buffers, arenas, scratch. */
  readonly peak: number;
  /** How often the process asked the system for memory. */
  readonly systemAllocations: number;
  /** Of what is in use, packed copies of state that is only read, kept between runs. */
  readonly packed: number;
  /** The most that the process may hold: what setMemoryLimit said, or what the machine has. */
  readonly limit: number;
}

export interface ProgramInfo {
  /** Names the program in profiles; unique in the process. */
  readonly id: number;
  readonly arenaBytes: number;
  /** Predicted time of one run on one thread; small programs run inline. */
  readonly predictedMicros: number;
  readonly records: readonly {
    readonly op: string;
    readonly variant: string;
    readonly flops: number;
    readonly bytes: number;
    readonly tag: number;
    /** Pieces of work, in all runs so far, that the variant did in a slower way because of the numbers in them. */
    readonly fallbacks: number;
    /** What its kernel reads in a packed form kept between runs: of how many bytes, and how often it was packed or there. */
    readonly packing: { readonly bytes: number; readonly packed: number; readonly reused: number } | null;
  }[];
}

/**
 * Why a record runs on its variant: no other may be chosen, the highest preference, measured elsewhere (the shipped table),
 * measured here, or asked for by name.
 */
export type ChoiceReason = "only" | "estimated" | "shipped" | "measured" | "forced";

/** How the variant of one record was chosen. */
export interface RecordChoice {
  readonly reason: ChoiceReason;
  /** Names the call in tables of measurements; "" where there is nothing to choose. */
  readonly key: string;
  /** The variants that measurements choose between, the one preferred by estimate first; none where there is one. */
  readonly candidates: readonly string[];
  /** Whether measureRecord() can time them. */
  readonly measurable: boolean;
}

/** What a device can do at best. */
export interface Ceilings {
  readonly threads: number;
  /** f32 multiply-add rate by instruction set, GFLOP/s. */
  readonly fma: Readonly<Record<string, number>>;
  /** Copy bandwidth (read + written) by footprint of source and target together, GB/s. */
  readonly copy: readonly { readonly bytes: number; readonly gbps: number }[];
}

/** What ran while profiling was on. */
export interface ProfileChunk {
  /** Number of the first event; events are numbered through the life of the process. */
  readonly first: number;
  /** Operations and variants, by the numbers used in `events`. */
  readonly names: readonly string[];
  /** Nine numbers for each event; profileEvents() says what they are. */
  readonly events: Float64Array;
}

export interface NativeBinding {
  readonly abiVersion: number;

  // The machine and its settings, shared by the whole process.
  cpu(): CpuInfo;
  build(): BuildInfo;
  threads(): number;
  /** Threads that share a kernel, 1 to 256; from the next run on. */
  setThreads(count: number): void;
  /** Narrows the instruction set of programs loaded later; null: the machine's best. */
  setIsa(isa: Isa | null): void;
  /** CPU first; a device that cannot be used has a reason instead of an index. */
  devices(): DeviceInfo[];
  /** Of a device, the CPU where it is left out; so below. */
  ops(device?: number): string[];
  /** The kernels of one operation that this machine can execute, in order of selection among equals. */
  variants(op: string, device?: number): { readonly name: string; readonly isa: Isa }[];
  /** The kernels of one operation that this build has, those for other machines included. */
  builtVariants(op: string): { readonly name: string; readonly isa: Isa }[];
  /** Opens a kernel library (native/include/figment/kernels.h) by absolute path and registers what it holds, once. */
  loadKernels(path: string): { readonly name: string; readonly ops: readonly string[] };
  memory(device?: number): MemoryInfo;
  /** Bytes that the process may hold on the CPU; 0: what the machine (or its control group) has. */
  setMemoryLimit(bytes: number, device?: number): void;
  /** Waits for the queue, then gives cached memory and arenas back to the system. */
  trim(device?: number): void;
  /** For tests: fills fresh buffers, and the arena before each run, with NaN patterns. */
  setPoison(on: boolean, device?: number): void;
  /** For tests: whether kernels on emulated matrix tiles are chosen where those on the hardware's would be. */
  setEmulatedTiles(on: boolean): void;

  // Buffers.
  /** Contents undefined. */
  allocate(device: number, bytes: number): number;
  release(buffer: number): void;
  byteLength(buffer: number): number;
  /**
   * On the CPU, copies at once when no queued work uses the buffer, else waits for that work first. For other devices, copies
   * the bytes and queues their upload; an error of it is told by reads of the buffer, or by settled().
   */
  write(buffer: number, byteOffset: number, data: ArrayBufferView): void;
  /** In queue order. Rejects with the error of the run that should have made the contents. */
  read(buffer: number, byteOffset: number, byteLength: number): Promise<ArrayBuffer>;
  /** Waits. Throws like read(), or an earlier run's error that nothing has reported. */
  readSync(buffer: number, byteOffset: number, byteLength: number): ArrayBuffer;

  // Programs.
  /** Verifies and prepares a program. `variant` is preferred wherever it can run, for tests. */
  loadProgram(blob: Uint8Array, variant?: string, device?: number): number;
  releaseProgram(program: number): void;
  programInfo(program: number): ProgramInfo;
  /** One for each record. */
  programChoices(program: number): RecordChoice[];
  /** Microseconds of each candidate that a measurable record has. Waits for the queue; takes up to about two seconds. */
  measureRecord(program: number, record: number): Record<string, number>;
  /** From now on calls with this key run on this variant, where it is a candidate of theirs under this ISA limit. */
  addMeasured(isa: Isa, origin: "shipped" | "here", key: string, variant: string, device?: number): void;
  /** State buffers by ordinal, checked once for many runs. */
  bind(program: number, state: Float64Array): number;
  releaseBinding(binding: number): void;
  /**
   * Runs now if the program is small and the queue idle, else later, in order. An input of at most 8 bytes whose handle
   * is 0 is not in a buffer: it is the first bytes of the number as many places behind it as the program has inputs, and
   * travels with the run. `outputs` is filled with fresh buffers. Both arrays may be longer than needed. binding and cancel: 0 for none. An error of
   * the run itself is not thrown here but by reads of its outputs, or by settled().
   */
  run(program: number, binding: number, inputs: Float64Array, outputs: Float64Array, cancel: number): void;
  createCancel(): number;
  /** Runs that hold the token stop within the record that is running, unless they have begun to commit. */
  cancel(token: number): void;
  releaseCancel(token: number): void;

  // Waiting.
  /** When everything queued so far is done, on all devices; rejects with the oldest error that no read has reported. */
  settled(): Promise<void>;
  settleSync(): void;

  // Profiles of the whole process.
  /** Starts noting what runs on all devices, or stops when as many have stopped as started. */
  profile(on: boolean): void;
  /** The events of a device from number `since` on; the latest 262,144 are kept. */
  readProfile(since: number, device?: number): ProfileChunk;
  /** Now, in microseconds of the clock that events are on. */
  profileClock(): number;
  /** Measures what a device can do, the CPU on that many threads; takes its queue for about a second. */
  measureCeilings(threads: number, device?: number): Promise<Ceilings>;
}
