// The suite of a GPU: kernels and whole networks on the device, beside PyTorch on the same device in one interleaved run, held
// against what memory and products reach there in that run. Ceilings are the best that any contestant reached.

import { fileURLToPath } from "node:url";
import { deviceInfo, setDevice } from "@figment/tensor";
import type { KernelCase } from "./case.js";
import { ceilingCopy, ceilingMatmul, gpuCases } from "./cases/gpu.js";
import type { PeerResult } from "./kernels.js";
import { type Configs, type Kind, type Network, networks, smallConfigs } from "./networks/configs.js";
import type { Missing, Peer } from "./peers/index.js";
import { isMissing } from "./peers/peer.js";
import { Program } from "./peers/program.js";
import { findTorch } from "./peers/torch.js";
import { type Contestant, race } from "./race.js";
import { selectNamed } from "./select.js";
import { formatPercent, formatRatio, formatSeconds, formatTable } from "./table.js";
import { type Format, formats } from "./work.js";

export interface GpuResult {
  readonly name: string;
  readonly format: Format;
  readonly seconds: number;
  readonly best: number;
  readonly tflops?: number;
  readonly gbps?: number;
  /** Of the best rate of products, or of copying, in this run. */
  readonly ofCeiling?: number;
  readonly peers: Readonly<Record<string, PeerResult>>;
}

export interface GpuNetworkResult {
  readonly name: string;
  readonly format: Format;
  readonly config: Configs[Kind];
  readonly seconds: number;
  readonly best: number;
  readonly tflops: number;
  readonly peakBytes: number;
  readonly peers: Readonly<Record<string, PeerResult & { readonly peakBytes: number }>>;
}

export interface GpuResults {
  readonly device: string;
  readonly torch?: string;
  readonly missing: readonly string[];
  readonly ceilings: { readonly tflops?: number; readonly gbps?: number };
  readonly kernels: readonly GpuResult[];
  readonly networks: readonly GpuNetworkResult[];
}

export interface GpuOptions {
  readonly filter: string;
  readonly quick: boolean;
  /** Tiny networks: to see that everything runs. */
  readonly small: boolean;
  /** Whether torch.compile takes part. */
  readonly compile: boolean;
}

const kernelBudget = 0.25;
const networkBudget = 4;
const quickRounds = 2;
const ourProgram = fileURLToPath(new URL("./networks/program.js", import.meta.url));
const torchProgram = fileURLToPath(new URL("../peers/torch_networks.py", import.meta.url));

interface Ceilings {
  tflops?: number;
  gbps?: number;
}

async function measure(
  work: KernelCase,
  peers: readonly Peer[],
  ceilings: Ceilings,
  quick: boolean,
): Promise<GpuResult> {
  const { name, bytes, flops, bound, format = "f32" } = work;
  const contestants: Contestant[] = [work.ours()];
  try {
    for (const peer of peers) {
      const rival = await peer.contestant(work, 1);
      if (rival) contestants.push(rival);
    }
    const timings = await race(
      contestants,
      quick ? { budget: 0, rounds: quickRounds } : { budget: kernelBudget, rounds: 7 },
    );
    const [own, ...others] = timings;
    const { seconds, best } = own!;
    const fastest = Math.min(...timings.map((timing) => timing.seconds));
    if (work === ceilingCopy || name === ceilingCopy.name) ceilings.gbps = bytes / fastest / 1e9;
    if (name === ceilingMatmul.name) ceilings.tflops = (flops ?? 0) / fastest / 1e12;
    const tflops = bound === "fma" && flops ? flops / seconds / 1e12 : undefined;
    const gbps = bound === "copy" ? bytes / seconds / 1e9 : undefined;
    const share =
      tflops && ceilings.tflops ? tflops / ceilings.tflops : gbps && ceilings.gbps ? gbps / ceilings.gbps : undefined;
    return {
      name,
      format,
      seconds,
      best,
      ...(tflops === undefined ? {} : { tflops }),
      ...(gbps === undefined ? {} : { gbps }),
      ...(share === undefined ? {} : { ofCeiling: share }),
      peers: Object.fromEntries(others.map(({ name, seconds, best, ratio }) => [name, { seconds, best, ratio }])),
    };
  } finally {
    for (const contestant of contestants) await contestant.dispose();
  }
}

/** Batches that fill a GPU. */
const largerConfigs: { readonly [K in Kind]: Partial<Configs[K]> } = {
  vae: { batch: 128 },
  dcgan: { batch: 64 },
  ddpm: { batch: 128 },
  stable: { batch: 16 },
};

