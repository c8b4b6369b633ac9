// The machine and the software that results belong to.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { deviceInfo } from "@figment/tensor";

export type Caches = Readonly<Partial<Record<"L1d" | "L2" | "L3", number>>>;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly isa: string;
  readonly features: readonly string[];
  readonly memoryGiB: number;
  /** Bytes of one core's L1d and L2 and of the L3 that it shares; empty where the system does not tell. */
  readonly caches: Caches;
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

/** Sizes of the caches of the first core, from Linux. */
function cacheSizes(): Caches {
  const sizes: Partial<Record<"L1d" | "L2" | "L3", number>> = {};
  const folder = "/sys/devices/system/cpu/cpu0/cache";
  try {
    for (const index of readdirSync(folder).filter((name) => name.startsWith("index"))) {
      const field = (name: string): string => readFileSync(`${folder}/${index}/${name}`, "utf8").trim();
      if (field("type") === "Instruction") continue;
      const level = field("level") === "1" ? "L1d" : (`L${field("level")}` as "L2" | "L3");
      const [, count, unit] = /^(\d+)([KM]?)$/.exec(field("size")) ?? [];
      sizes[level] = Number(count) * { "": 1, K: 2 ** 10, M: 2 ** 20 }[unit as "" | "K" | "M"];
    }
  } catch {
    // Another system, or one that hides them.
  }
  return sizes;
}

/** The smallest cache that holds so many bytes when so many cores share them out, or "memory". */
export function homeOf(bytes: number, caches: Caches, threads: number): string {
  const { L1d = 0, L2 = 0, L3 = 0 } = caches;
  if (bytes <= L1d * threads) return "L1";
  if (bytes <= L2 * threads) return "L2";
  return bytes <= L3 ? "L3" : "memory";
}

export function describeMachine(): Machine {
  const { isa, features } = deviceInfo("cpu");
  const commit = spawnSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).stdout?.trim();
  return {
    cpu: cpuName(),
    cores: availableParallelism(),
    isa,
    features,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    caches: cacheSizes(),
    load: loadavg()[0] ?? 0,
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
    commit: commit || "unknown",
    date: new Date().toISOString().slice(0, 10),
  };
}
