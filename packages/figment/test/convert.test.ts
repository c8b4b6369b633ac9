// figment inspect and figment convert.

import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type Inspection, loadTensors } from "@figment/io";
import { assertNoLeaks } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { figment } from "./support/command.js";

const folder = mkdtempSync(path.join(os.tmpdir(), "figment-convert-"));
const torch = (name: string) => new URL(`../../io/test/fixtures/torch/${name}`, import.meta.url).pathname;
afterAll(() => {
  rmSync(folder, { recursive: true });
  assertNoLeaks();
});

describe("figment inspect", () => {
  it("draws the tree of a PyTorch file, and prints it as JSON", async () => {
    const { code, stdout } = await figment(["inspect", torch("checkpoint.pth")]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /checkpoint\.pth: PyTorch, 13 KB\n {2}params_ema\n {4}0\n {6}weight +F32 {2}\[2, 1, 3, 3\] {2}72 B/,
    );
    const { stdout: json } = await figment(["inspect", torch("checkpoint.pth"), "--json"]);
    const { format, entries } = JSON.parse(json) as Inspection;
    expect(format).toBe("PyTorch");
    expect(entries).toContainEqual({ name: "params_ema.3.bias", type: "F32", shape: [3], bytes: 12 });
    expect(entries).toContainEqual({ name: "epoch", value: "12" });
  });

  it("exits with 1 and one sentence for a file that is none of these", async () => {
    const { code, stderr } = await figment(["inspect", path.join(folder, "nowhere.pth")]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^\s*CheckpointError: .*nowhere\.pth: cannot be opened/);
  });
});

describe("figment convert", () => {
  it("writes a part of a PyTorch file as safetensors", async () => {
    const output = path.join(folder, "ema.safetensors");
    const { code, stdout } = await figment([
      "convert",
      torch("checkpoint.pth"),
      output,
      "--select",
      "params_ema",
      "--json",
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ output, tensors: 9 });
    const loaded = await loadTensors(output);
    expect(loaded["3.bias"]?.shape).toEqual([3]);
    for (const tensor of Object.values(loaded)) tensor.dispose();
  });

  it("refuses a pickle that names unknown classes, by name, unless it is told to describe them", async () => {
    const output = path.join(folder, "module.npz");
    const refused = await figment(["convert", torch("module.pth"), output]);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/wants to import torch\.nn\.modules\.container\.Sequential, which is refused/);
    const walked = await figment(["convert", torch("module.pth"), output, "--objects", "records"]);
    expect([walked.code, walked.stdout.trim()]).toEqual([0, `${output}: 9 tensors, 228 B`]);
  });
});