async function measureNetwork(
  network: Network,
  format: Format,
  { quick, small, compile }: GpuOptions,
  missing: Set<string>,
): Promise<GpuNetworkResult> {
  const { kind } = network;
  const config = small ? smallConfigs[kind] : { ...network.config, ...largerConfigs[kind] };
  const name = network.name.replace(/batch \d+/, `batch ${config.batch}`);
  const record = { kind, format, threads: 1, config: JSON.stringify(config), layout: "last" };
  const rivals: { program: Program; contestant: Contestant }[] = [];
  const enter = async (label: string, command: string, args: readonly string[]): Promise<void> => {
    const started = await Program.start(command, args);
    if (typeof started === "string") return void missing.add(`${label}: ${started}`);
    try {
      const contestant = await started.program.contestant(label, record);
      if (contestant) rivals.push({ program: started.program, contestant });
    } catch (error) {
      started.program.dispose();
      missing.add(`${label}, ${name}, ${format}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  try {
    await enter("figment", process.execPath, [...process.execArgv, ourProgram, "cuda"]);
    await enter("torch", "python3", [torchProgram, "cuda"]);
    if (compile) await enter("torch.compile", "python3", [torchProgram, "cuda", "compiled"]);
    if (rivals[0]?.contestant.name !== "figment")
      throw new Error(`${name}: our own process failed: ${[...missing].at(-1)}`);
    const [own, ...others] = await race(
      rivals.map(({ contestant }) => contestant),
      quick ? { budget: 0, rounds: quickRounds } : { budget: networkBudget },
    );
    const measured = await Promise.all(
      rivals.map(
        async ({ program }) => (await program.ask("measure")).split(" ").map(Number) as [number, number, number],
      ),
    );
    const [, flops, peakBytes] = measured[0]!;
    return {
      name,
      format,
      config,
      seconds: own!.seconds,
      best: own!.best,
      tflops: flops / own!.seconds / 1e12,
      peakBytes,
      peers: Object.fromEntries(
        others.map(({ name, seconds, best, ratio }, i) => [
          name,
          { seconds, best, ratio, peakBytes: measured[i + 1]![2] },
        ]),
      ),
    };
  } finally {
    for (const { program } of rivals) program.dispose();
  }
}

/**
 * Runs the suite; `note` is called with a line of each result as it comes and with all results so far, so that an interrupted
 * run leaves something.
 */
export async function runGpu(
  options: GpuOptions,
  note: (line: string, results: GpuResults) => void | Promise<void>,
): Promise<GpuResults> {
  setDevice("cuda");
  const found: readonly (Peer | Missing)[] = await findTorch("cuda");
  const peers = found.filter((one): one is Peer => !isMissing(one) && one.name !== "torch");
  const missing = new Set(found.filter(isMissing).map(({ name, reason }) => `${name}: ${reason}`));
  const plain = found.filter((one): one is Peer => !isMissing(one) && one.name === "torch");
  const ceilings: Ceilings = {};
  const kernels: GpuResult[] = [];
  const known: GpuNetworkResult[] = [];
  const results = (): GpuResults => ({
    device: deviceInfo().name,
    ...(plain[0] ? { torch: plain[0].version } : {}),
    missing: [...missing],
    ceilings,
    kernels,
    networks: known,
  });
  try {
    for (const work of selectNamed(gpuCases, options.filter)) {
      // Images race channels-last, as cuDNN is fastest in; all else has one layout.
      const image = work.work?.kind === "conv" || work.work?.kind === "groupNorm";
      try {
        const result = await measure(work, image ? peers : plain, ceilings, options.quick);
        kernels.push(result);
        await note(kernelRow(result).join("  "), results());
      } catch (error) {
        missing.add(`${work.name}: ${error instanceof Error ? error.message : String(error)}`);
        await note(`${work.name}: ${error instanceof Error ? error.message : String(error)}`, results());
      }
    }
  } finally {
    for (const one of [...peers, ...plain]) one.dispose();
  }
  for (const network of selectNamed(networks, options.filter))
    for (const format of formats) {
      try {
        const result = await measureNetwork(network, format, options, missing);
        known.push(result);
        await note(networkRow(result).join("  "), results());
      } catch (error) {
        missing.add(`${network.name}, ${format}: ${error instanceof Error ? error.message : String(error)}`);
        await note(`${network.name}, ${format}: ${error instanceof Error ? error.message : String(error)}`, results());
      }
    }
  return results();
}

const peersOf = (peers: Readonly<Record<string, PeerResult>>): string =>
  Object.entries(peers)
    .map(([name, { seconds, ratio }]) => `${name} ${formatSeconds(seconds)} ${formatRatio(ratio)}`)
    .join(", ");

const kernelRow = ({ name, seconds, tflops, gbps, ofCeiling, peers }: GpuResult): string[] => [
  name,
  formatSeconds(seconds),
  tflops ? `${tflops.toFixed(1)} TFLOP/s` : gbps ? `${gbps.toFixed(0)} GB/s` : "",
  ofCeiling ? formatPercent(ofCeiling) : "",
  peersOf(peers),
];

const networkRow = ({ name, format, seconds, tflops, peakBytes, peers }: GpuNetworkResult): string[] => [
  `${name}, ${format}`,
  formatSeconds(seconds),
  `${tflops.toFixed(1)} TFLOP/s`,
  `${(peakBytes / 2 ** 30).toFixed(2)} GiB`,
  peersOf(peers),
];

export const gpuTable = ({ kernels, networks, missing }: GpuResults): string =>
  [
    formatTable(["kernel", "time", "rate", "of ceiling", "peers (× ours)"], kernels.map(kernelRow)),
    formatTable(["network", "time", "rate", "peak", "peers (× ours)"], networks.map(networkRow)),
    ...missing.map((reason) => `No comparison: ${reason}`),
  ].join("\n\n");
