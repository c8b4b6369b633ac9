// What users import is each package joined in one file; the other tests import its modules.

import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as figment from "figment";
import { afterAll, describe, expect, it } from "vitest";

const folder = fileURLToPath(new URL("..", import.meta.url));
const scratch = await mkdtemp(path.join(os.tmpdir(), "figment-bundle-"));
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** Runs Node as users do, without the condition that chooses modules. */
async function node(...args: string[]): Promise<string> {
  const { NODE_OPTIONS: _conditions, ...env } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, env });
  return stdout;
}

describe("the packages as users import them", () => {
  it("export what their modules export, under the same names of functions and classes", async () => {
    const script = `
      const figment = await import("figment");
      console.log(JSON.stringify(Object.entries(figment).map(([key, value]) => [key, typeof value, value?.name ?? null])));`;
    const bundled = JSON.parse(await node("--input-type=module", "-e", script));
    const modules = Object.entries(figment).map(([key, value]) => [
      key,
      typeof value,
      (value as { name?: string } | null)?.name ?? null,
    ]);
    expect(bundled).toEqual(modules);
  });

  it("load each package from its one file", async () => {
    const script = `console.log(["tensor", "nn", "diffusion"].map((name) => import.meta.resolve("@figment/" + name)).join("\\n"));`;
    const files = (await node("--input-type=module", "-e", script)).trim().split("\n");
    expect(files.map((file) => path.basename(file))).toEqual(["bundle.js", "bundle.js", "bundle.js"]);
  });

  it("train and draw", async () => {
    const out = path.join(scratch, "run");
    await node(
      "dist/cli.js",
      "train",
      "first-light",
      "--steps",
      "3",
      "--batch",
      "2",
      "--sample-steps",
      "2",
      "--out",
      out,
    );
    expect(await readdir(out)).toEqual(expect.arrayContaining(["model.safetensors", "samples.png"]));
  });
});
