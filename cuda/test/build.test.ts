// What cuda/scripts/build.mjs makes of its environment: it runs up to CMake, in whose place a script keeps its arguments.

import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, it } from "vitest";

const script = fileURLToPath(new URL("../scripts/build.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "figment-cuda-build-"));
const kept = join(folder, "arguments");
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => writeFileSync(kept, ""));

function program(name: string, lines: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${lines}\n`);
  chmodSync(path, 0o755);
  return path;
}
program("cmake", `echo "$@" > '${kept}'\nexit 1`);
const nvcc = program("nvcc", "echo Cuda compilation tools, release 13.0");

function build(env: Record<string, string>): { stderr: string; given: string } {
  const { stderr } = spawnSync(process.execPath, [script], {
    encoding: "utf8",
    env: { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}`, ...env },
  });
  return { stderr, given: readFileSync(kept, "utf8") };
}

describe("the build of the CUDA plug-in", () => {
  it.each(["80-real;90a-real", "75", "120-virtual", "all", "all-major", "native"])(
    "passes architectures on to CMake: %s",
    (CUDAARCHS) => {
      expect(build({ CUDA: "ON", CUDACXX: nvcc, CUDAARCHS }).given).toContain(`-DFIGMENT_ARCHITECTURES=${CUDAARCHS}`);
    },
  );

  it.each(["bogus", "80-real;", "80 90", "native;80"])("says what is wrong with architectures: %s", (CUDAARCHS) => {
    const { stderr, given } = build({ CUDA: "ON", CUDACXX: nvcc, CUDAARCHS });
    expect([stderr, given]).toEqual([expect.stringContaining(`CUDAARCHS is "${CUDAARCHS}"; expected`), ""]);
  });

  it("asks nothing of CUDAARCHS where there is no plug-in to build", () => {
    expect(build({ CUDA: "OFF", CUDAARCHS: "bogus" }).given).toContain("-DFIGMENT_CUDA=OFF");
  });

  it.each([
    ["ON", "ON", "OFF"],
    ["ONLY", "OFF", "OFF"],
    ["QUICK", "OFF", "ON"],
  ])("makes what CUDA=%s names: the emulated one %s, less optimised %s", (CUDA, emulator, quick) => {
    const { given } = build({ CUDA, CUDACXX: nvcc, CUDAARCHS: "80-real" });
    expect(given).toContain(`-DFIGMENT_CUDA=ON -DFIGMENT_EMULATOR=${emulator} -DFIGMENT_QUICK=${quick}`);
  });

  it("says what CUDA may be", () => {
    expect(build({ CUDA: "FAST" }).stderr).toContain(`CUDA is "FAST"; expected AUTO, ON, ONLY, QUICK or OFF`);
  });

  it("says that CUDACXX names no nvcc", () => {
    const { stderr, given } = build({ CUDA: "ON", CUDACXX: join(folder, "cmake") });
    expect([stderr, given.includes("-S")]).toEqual([expect.stringContaining("which is no nvcc that runs"), false]);
  });
});
