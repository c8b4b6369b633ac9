// The suite of models: the training step of the main job against eager PyTorch on the same model, its sampler, and how
// responsive JavaScript stays meanwhile.

import { ddim } from "@figment/diffusion";
import { type Ceilings, fmaCeiling, setThreads, settled } from "@figment/tensor";
import { createJob, type Job, jobConfig } from "./job.js";
import { type Contestant, race } from "./race.js";
import { type Latency, latencyTable, measureFirstCalls, measureResponsiveness } from "./responsiveness.js";
import { formatPercent, formatRatio, formatSeconds, formatTable } from "./table.js";
import { type TorchPeer, torchPeer } from "./torch.js";

export interface StepResult {
  readonly name: string;
  readonly threads: number;
  readonly seconds: number;
  readonly best: number;
  readonly imagesPerSecond: number;
  readonly gflops: number;
  readonly ofCeiling: number;
  readonly torchVersion?: string;
  /** The faster of channels-first and channels-last. */
  readonly torchSeconds?: number;
  readonly torchRatio?: number;
}

export interface ModelResults {
  readonly config: typeof jobConfig;
  readonly parameters: number;
  readonly steps: readonly StepResult[];
  readonly responsiveness: readonly Latency[];
}

export interface ModelOptions {
  readonly ceilings: readonly Ceilings[];
  readonly peers: boolean;
  readonly quick: boolean;
}

const samplerSteps = 50;

function ours({ step, batch }: Job): Contestant {
  return {
    name: "figment",
    async run(repeats) {
      for (let i = 0; i < repeats; i++) step(batch);
      await settled();
    },
    dispose() {},
  };
}

async function torchPeers(threads: number, parameters: number): Promise<TorchPeer[]> {
  const peers: TorchPeer[] = [];
  for (const channelsLast of [false, true]) {
    const name = channelsLast ? "torch channels-last" : "torch";
    const peer = await torchPeer(name, "torch_train_step.py", { ...jobConfig, threads, channelsLast });
    if (!peer) continue;
    peers.push(peer);
    if (peer.parameters !== parameters) {
      for (const { dispose } of peers) dispose();
      throw new Error(`the peer's model has ${peer.parameters} parameters, ours ${parameters}`);
    }
  }
  return peers;
}

async function measureStep(job: Job, ceilings: Ceilings, { peers, quick }: ModelOptions): Promise<StepResult> {
  const { threads } = ceilings;
  setThreads(threads);
  const rivals = peers ? await torchPeers(threads, job.parameters) : [];
  try {
    const [own, ...others] = await race([ours(job), ...rivals], { budget: quick ? 3 : 20 });
    const { seconds, best } = own!;
    const fastest = others.toSorted((a, b) => a.seconds - b.seconds)[0];
    const gflops = job.flops / seconds / 1e9;
    return {
      name: `DDPM training step, batch ${jobConfig.batch}`,
      threads,
      seconds,
      best,
      imagesPerSecond: jobConfig.batch / seconds,
      gflops,
      ofCeiling: gflops / fmaCeiling(ceilings),
      torchVersion: rivals[0]?.version,
      torchSeconds: fastest?.seconds,
      torchRatio: fastest?.ratio,
    };
  } finally {
    for (const { dispose } of rivals) dispose();
  }
}

/** Runs the suite; `progress` is called with the name of each part as it starts. */
export async function runModels(options: ModelOptions, progress: (name: string) => void): Promise<ModelResults> {
  const job = createJob();
  try {
    progress("compiling");
    const firstCalls = await measureFirstCalls(job, ddim({ steps: 1 }));
    const steps: StepResult[] = [];
    for (const ceilings of options.ceilings) {
      progress(`training step, ${ceilings.threads} threads`);
      steps.push(await measureStep(job, ceilings, options));
    }
    progress("responsiveness");
    const sampler = ddim({ steps: options.quick ? 5 : samplerSteps });
    const running = await measureResponsiveness(job, sampler, options.quick);
    return { config: jobConfig, parameters: job.parameters, steps, responsiveness: [...firstCalls, ...running] };
  } finally {
    job.dispose();
  }
}

export function modelTable({ steps, responsiveness }: ModelResults): string {
  const version = steps[0]?.torchVersion;
  const table = formatTable(
    ["model", "threads", "time", "images/s", "rate", "of ceiling", version ? `torch ${version}` : "torch", "speed-up"],
    steps.map((step) => [
      step.name,
      String(step.threads),
      formatSeconds(step.seconds),
      step.imagesPerSecond.toFixed(0),
      `${step.gflops.toFixed(0)} GFLOP/s`,
      formatPercent(step.ofCeiling),
      step.torchSeconds ? formatSeconds(step.torchSeconds) : "–",
      step.torchRatio ? formatRatio(step.torchRatio) : "–",
    ]),
  );
  return `${table}\n\n${latencyTable(responsiveness)}`;
}
