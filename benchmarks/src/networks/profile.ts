// node benchmarks/dist/networks/profile.js NETWORK: where the time of one of the networks' calls goes, record by record: the
// table of `profile()`, and the sums by operation and kernel before it.

import { type Device, type Profile, setDevice } from "@figment/tensor";
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { formatPercent, formatTable } from "../table.js";
import { type Network, networks } from "./configs.js";
import { type Arithmetic, build } from "./ours.js";

const runs = 5;
const formats: readonly Arithmetic[] = ["f32", "bf16", "f16", "tf32"];

function sums({ records, micros }: Profile): string {
  const groups = new Map<string, { micros: number; flops: number; bytes: number; count: number }>();
  for (const record of records) {
    const key = `${record.op} ${record.variant}`;
    const group = groups.get(key) ?? { micros: 0, flops: 0, bytes: 0, count: 0 };
    group.micros += record.micros;
    group.flops += record.flops;
    group.bytes += record.bytes;
    group.count++;
    groups.set(key, group);
  }
  const rows = [...groups]
    .toSorted(([, a], [, b]) => b.micros - a.micros)
    .map(([name, group]) => [
      name,
      String(group.count),
      (group.micros / 1e3).toFixed(2),
      formatPercent(group.micros / micros),
      (group.flops / group.micros / 1e6).toFixed(2),
      (group.bytes / group.micros / 1e3).toFixed(0),
    ]);
  return formatTable(["kernel", "records", "ms", "share", "TFLOP/s", "GB/s"], rows);
}

interface Options {
  readonly format: Arithmetic;
  readonly batch?: number;
  readonly device: Device;
}

function parseBatch(text: string): number {
  const batch = Number(text);
  if (!Number.isInteger(batch) || batch < 1) throw new InvalidArgumentError("expected a whole number of at least 1");
  return batch;
}

/** The networks by their kind; the second of a kind as dcgan-2. */
const named = new Map<string, Network>();
for (const network of networks) {
  const before = networks.slice(0, networks.indexOf(network)).filter(({ kind }) => kind === network.kind).length;
  named.set(before === 0 ? network.kind : `${network.kind}-${before + 1}`, network);
}

const command = new Command("profile.js")
  .description("Shows where the time of one of the networks' calls goes, record by record")
  .addArgument(new Argument("<network>", "which").choices([...named.keys()]))
  .addOption(new Option("--format <format>", "of factors").choices(formats).default("bf16"))
  .option("--batch <count>", "images or latents of a call (default: the suite's on a CPU)", parseBatch)
  .addOption(new Option("--device <device>", "where it runs").choices(["cpu", "cuda"]).default("cpu"))
  .parse();
const { format, batch, device } = command.opts<Options>();
const network = named.get(command.args[0] as string) as Network;
try {
  setDevice(device);
} catch (error) {
  command.error(`error: ${error instanceof Error ? error.message : String(error)}`);
}
const config = { ...network.config, ...(batch && { batch }) };
const built = build(network.kind, config as never, format);
await built.run(3);
const start = performance.now();
await built.run(runs);
const step = (performance.now() - start) / runs;
const profile = await built.profile(runs);
const name = network.name.replace(/batch \d+/, `batch ${config.batch}`);
console.log(`${name}: ${step.toFixed(2)} ms a call, ${(profile.micros / 1e3).toFixed(2)} ms timed by records\n`);
console.log(sums(profile));
console.log(`\n${profile}`);
