// figment doctor: what it tells, and that an addon which cannot be used is told of, whatever it does.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import type { DoctorReport } from "#doctor";
import { figment } from "./support/command.js";

const folder = mkdtempSync(path.join(os.tmpdir(), "figment-doctor-"));
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(folder, { recursive: true }));

describe("figment doctor", () => {
  it("shows versions, the addon and how it was built, the processor, places and settings", async () => {
    vi.stubEnv("FIGMENT_THREADS", "2");
    const { code, stdout } = await figment(["doctor"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^node +v\d+.*Node-API \d+$/m);
    expect(stdout).toMatch(/^addon +\S+figment\.node$/m);
    expect(stdout).toMatch(/^built by +\w+ \d+\.\d+.*-O3 -ffp-contract=off/m);
    expect(stdout).toMatch(/^built with +kernels for .*generic \d+/m);
    expect(stdout).toMatch(/^kernels +\w+, 2 threads$/m);
    expect(stdout).toMatch(/^output +\/.*out\/first-light$/m);
    expect(stdout).toMatch(/^environment .*FIGMENT_THREADS=2/m);
    for (const title of ["processor", "extensions", "data"]) expect(stdout).toMatch(new RegExp(`^${title} `, "m"));
    expect(stdout).not.toMatch(/GFLOP|^problem/m);
  });

  it("measures on request, and prints JSON", async () => {
    const { code, stdout } = await figment(["doctor", "--json", "--measure"]);
    expect(code).toBe(0);
    const { native, node } = JSON.parse(stdout) as DoctorReport;
    expect(node.version).toBe(process.version);
    if ("problem" in native) throw new Error(native.problem);
    expect(native.ceilings?.fma.generic).toBeGreaterThan(0);
    expect(native.ceilings?.copy.length).toBeGreaterThan(1);
    expect(native.kernels.generic).toBeGreaterThan(50);
  });

  it.each([
    ["is not there", "/nowhere/figment.node", null, /could not be loaded[\s\S]*\/nowhere\/figment.node/],
    ["throws", path.join(folder, "throws.js"), 'throw new Error("no such symbol")', /no such symbol/],
    ["kills its process", path.join(folder, "kills.js"), 'process.kill(process.pid, "SIGSEGV")', /SIGSEGV/],
    ["leaves", path.join(folder, "leaves.js"), "process.exit(7)", /code 7/],
  ])("tells of an addon that %s, and exits with 1", async (_title, file, text, message) => {
    if (text !== null) writeFileSync(file, text);
    vi.stubEnv("FIGMENT_BINDING", file);
    for (const args of [["doctor"], ["doctor", "--json"]]) {
      const { code, stdout } = await figment(args);
      expect(code).toBe(1);
      expect(stdout).toMatch(message);
    }
  });

  it.each([
    ["FIGMENT_DEVICE", "nonsense", /FIGMENT_DEVICE: expected "cpu", "cuda" or a GPU such as "cuda:1", got "nonsense"/],
    ["FIGMENT_DEVICE", "cuda:99", /FIGMENT_DEVICE: "cuda:99" cannot be used: /],
    ["FIGMENT_CUDA", "yes", /FIGMENT_CUDA is "yes"; expected 0 or the absolute path of a plug-in/],
    ["FIGMENT_CUDA", "/nowhere.so", /FIGMENT_CUDA names no plug-in that can be used: \/nowhere\.so/],
    ["FIGMENT_PROFILE", folder, /FIGMENT_PROFILE is "\S+": it is a folder/],
    ["FIGMENT_TUNE", "yes", /FIGMENT_TUNE is "yes"; expected 0 or 1/],
    ["FIGMENT_TUNE_FILE", folder, /FIGMENT_TUNE_FILE says where\): \S+: it is a folder/],
  ])("tells of %s=%s as a problem, and exits with 1", async (name, value, message) => {
    vi.stubEnv(name, value);
    const { code, stdout } = await figment(["doctor"]);
    expect([code, stdout]).toEqual([1, expect.stringMatching(new RegExp(`^problem +.*${message.source}`, "m"))]);
  });

  it("lists problems in its JSON, each of them", async () => {
    vi.stubEnv("FIGMENT_DEVICE", "nonsense");
    vi.stubEnv("FIGMENT_TUNE", "2");
    const { code, stdout } = await figment(["doctor", "--json"]);
    const { native } = JSON.parse(stdout) as DoctorReport;
    const problems = [/^FIGMENT_DEVICE: /, /^FIGMENT_TUNE is "2"/].map((text) => expect.stringMatching(text));
    expect([code, native]).toEqual([1, expect.objectContaining({ problems })]);
  });

  it.each([
    ["FIGMENT_ISA", "avx3", /FIGMENT_ISA is "avx3"; expected generic, avx2, avx512, avx512bf16 or amx/],
    ["FIGMENT_THREADS", "0", /FIGMENT_THREADS is "0"; expected a whole number from 1 to 256/],
    ["FIGMENT_VARIANT", "conv2d", /FIGMENT_VARIANT: "conv2d" names no operation=variant of this build/],
  ])("tells of %s=%s, with which the addon cannot be loaded, and exits with 1", async (name, value, message) => {
    vi.stubEnv(name, value);
    const { code, stdout } = await figment(["doctor"]);
    expect([code, stdout]).toEqual([1, expect.stringMatching(message)]);
    expect(stdout).toContain("Correct or unset that environment variable.");
    const sampled = await figment(["sample", "nowhere"]);
    expect([sampled.code, sampled.stderr]).toEqual([1, expect.stringMatching(message)]);
    expect(sampled.stderr).not.toMatch(/^ +at /m);
  });

  it.each([
    ["FIGMENT_DEVICE", "auto"],
    ["FIGMENT_CUDA", "0"],
    ["FIGMENT_TUNE", "1"],
    ["FIGMENT_TUNE_FILE", path.join(folder, "not", "yet.json")],
  ])("finds nothing wrong with %s=%s, and leaves nothing", async (name, value) => {
    vi.stubEnv(name, value);
    const { code, stdout } = await figment(["doctor"]);
    expect(code, stdout).toBe(0);
    expect(readdirSync(folder)).not.toContain("not");
  });
});

