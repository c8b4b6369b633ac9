// The largest resident memory of this process since a moment, where Linux tells it.

import { readFileSync, writeFileSync } from "node:fs";

/** Begins anew. */
export function resetPeak(): void {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // Not Linux: there is no peak to read either.
  }
}

/** Bytes; 0 where the system does not tell. */
export function peakBytes(): number {
  try {
    const [, kibibytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
    return kibibytes === undefined ? 0 : Number(kibibytes) * 1024;
  } catch {
    return 0;
  }
}
