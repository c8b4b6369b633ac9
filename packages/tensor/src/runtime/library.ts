// Kernel libraries: native code from outside that brings operations and kernels.

import { guarded, native } from "./device.js";

/** What a kernel library holds. */
export interface KernelLibrary {
  readonly name: string;
  /** Native operations that it has kernels for. */
  readonly ops: readonly string[];
}

/**
 * Opens a shared library that speaks the kernel ABI (`figment/kernels.h` in @figment/native) and registers its operations
 * and kernels for the whole process. Loading it again, in another thread too, changes nothing; it is never closed. Programs
 * compiled before keep the kernels that they have. {@link defineOp} gives an operation its meaning in TypeScript;
 * `examples/smooth` in the repository is a complete one.
 *
 * @param path absolute.
 * @throws DeviceError with code ERR_FIGMENT_LIBRARY, saying why it cannot be used: no such file, another ABI version, a
 *   name that is taken. Then nothing has been registered.
 * @example
 * try {
 *   loadKernels("/opt/kernels/smooth.so");
 * } catch (error) {
 *   console.log(String(error)); // DeviceError: kernel library /opt/kernels/smooth.so cannot be opened: …
 * }
 */
export const loadKernels = (path: string): KernelLibrary => guarded(() => native().loadKernels(path));
