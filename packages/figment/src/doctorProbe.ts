// What the addon says about itself and this machine, as one line of JSON. Run as a process of its own, because an addon that
// cannot run here may end the process: node doctorProbe.js [--measure] [--timeline=FILE, what FIGMENT_PROFILE is set to]

import {
  type BuildInfo,
  bindingPath,
  type Ceilings,
  type CpuInfo,
  type DeviceInfo,
  loadBinding,
} from "@figment/native";
import { environmentProblems } from "@figment/tensor";

/** What the process prints when the addon could be opened. */
export interface ProbeReport {
  /** Where the addon was opened from. */
  readonly addon: string;
  readonly build: BuildInfo;
  readonly cpu: CpuInfo;
  readonly devices: readonly DeviceInfo[];
  /** Kernels of each instruction set that the addon was built with. */
  readonly kernels: Readonly<Record<string, number>>;
  /** What is wrong with variables of the environment that the addon can be loaded with. */
  readonly problems: readonly string[];
  /** With `--measure`: what this machine reaches. */
  readonly ceilings?: Ceilings;
}

const timelineOption = "--timeline=";

async function probe(): Promise<ProbeReport> {
  const binding = loadBinding();
  const kernels: Record<string, number> = {};
  for (const op of binding.ops()) {
    for (const { isa } of binding.builtVariants(op)) kernels[isa] = (kernels[isa] ?? 0) + 1;
  }
  const cpu = binding.cpu();
  const timeline = process.argv.find((argument) => argument.startsWith(timelineOption));
  if (timeline) process.env.FIGMENT_PROFILE = timeline.slice(timelineOption.length);
  const about = {
    addon: bindingPath() as string,
    build: binding.build(),
    cpu,
    devices: binding.devices(),
    kernels,
    problems: environmentProblems(),
  };
  return process.argv.includes("--measure")
    ? { ...about, ceilings: await binding.measureCeilings(cpu.threads) }
    : about;
}

try {
  console.log(JSON.stringify(await probe()));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
