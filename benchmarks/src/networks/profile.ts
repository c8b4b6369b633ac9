// node benchmarks/dist/networks/profile.js KIND [FORMAT] [BATCH] [cuda]: where the time of one of the networks' calls goes,
// record by record: the table of `profile()`, and the sums by operation and kernel before it.

import { type Profile, setDevice } from "@figment/tensor";
import { formatPercent, formatTable } from "../table.js";
import { type Kind, networks } from "./configs.js";
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

const [kind = "", format = "bf16", batch, device] = process.argv.slice(2);
const network = networks.find((candidate) => candidate.kind === kind);
if (!network || !formats.includes(format as Arithmetic)) {
  console.error(
    `Usage: profile.js KIND [FORMAT] [BATCH] [cuda], KIND one of ${[...new Set(networks.map(({ kind }) => kind))].join(", ")}, FORMAT one of ${formats.join(", ")}`,
  );
  process.exit(1);
}
if (device === "cuda") setDevice(device);
const config = { ...network.config, ...(batch && { batch: Number(batch) }) };
const built = build(kind as Kind, config as never, format as Arithmetic);
await built.run(3);
const start = performance.now();
await built.run(runs);
const step = (performance.now() - start) / runs;
const profile = await built.profile(runs);
console.log(
  `${network.name}: ${step.toFixed(2)} ms a call, ${(profile.micros / 1e3).toFixed(2)} ms timed by records\n`,
);
console.log(sums(profile));
console.log(`\n${profile}`);
