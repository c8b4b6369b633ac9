// The peers of kernels, as they are found on this machine.

import { findOneDnn } from "./onednn.js";
import { findOrt } from "./ort.js";
import { isMissing, type Missing, type Peer } from "./peer.js";
import { findTfjs } from "./tfjs.js";
import { findTorch } from "./torch.js";

export type { Missing, Peer } from "./peer.js";

const finders = { onnxruntime: findOrt, "tfjs-wasm": findTfjs, torch: () => findTorch(), onednn: findOneDnn } as const;

/** Names that `--peers` takes beside all and none. */
export const peerNames = Object.keys(finders) as readonly (keyof typeof finders)[];
export type PeerName = keyof typeof finders;

export interface FoundPeers {
  readonly peers: readonly Peer[];
  readonly missing: readonly Missing[];
}

/** Looks for the peers of these names. */
export async function findPeers(names: readonly PeerName[]): Promise<FoundPeers> {
  const found: (Peer | Missing)[] = [];
  for (const name of names) found.push(...(await finders[name]()));
  return {
    peers: found.filter((one): one is Peer => !isMissing(one)),
    missing: found.filter(isMissing),
  };
}
