// The machine and the software that results belong to.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { deviceInfo } from "@figment/tensor";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly isa: string;
  readonly features: readonly string[];
  readonly memoryGiB: number;
  /** Processes that wanted to run during the minute before the start, on average: what else the machine was doing. */
  readonly load: number;
  readonly system: string;
  readonly node: string;
  readonly commit: string;
  readonly date: string;
}

/** CPU model; some virtual machines hide the exact one, so family, model and stepping follow where the system has them. */
function cpuName(): string {
  const name = cpus()[0]?.model.trim() ?? "unknown";
  try {
    const info = readFileSync("/proc/cpuinfo", "utf8");
    const field = (key: string): string | undefined => new RegExp(`^${key}\\s*: (.+)$`, "m").exec(info)?.[1];
    const family = field("cpu family");
    const model = field("model");
    return family && model ? `${name} (family ${family}, model ${model})` : name;
  } catch {
    return name;
  }
}

export function describeMachine(): Machine {
  const { isa, features } = deviceInfo();
  const commit = spawnSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).stdout?.trim();
  return {
    cpu: cpuName(),
    cores: availableParallelism(),
    isa,
    features,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    load: loadavg()[0] ?? 0,
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
    commit: commit || "unknown",
    date: new Date().toISOString().slice(0, 10),
  };
}
