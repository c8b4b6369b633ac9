// One of our networks in a process of its own, so that its memory is its own: told by lines what the peers' programs are told
// (peers/program.ts), and `measure`, which is answered by parameters, FLOPs and the peak of memory.

import { createInterface } from "node:readline";
import { deviceInfo, memory, setDevice, setThreads, settled } from "@figment/tensor";
import type { Format } from "../work.js";
import type { Configs, Kind } from "./configs.js";
import { peakBytes, resetPeak } from "./memory.js";
import { type Built, build } from "./ours.js";

const onGpu = process.argv.includes("cuda");
if (onGpu) setDevice("cuda");

let built: Built | undefined;

async function answer(line: string): Promise<string | undefined> {
  const [command, ...rest] = line.split(" ");
  if (command === "prepare") {
    const record = Object.fromEntries(
      rest.map((item) => [item.slice(0, item.indexOf("=")), item.slice(item.indexOf("=") + 1)]),
    );
    setThreads(Number(record.threads));
    const kind = record.kind as Kind;
    built = build(kind, JSON.parse(record.config as string) as Configs[typeof kind], record.format as Format);
    await settled(); // the call that was traced has run
    resetPeak();
    return "ready 0";
  }
  if (command === "run") {
    await built?.run(Number(rest[1]));
    return "done";
  }
  if (command === "measure") return `${built?.parameters} ${built?.flops} ${onGpu ? memory().peak : peakBytes()}`;
  return undefined;
}

console.log(deviceInfo("cpu").isa);
for await (const line of createInterface({ input: process.stdin })) {
  const text = await answer(line);
  if (text !== undefined) console.log(text);
}
