// Which devices there are, what they are called, and which one new memory is made on. The native side numbers devices, the
// CPU being 0; users name them. Looking for GPUs takes opening the plug-in, so nothing does before a GPU is named.

import { AsyncLocalStorage } from "node:async_hooks";
import type { Isa, DeviceInfo as NativeDevice } from "@figment/native";
import { DeviceError, UsageError } from "../errors.js";
import { show } from "../shape.js";
import { native } from "./binding.js";

/** The name of a device: "cuda" is the first GPU, as "cuda:0" is. */
export type Device = "cpu" | "cuda" | `cuda:${number}`;

/** A device that can be used, or a kind of device of which there is none, and why. */
export type AvailableDevice =
  | { readonly device: Device; readonly name: string; readonly memoryBytes: number; readonly reason?: undefined }
  | { readonly device: "cuda"; readonly name?: undefined; readonly reason: string };

/** What a device is. */
export interface DeviceInfo {
  readonly device: Device;
  /** What the processor or the GPU calls itself. */
  readonly name: string;
  /** The widest instruction set that programs loaded from now on may use. */
  readonly isa: Isa;
  /** Physical cores that this process may use; of a GPU, its multiprocessors. */
  readonly cores: number;
}

/** What the CPU is. */
export interface CpuDeviceInfo extends DeviceInfo {
  readonly device: "cpu";
  /** Vendor, family and model, for example "AuthenticAMD 25.1". */
  readonly family: string;
  /** For example "avx2", "avx512-bf16", "amx-int8", "neon". */
  readonly features: readonly string[];
  /** Threads that a kernel is shared between. */
  readonly threads: number;
}

/** What a GPU is. */
export interface GpuDeviceInfo extends DeviceInfo {
  readonly memoryBytes: number;
  /** For example "9.0". */
  readonly computeCapability: string;
}

/** The device of this thread unless something says otherwise; undefined until somebody asks. */
let base: number | undefined;
/** The device of the synchronous call in progress, if it has one of its own. */
let pinned: number | undefined;
/** The devices of asynchronous work, made when there is some: promises cost more from then on. */
let scoped: AsyncLocalStorage<number> | undefined;
/** The devices that this thread has named so far. */
const named = new Set<number>([0]);

/** The number of the device that new memory and programs are made on. */
export const currentDevice = (): number => pinned ?? scoped?.getStore() ?? base ?? startingDevice();

/** The device of this thread at its start. */
function startingDevice(): number {
  base = deviceOfEnvironment();
  return base;
}

/** The device that FIGMENT_DEVICE names. Throws UsageError for what names none, DeviceError for one that cannot be used. */
export const deviceOfEnvironment = (): number => chosen("FIGMENT_DEVICE", process.env.FIGMENT_DEVICE || "cpu");

/** Makes another device the current one while `work` runs, synchronously. */
export function onDevice<T>(device: number, work: () => T): T {
  const before = pinned;
  pinned = device;
  named.add(device);
  try {
    return work();
  } finally {
    pinned = before;
  }
}

/** The numbers of the devices that this thread may have used. */
export function usedDevices(): readonly number[] {
  named.add(currentDevice());
  return [...named];
}

/** The name of a device by its number. */
export const deviceName = (device: number): Device => (device === 0 ? "cpu" : `cuda:${device - 1}`);

/**
 * The number of a device by its name.
 *
 * @throws UsageError for what names no device; DeviceError, with the reason, for one that cannot be used.
 */
export function deviceNumber(op: string, device: unknown): number {
  if (device === "cpu") return 0;
  const [, index = "0"] = (typeof device === "string" && /^cuda(?::(\d{1,4}))?$/.exec(device)) || [undefined, null];
  if (index === null)
    throw new UsageError(`${op}: expected "cpu", "cuda" or a GPU such as "cuda:1", got ${show(device)}`);
  const found = Number(index) + 1;
  const gpus = native()
    .devices()
    .filter(({ kind }) => kind === "cuda");
  if (!gpus.some((gpu) => gpu.index === found))
    throw new DeviceError(`${op}: ${show(device)} cannot be used: ${why(gpus)}`);
  named.add(found);
  return found;
}

