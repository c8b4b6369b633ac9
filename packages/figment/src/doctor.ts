// figment doctor: what this machine is, and what of it Figment uses. The addon is asked in a process of its own, so that one
// that ends the process where it is loaded is reported like any other trouble.

import { spawnSync } from "node:child_process";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { cacheFolder } from "@figment/tensor";
import { Command } from "commander";
import type { ProbeReport } from "./doctorProbe.js";
import { defaultOut } from "./recipe/run.js";
import { version } from "./version.js";

/** What the command finds out. */
export interface DoctorReport {
  readonly figment: string;
  readonly node: { readonly version: string; readonly platform: string; readonly arch: string; readonly napi: string };
  readonly memoryBytes: number;
  /** Where `npm start` writes unless told otherwise. */
  readonly output: string;
  /** Where fetched data sets and trained judges are kept. */
  readonly cache: string;
  /** Environment variables of Figment that are set. */
  readonly environment: Readonly<Record<string, string>>;
  /** What the addon says, or why it says nothing. */
  readonly native: ProbeReport | { readonly problem: string };
}

const probeFile = fileURLToPath(new URL("./doctorProbe.js", import.meta.url));

function askAddon(measure: boolean): DoctorReport["native"] {
  // A timeline of the question would tell nothing, and take the place of one that is there.
  const { FIGMENT_PROFILE: timeline, ...env } = process.env;
  const { status, signal, error, stdout, stderr } = spawnSync(
    process.execPath,
    [probeFile, ...(measure ? ["--measure"] : []), ...(timeline ? [`--timeline=${timeline}`] : [])],
    { encoding: "utf8", env },
  );
  if (error) return { problem: `the addon could not be tried: ${error.message}` };
  if (signal) return { problem: `the addon ended its process with ${signal} when it was loaded` };
  if (status !== 0) return { problem: stderr.trim() || `the addon ended its process with code ${status}` };
  return JSON.parse(stdout) as ProbeReport;
}

/** Looks at this machine. Takes about a second more with `measure`. */
export function examine({ measure = false }: { readonly measure?: boolean } = {}): DoctorReport {
  const variables = Object.entries(process.env).filter(([name]) => name.startsWith("FIGMENT_"));
  return {
    figment: version,
    node: {
      version: process.version,
      platform: process.platform,
      arch: process.arch,
      napi: process.versions.napi ?? "none",
    },
    memoryBytes: os.totalmem(),
    output: path.resolve(defaultOut({ name: "first-light" })),
    cache: cacheFolder(),
    environment: Object.fromEntries(variables) as Record<string, string>,
    native: askAddon(measure),
  };
}

/** The report as lines of a title and a text. */
export function describe(report: DoctorReport): string {
  const { figment, node, native } = report;
  const settings = Object.entries(report.environment).map(([name, value]) => `${name}=${value}`);
  const rows: readonly (readonly [string, string])[] = [
    ["figment", figment],
    ["node", `${node.version} on ${node.platform} ${node.arch}, Node-API ${node.napi}`],
    ...("problem" in native ? [["addon", native.problem] as const] : nativeRows(native, report.memoryBytes)),
    ["data", "digits are embedded; other data sets are named with --data, or fetched by figment data get"],
    ["cache", report.cache],
    ["output", report.output],
    ["environment", settings.join(" ") || "no variables of Figment are set"],
    ...("problem" in native ? [] : native.problems.map((text) => ["problem", text] as const)),
  ];
  const width = Math.max(...rows.map(([title]) => title.length));
  const indented = (text: string): string => text.replaceAll("\n", `\n${" ".repeat(width + 2)}`);
  return rows.map(([title, text]) => `${title.padEnd(width)}  ${indented(text)}`).join("\n");
}

function nativeRows(
  { addon, build, cpu, devices, kernels, ceilings }: ProbeReport,
  memoryBytes: number,
): [string, string][] {
  const counted = Object.entries(kernels).map(([isa, count]) => `${isa} ${count}`);
  return [
    ["addon", addon],
    ["built by", `${build.compiler}, ${build.flags}`],
    ["built with", `kernels for ${counted.join(", ")}`],
    ["processor", `${cpu.name}, ${cpu.cores} cores, ${Math.round(memoryBytes / 2 ** 30)} GiB of memory`],
    ["extensions", cpu.features.join(" ") || "none"],
    ["kernels", `${cpu.isa}, ${cpu.threads} threads`],
    ...devices.filter(({ kind }) => kind !== "cpu").map(gpuRow),
    ...(ceilings ? ceilingRows(ceilings) : []),
  ];
}

/** A GPU, or why there is none. */
function gpuRow(found: ProbeReport["devices"][number]): [string, string] {
  if (found.index === undefined) return [found.kind, withRemedy(found.reason)];
  const { kind, index, name, memoryLimit, capability, multiprocessors, isa } = found;
  const memory = `${Math.round(memoryLimit / 2 ** 30)} GiB of memory`;
  const about = [
    memory,
    `${multiprocessors} multiprocessors`,
    `compute capability ${(capability / 10).toFixed(1)}`,
    `kernels ${isa}`,
  ];
  return [`${kind}:${index - 1}`, [name, ...about].join(", ")];
}

/** How to get what is missing. */
const withRemedy = (reason: string): string =>
  reason.includes("not installed")
    ? `${reason}\nCUDA=ON npm run build in a checkout of Figment builds it where there is nvcc (CUDACXX or CUDA_PATH may name it)`
    : reason;

function ceilingRows({ threads, fma, copy }: NonNullable<ProbeReport["ceilings"]>): [string, string][] {
  const rates = Object.entries(fma).map(([isa, gflops]) => `${isa} ${gflops.toFixed(0)}`);
  const speeds = copy.map(({ bytes, gbps }) => `${(bytes / 1024).toFixed(0)} KiB ${gbps.toFixed(0)}`);
  return [
    ["multiply-add", `${rates.join(", ")} GFLOP/s in f32 on ${threads} threads`],
    ["copying", `${speeds.join(", ")} GB/s`],
  ];
}

/** The `doctor` subcommand. Exit code 0 when the addon works here, 1 when it does not or a variable cannot be heeded. */
export const doctorCommand = (): Command =>
  new Command("doctor")
    .summary("show what this machine is and what of it Figment uses")
    .description(
      "show what this machine is and what of it Figment uses\n\n" +
        "Exits with 1 when the addon cannot be used, or when a variable of the environment says what makes no sense.",
    )
    .option("--measure", "measure what the machine reaches: multiply-adds and copying (a second or two)")
    .option("--json", "print one JSON object")
    .action(({ measure, json }: { measure?: boolean; json?: boolean }) => {
      const report = examine({ measure });
      console.log(json ? JSON.stringify(report, null, 2) : describe(report));
      if ("problem" in report.native || report.native.problems.length > 0) process.exitCode = 1;
    });
