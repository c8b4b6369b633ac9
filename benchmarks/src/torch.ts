// The peer for training steps and for eager operations: eager PyTorch in a Python process of its own (a script of
// peers/), told by lines on its standard input how often to repeat its work, so that it races in turns with ours.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Contestant } from "./race.js";

export interface TorchPeer extends Contestant {
  readonly version: string;
  readonly parameters: number;
}

/** Starts a script of peers/; undefined when there is no Python with PyTorch. */
export async function torchPeer(name: string, file: string, config: object): Promise<TorchPeer | undefined> {
  const script = fileURLToPath(new URL(`../peers/${file}`, import.meta.url));
  const child: ChildProcess = spawn("python3", [script, JSON.stringify(config)], { stdio: ["pipe", "pipe", "ignore"] });
  child.on("error", () => {});
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string | undefined> => (await lines.next()).value;
  const ready = await nextLine();
  if (ready === undefined) return undefined;
  const { version, parameters } = JSON.parse(ready) as { version: string; parameters: number };
  return {
    name,
    version,
    parameters,
    async run(repeats) {
      child.stdin!.write(`${repeats}\n`);
      if ((await nextLine()) !== "done") throw new Error(`${name}: ${script} ended early`);
    },
    dispose() {
      child.kill();
    },
  };
}