describe("the command", () => {
  it("says from how few to how many threads there can be", async () => {
    const { code, stderr } = await figment(["sample", "nowhere", "--threads", "257"]);
    expect([code, stderr.trim()]).toEqual([2, 'UsageError: --threads: expected an integer from 1 to 256, got "257"']);
  });

  it.each([
    [["train", "first-light", "--out", ""], '--out: expected a name, got ""'],
    [["train", "first-light", "--data", ""], '--data: expected a text that is not empty or null, got ""'],
    [
      ["train", "first-light", "--steps", "20000000"],
      '--steps: expected an integer from 1 to 16777216, got "20000000"',
    ],
    [["sample", "nowhere", "--out", ""], '--out: expected a name, got ""'],
    [["sample", "nowhere", "--out", "x.bmp"], "--out: the name must end in one of .png .jpg "],
  ])("refuses %j before it does anything", async (args, message) => {
    const { code, stderr } = await figment(args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it("is a file of the repository, so that npm links it before anything is built", async () => {
    const manifest = new URL("../package.json", import.meta.url);
    const { bin } = JSON.parse(readFileSync(manifest, "utf8")) as { bin: { figment: string } };
    expect(bin.figment).toBe("./bin/figment.js");
    const alone = path.join(folder, "bin");
    cpSync(new URL(path.dirname(bin.figment), manifest), alone, { recursive: true });
    writeFileSync(path.join(folder, "package.json"), '{ "type": "module" }');
    const { status, stderr } = spawnSync(process.execPath, [path.join(alone, "figment.js")], { encoding: "utf8" });
    expect([status, stderr]).toEqual([1, "figment: not built yet; run `npm run build`\n"]);
  });
});

describe("packages/tensor/docs/environment.md", () => {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const sources = ["native/src", "native/ts", "native/scripts", "scripts", "benchmarks/src", "packages", "native/test"];

  function variablesRead(): string[] {
    const skipped = /(^|\/)(node_modules|dist|build(-[\w-]+)?)\//;
    const files = sources.flatMap((source) =>
      (readdirSync(path.join(root, source), { recursive: true }) as string[])
        .map((name) => path.join(source, name))
        .filter((name) => /\.(ts|mjs|cpp|h)$/.test(name) && !skipped.test(name)),
    );
    const reads = /(?:process\.env\.|getenv\("|process\.env\[")(FIGMENT_\w+)/g;
    const found = [...files, "vitest.config.ts"].flatMap((name) =>
      [...readFileSync(path.join(root, name), "utf8").matchAll(reads)].map(([, variable]) => variable as string),
    );
    return [...new Set(found)].sort();
  }

  it("has a row for every variable that the sources read, and for no other", () => {
    const text = readFileSync(path.join(root, "packages/tensor/docs/environment.md"), "utf8");
    const rows = [...text.matchAll(/^\| `(FIGMENT_\w+)/gm)].map(([, name]) => name as string);
    const read = variablesRead();
    expect(read).toContain("FIGMENT_THREADS");
    expect(rows.sort()).toEqual(read);
  });
});
