// The peer for training steps and for eager operations: eager PyTorch in a Python process of its own (a script of
// peers/), told by lines on its standard input how often to repeat its work, so that it races in turns with ours.

import { fileURLToPath } from "node:url";
import { Program } from "./peers/program.js";
import type { Contestant } from "./race.js";

export interface TorchPeer extends Contestant {
  readonly version: string;
  readonly parameters: number;
}

/** Starts a script of peers/; undefined when there is no Python with PyTorch. */
export async function torchPeer(name: string, file: string, config: object): Promise<TorchPeer | undefined> {
  const script = fileURLToPath(new URL(`../peers/${file}`, import.meta.url));
  const started = await Program.start("python3", [script, JSON.stringify(config)]);
  if (typeof started === "string") return undefined;
  const { program, hello } = started;
  const { version, parameters } = JSON.parse(hello) as { version: string; parameters: number };
  return {
    name,
    version,
    parameters,
    async run(repeats) {
      const done = await program.ask(String(repeats));
      if (done !== "done") throw new Error(`${name}: ${done}`);
    },
    dispose: () => program.dispose(),
  };
}
