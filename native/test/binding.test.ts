// The hand-written binding.ts against what the addon exports, and the loader's behaviour.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { native } from "./support.ts";

const declaration = readFileSync(new URL("../ts/binding.ts", import.meta.url), "utf8");
const declared = declaration.slice(declaration.indexOf("interface NativeBinding"));

/** Runs a module in a fresh process; answers what it prints. */
function runModule(source: string, env: Record<string, string> = {}): string {
  return execFileSync(process.execPath, ["--input-type=module", "-e", source], {
    encoding: "utf8",
    cwd: new URL(".", import.meta.url),
    env: { ...process.env, ...env },
  });
}

const printLoadError = `
  import { loadBinding } from "@figment/native";
  try { loadBinding(); console.log("loaded"); } catch (error) { console.log(error.name + " " + error.message); }
`;

describe("binding", () => {
  it("exports exactly the functions that binding.ts declares", () => {
    const names = [...declared.matchAll(/^ {2}(\w+)\(/gm)].map((match) => match[1]);
    const functions = Object.entries(native).filter(([, value]) => typeof value === "function");
    expect(functions.map(([name]) => name).sort()).toEqual(names.sort());
    expect(Object.keys(native).filter((name) => !names.includes(name))).toEqual(["abiVersion"]);
  });

  it("describes the processor and its devices", () => {
    const cpu = native.cpu();
    expect(cpu.name.length).toBeGreaterThan(0);
    expect(cpu.cores).toBeGreaterThanOrEqual(1);
    expect(["generic", "avx2", "avx512", "avx512bf16", "amx"]).toContain(cpu.isa);
    expect(cpu.threads).toBe(native.threads());
    const devices = native.devices();
    expect(devices[0]).toMatchObject({ kind: "cpu", index: 0 });
    for (const device of devices) {
      if (device.index === undefined) expect(device.reason.length).toBeGreaterThan(0);
    }
  });

  it("lists a reference kernel for every operation", () => {
    for (const op of native.ops()) {
      expect(
        native.variants(op).map(({ name }) => name),
        op,
      ).toContain("reference");
    }
  });

  it("says what was tried when FIGMENT_BINDING names no addon, and tries nothing else", () => {
    const text = runModule(printLoadError, { FIGMENT_BINDING: "/nowhere/figment.node" });
    expect(text).toMatch(/^NativeLoadError/);
    expect(text).toContain("FIGMENT_BINDING: /nowhere/figment.node");
    expect(text).not.toContain("local build");
    expect(text).toContain("Unset FIGMENT_BINDING");
  });

  it.each([
    ["FIGMENT_ISA", "sse9", "expected generic, avx2, avx512, avx512bf16 or amx"],
    ["FIGMENT_THREADS", "many", "expected a whole number"],
    ["FIGMENT_THREADS", "0", "expected a whole number"],
    ["FIGMENT_VARIANT", "matmul=quantum", "names no operation=variant"],
  ])("refuses %s=%s when it loads, and says what it expected", (name, value, expected) => {
    expect(runModule(printLoadError, { [name]: value })).toContain(expected);
  });

  it("heeds FIGMENT_THREADS and FIGMENT_ISA", () => {
    const source = `
      import { loadBinding } from "@figment/native";
      const { threads, isa } = loadBinding().cpu();
      console.log(threads, isa);
    `;
    expect(runModule(source, { FIGMENT_THREADS: "3", FIGMENT_ISA: "generic" }).trim()).toBe("3 generic");
  });

  it("says that the CUDA plug-in is turned off, or why it cannot be opened", () => {
    const source = `
      import { loadBinding } from "@figment/native";
      console.log(loadBinding().devices().find((device) => device.kind === "cuda")?.reason);
    `;
    expect(runModule(source, { FIGMENT_CUDA: "0" })).toContain("turned off");
    expect(runModule(source, { FIGMENT_CUDA: "/nowhere/figment_cuda.so" })).toContain("/nowhere/figment_cuda.so");
  });
});