/** Why there is no such GPU, and what mends it. */
function why(gpus: readonly NativeDevice[]): string {
  const there = gpus.flatMap(({ index }) => (index === undefined ? [] : [deviceName(index)]));
  if (there.length > 0) return `this machine has ${there.join(", ")}`;
  return gpus.map(reasonOf).join("; ") || "this addon knows no GPUs";
}

/** Why a device cannot be used. */
function reasonOf(device: NativeDevice): string {
  const reason = "reason" in device ? device.reason : "";
  return reason.includes("not installed")
    ? `${reason}; CUDA=ON npm run build in a checkout of Figment builds it where there is nvcc`
    : reason;
}

/** The device that a setting names, "auto" being the first GPU where there is one. */
function chosen(op: string, device: unknown): number {
  if (device !== "auto") return deviceNumber(op, device);
  const gpu = native()
    .devices()
    .find(({ kind, index }) => kind === "cuda" && index !== undefined);
  return gpu?.index ?? 0;
}

/**
 * Sets the device of this thread: what is made from now on is made there. Operations run where their operands are. At the
 * start it is what FIGMENT_DEVICE says, or the CPU.
 *
 * @param device "auto": the first GPU, or the CPU where no GPU can be used.
 * @throws UsageError for what names no device, and inside {@link withDevice}; DeviceError, with the reason, for a device that
 *   cannot be used.
 * @example
 * setDevice("auto");
 * console.log(`computing on ${defaultDevice()}`);
 */
export function setDevice(device: Device | "auto"): void {
  const found = chosen("setDevice", device);
  if (pinned !== undefined || scoped?.getStore() !== undefined)
    throw new UsageError(
      "setDevice: withDevice, or a compiled function, has set the device of this code; set it outside",
    );
  base = found;
}

/**
 * The device that tensors are made on now.
 *
 * @example
 * ones([2]).device === defaultDevice(); // true
 */
export const defaultDevice = (): Device => deviceName(currentDevice());

/**
 * Runs `work` with another device as the one that things are made on. A function that is asynchronous keeps it to its end,
 * across awaits and in what it calls; other code that runs meanwhile does not see it.
 *
 * @throws UsageError for what names no device; DeviceError, with the reason, for a device that cannot be used.
 * @example
 * withDevice("cpu", () => ones([2]).device); // "cpu"
 */
export function withDevice<T>(device: Device, work: () => T): T {
  const found = deviceNumber("withDevice", device);
  if (typeof work !== "function") throw new UsageError(`withDevice: expected a function as work, got ${show(work)}`);
  scoped ??= new AsyncLocalStorage();
  return scoped.run(found, () => onDevice(found, work));
}

/**
 * The devices of this machine, the CPU first, with the reason where no GPU can be used.
 *
 * @example
 * for (const { device, name, reason } of availableDevices()) console.log(device, name ?? reason);
 */
export const availableDevices = (): AvailableDevice[] =>
  native()
    .devices()
    .map((found) =>
      found.index === undefined
        ? { device: "cuda", reason: reasonOf(found) }
        : { device: deviceName(found.index), name: found.name, memoryBytes: found.memoryLimit },
    );

/**
 * What a device is: its name, its instruction set, and more by its kind. Default: the device that tensors are made on now.
 *
 * @throws UsageError for what names no device; DeviceError, with the reason, for one that cannot be used.
 * @example
 * const { name, threads } = deviceInfo("cpu");
 */
export function deviceInfo(device: "cpu"): CpuDeviceInfo;
export function deviceInfo(device?: Device): CpuDeviceInfo | GpuDeviceInfo;
export function deviceInfo(device: Device = defaultDevice()): CpuDeviceInfo | GpuDeviceInfo {
  return infoOf(deviceNumber("deviceInfo", device));
}

/** What the device of a number is. */
export function infoOf(device: number): CpuDeviceInfo | GpuDeviceInfo {
  if (device === 0) return { device: "cpu", ...native().cpu() };
  const found = native()
    .devices()
    .find(({ index }) => index === device);
  if (found?.index === undefined) throw new DeviceError(`there is no device ${device}`);
  const { name, memoryLimit, isa, capability, multiprocessors } = found;
  const computeCapability = `${Math.floor(capability / 10)}.${capability % 10}`;
  return { device: deviceName(device), name, isa, cores: multiprocessors, memoryBytes: memoryLimit, computeCapability };
}
