// Elementwise kernels that the plug-in writes itself: the same text as C++ on the emulator, and as PTX through ptxas.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";

const build = fileURLToPath(new URL("../build", import.meta.url));
const emulator = join(build, "emulator");
const off = process.env.FIGMENT_CUDA === "0";
const ptxas = [process.env.CUDA_PATH && join(process.env.CUDA_PATH, "bin", "ptxas"), "/usr/local/cuda/bin/ptxas"].find(
  (path) => path && existsSync(path),
);
if (!ptxas) console.info("ptxas was not found: what the PTX assembles to is not checked");

const run = (command: string, ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 2 ** 28 });
  return { status, text: `${stdout}${stderr}` };
};

describe.skipIf(off)("kernels written for register code", () => {
  beforeAll(() => {
    const { status, text } = run("cmake", "--build", build, "--target", "figment_cuda_check");
    expect(status, text).toBe(0);
  }, 1_200_000);

  it("give on the emulator the bits of the interpreter and the CPU, functions within 8 units, at every number", () => {
    const { status, text } = run(join(emulator, "figment_cuda_check"));
    expect(text).toMatch(/[1-9]\d\d printed programs, [1-9]\d+ interpreted ones: 0 differ/);
    expect(status).toBe(0);
  }, 120_000);

  it("move whole groups of contiguous operands in vectors, and take several groups where there is work for all", () => {
    const ptx = readFileSync(join(emulator, "elementwise.sm80.ptx"), "utf8");
    expect(ptx.match(/\.entry/g)?.length).toBeGreaterThan(100);
    expect(ptx).toMatch(/ld\.global\.v4\.b32/);
    expect(ptx).toMatch(/st\.global\.v4\.b32/);
    expect(ptx).not.toMatch(/\.f64/);
  });

  const targets = [
    ["sm75", "sm_75"],
    ["sm75", "sm_90a"],
    ["sm80", "sm_80"],
    ["sm80", "sm_90a"],
  ] as const;
  it.skipIf(!ptxas).each(targets)(
    "assemble as PTX for %s on %s, without spilling registers",
    (text, target) => {
      const source = join(emulator, `elementwise.${text}.ptx`);
      const result = run(ptxas as string, "-v", `-arch=${target}`, source, "-o", "/dev/null");
      expect(result.status, result.text).toBe(0);
      expect(result.text.match(/Compiling entry function/g)?.length).toBe(
        readFileSync(source, "utf8").match(/\.entry/g)?.length,
      );
      expect(result.text).not.toMatch(/[1-9]\d* bytes spill/);
    },
    120_000,
  );
});
