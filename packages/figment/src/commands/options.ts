// What options of several commands have in common.

import { extname } from "node:path";
import { defaultDevice, deviceInfo, setDevice, UsageError } from "@figment/tensor";
import { type Override, readOverride } from "../recipe/config.js";

/** The number that a text is; NaN where it is none, and where a variable of the shell was empty, which is no 0. */
const numberOf = (text: string): number => (text.trim() === "" ? Number.NaN : Number(text));

/** Reads an option that must be an integer of at least `lowest`, and no more than `highest`. */
export function integerOption(
  name: string,
  lowest: number,
  highest = Number.MAX_SAFE_INTEGER,
): (text: string) => number {
  return (text) => {
    const value = numberOf(text);
    if (!Number.isSafeInteger(value) || value < lowest || value > highest) {
      const range = highest < Number.MAX_SAFE_INTEGER ? `from ${lowest} to ${highest}` : `of at least ${lowest}`;
      throw new UsageError(`--${name}: expected an integer ${range}, got ${JSON.stringify(text)}`);
    }
    return value;
  };
}

/** Reads an option that names a file or folder. A variable of the shell that is not set leaves it empty. */
export const pathOption =
  (name: string, endings: readonly string[] = []): ((text: string) => string) =>
  (text) => {
    if (text === "") throw new UsageError(`--${name}: expected a name, got ""`);
    if (endings.length > 0 && !endings.includes(extname(text).toLowerCase()))
      throw new UsageError(`--${name}: the name must end in one of ${endings.join(" ")}, got ${JSON.stringify(text)}`);
    return text;
  };

/** The option that says where to compute. */
export const deviceFlag = [
  "--device <device>",
  "where to compute: cpu, cuda, a GPU such as cuda:1, or auto, a GPU where one can be used (default: FIGMENT_DEVICE, else auto)",
] as const;

/** The option that says how many threads compute on the CPU. */
export const threadsFlag = [
  "--threads <n>",
  "worker threads, up to 256 (default: one per core)",
  integerOption("threads", 1, 256),
] as const;

/** Sets the device of the process by a command's option, and says which it is. */
export function useDevice(device: string | undefined): void {
  const wanted = device ?? (process.env.FIGMENT_DEVICE || "auto");
  if (!/^(auto|cpu|cuda(:\d+)?)$/.test(wanted))
    throw new UsageError(
      `${device === undefined ? "FIGMENT_DEVICE" : "--device"}: expected cpu, cuda, a GPU such as cuda:1, or auto, got ${JSON.stringify(wanted)}`,
    );
  setDevice(wanted as Parameters<typeof setDevice>[0]);
  console.error(`Computing on ${describeDevice()}.`);
}

/** The device that things are made on, for people. */
const describeDevice = (): string => `${defaultDevice()} (${deviceInfo().name})`;

/** Gathers `--set name=value`, which may be given several times. */
export const setOption = (text: string, before: readonly Override[] = []): Override[] => [
  ...before,
  readOverride(text),
];

/** Reads a list of classes: "3" or "0,1,2". */
export function labelsOption(text: string): number[] {
  const labels = text.split(",").map(numberOf);
  if (labels.some((label) => !Number.isSafeInteger(label) || label < 0))
    throw new UsageError(`--label: expected classes such as 3 or 0,1,2, got ${JSON.stringify(text)}`);
  return labels;
}
