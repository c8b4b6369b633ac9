// The networks of the models' suite against eager PyTorch on the same architectures, interleaved, each in a process of its own.

import { fileURLToPath } from "node:url";
import { type Ceilings, fmaCeiling } from "@figment/tensor";
import type { PeerResult } from "../kernels.js";
import { torchFormat } from "../peers/format.js";
import { Program } from "../peers/program.js";
import { type Contestant, race } from "../race.js";
import { selectNamed } from "../select.js";
import { formatPercent, formatRatio, formatSeconds, formatTable } from "../table.js";
import { type Format, formats } from "../work.js";
import { type Configs, type Kind, type Network, networks, smallConfigs } from "./configs.js";

export interface NetworkPeerResult extends PeerResult {
  /** Largest resident memory of its process while it ran. */
  readonly peakBytes: number;
}

export interface NetworkResult {
  readonly name: string;
  readonly format: Format;
  readonly threads: number;
  readonly config: Configs[Kind];
  readonly parameters: number;
  readonly seconds: number;
  readonly best: number;
  readonly peakBytes: number;
  readonly gflops: number;
  /** Of the f32 multiply-add rate. */
  readonly ofCeiling: number;
  readonly peers: Readonly<Record<string, NetworkPeerResult>>;
}

export interface NetworkOptions {
  readonly ceilings: readonly Ceilings[];
  readonly peers: boolean;
  readonly filter: string;
  readonly quick: boolean;
  /** The same networks, tiny: to see that everything runs. */
  readonly small: boolean;
}

const ourProgram = fileURLToPath(new URL("./program.js", import.meta.url));
const torchProgram = fileURLToPath(new URL("../../peers/torch_networks.py", import.meta.url));
// Seconds for each network, format and number of threads.
const fullBudget = 20;
const quickRounds = 2;

interface Rival {
  readonly program: Program;
  readonly contestant: Contestant;
}

/** Starts a process and prepares the network there; a string says why there is none. */
async function rival(
  name: string,
  [command, ...args]: readonly [string, ...string[]],
  record: Readonly<Record<string, string | number>>,
): Promise<Rival | string> {
  const started = await Program.start(command, args);
  if (typeof started === "string") return started;
  const { program } = started;
  const contestant = await program.contestant(name, record);
  if (contestant) return { program, contestant };
  program.dispose();
  return `${name}: unsupported`;
}

async function measurements({ program }: Rival): Promise<{ parameters: number; flops: number; peakBytes: number }> {
  const [parameters, flops, peakBytes] = (await program.ask("measure")).split(" ").map(Number);
  return { parameters: parameters!, flops: flops!, peakBytes: peakBytes! };
}

async function measure(
  network: Network,
  format: Format,
  ceilings: Ceilings,
  { peers, quick, small }: NetworkOptions,
  missing: Set<string>,
): Promise<NetworkResult> {
  const { threads } = ceilings;
  const { name, kind } = network;
  const config = small ? smallConfigs[kind] : network.config;
  const record = { kind, format, threads, config: JSON.stringify(config) };
  const rivals: Rival[] = [];
  const enter = async (
    label: string,
    command: readonly [string, ...string[]],
    settings: { layout: string; format?: Format },
  ): Promise<void> => {
    const found = await rival(label, command, { ...record, ...settings });
    if (typeof found === "string") missing.add(found);
    else rivals.push(found);
  };
  try {
    await enter("figment", [process.execPath, ...process.execArgv, ourProgram], { layout: "last" });
    if (rivals.length === 0) throw new Error(`${name}: our own process failed: ${[...missing].at(-1)}`);
    if (peers) {
      const given = { format: torchFormat(format) };
      const torch = ["python3", torchProgram] as const;
      if (kind !== "vae") await enter("torch channels-last", torch, { layout: "last", ...given });
      if (kind !== "stable") await enter("torch", torch, { layout: "first", ...given });
    }
    const [own, ...others] = await race(
      rivals.map(({ contestant }) => contestant),
      quick ? { budget: 0, rounds: quickRounds } : { budget: fullBudget },
    );
    const measured = await Promise.all(rivals.map(measurements));
    const [ours, ...theirs] = measured;
    const wrong = theirs.find(({ parameters }) => parameters !== ours!.parameters);
    if (wrong) throw new Error(`${name}: the peer has ${wrong.parameters} parameters, ours ${ours!.parameters}`);
    const gflops = ours!.flops / own!.seconds / 1e9;
    return {
      name,
      format,
      threads,
      config,
      parameters: ours!.parameters,
      seconds: own!.seconds,
      best: own!.best,
      peakBytes: ours!.peakBytes,
      gflops,
      ofCeiling: gflops / fmaCeiling(ceilings),
      peers: Object.fromEntries(
        others.map(({ name, seconds, best, ratio }, i) => [
          name,
          { seconds, best, ratio, peakBytes: theirs[i]!.peakBytes },
        ]),
      ),
    };
  } finally {
    for (const { program } of rivals) program.dispose();
  }
}

export interface NetworkResults {
  readonly results: readonly NetworkResult[];
  /** Why peers took no part. */
  readonly missing: readonly string[];
}

/** Runs the suite; `progress` is called with the name of each part as it starts. */
export async function runNetworks(options: NetworkOptions, progress: (name: string) => void): Promise<NetworkResults> {
  const results: NetworkResult[] = [];
  const missing = new Set<string>();
  for (const network of selectNamed(networks, options.filter))
    for (const format of formats)
      for (const ceilings of options.ceilings) {
        progress(`${network.name}, ${format}, ${ceilings.threads} threads`);
        results.push(await measure(network, format, ceilings, options, missing));
      }
  return { results, missing: [...missing] };
}

const mebibytes = (bytes: number): string => (bytes > 0 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : "–");

export function networkTable({ results, missing }: NetworkResults): string {
  const names = [...new Set(results.flatMap(({ peers }) => Object.keys(peers)))];
  const table = formatTable(
    [
      "model",
      "format",
      "threads",
      "time",
      "rate",
      "of f32 ceiling",
      "peak",
      ...names.flatMap((name) => [name, "peak"]),
    ],
    results.map(({ name, format, threads, seconds, gflops, ofCeiling, peakBytes, peers }) => [
      name,
      format,
      String(threads),
      formatSeconds(seconds),
      `${gflops.toFixed(0)} GFLOP/s`,
      formatPercent(ofCeiling),
      mebibytes(peakBytes),
      ...names.flatMap((name) => {
        const peer = peers[name];
        return peer
          ? [`${formatSeconds(peer.seconds)} ${formatRatio(peer.ratio)}`, mebibytes(peer.peakBytes)]
          : ["–", "–"];
      }),
    ]),
  );
  return [table, ...missing.map((reason) => `No comparison: ${reason}`)].join("\n");
}
