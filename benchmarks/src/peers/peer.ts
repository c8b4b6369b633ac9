// What a peer is: another library that does the same work. Each is looked for on its own; one that is missing is said and
// left out.

import type { KernelCase } from "../case.js";
import type { Contestant } from "../race.js";

export interface Peer {
  /** As tables and results name it. */
  readonly name: string;
  readonly version: string;
  /** The peer's form of a case on so many threads; null where it has none. */
  contestant(work: KernelCase, threads: number): Promise<Contestant | null>;
  dispose(): void;
}

/** A peer that is not there, and why. */
export interface Missing {
  readonly name: string;
  readonly reason: string;
}

export const isMissing = (found: Peer | Missing): found is Missing => "reason" in found;
