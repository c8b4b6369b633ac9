import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { assertNoLeaks, Diffusion, loadImage, type RunSummary } from "figment";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { figment } from "./support/command.js";
import { firstLight, trained } from "./support/firstLight.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-first-light-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  assertNoLeaks();
});

const small = ["--batch", "8", "--sample-steps", "4"];
const settings = { steps: 6, seed: 3, batch: 8, sampleSteps: 4, saveEvery: 4 };
const run = (out: string, more: Readonly<Record<string, unknown>> = {}): Promise<RunSummary> =>
  firstLight(out, { ...settings, ...more });

describe("the main job", () => {
  it("leaves the pictures, the curve, the weights and the summary", async () => {
    const out = path.join(folder, "whole");
    const summary = await run(out);
    const files = await readdir(out);
    expect(files.sort()).toEqual([
      "checkpoints",
      "config.json",
      "denoising.png",
      "events",
      "log.jsonl",
      "loss.svg",
      "model.safetensors",
      "samples.png",
      "summary.json",
    ]);
    expect(summary).toMatchObject({ steps: 6, config: { seed: 3, batch: 8 }, precision: "f32" });
    for (const key of ["seconds", "imagesPerSecond", "finalLoss", "threads", "isa"])
      expect(summary).toHaveProperty(key);
    expect(JSON.parse(await readFile(path.join(out, "summary.json"), "utf8"))).toEqual(summary);
    using samples = await loadImage(path.join(out, "samples.png"));
    expect(samples.dim(0)).toBeGreaterThanOrEqual(8 * 28);
    expect(await readFile(path.join(out, "loss.svg"), "utf8")).toContain("<svg");
  });

  it("gives the same bytes for the same seed, and others for another", async () => {
    const model = async (name: string, seed: number): Promise<Buffer> => {
      const out = path.join(folder, name);
      await run(out, { seed });
      return readFile(path.join(out, "model.safetensors"));
    };
    const first = await model("a", 3);
    expect((await model("b", 3)).equals(first)).toBe(true);
    expect((await model("c", 4)).equals(first)).toBe(false);
  });

  it("trains and samples in bf16 when asked to, and says so", async () => {
    const out = path.join(folder, "bf16");
    const summary = await run(out, { precision: "bf16" });
    expect(summary).toMatchObject({ precision: "bf16" });
    const [rounded, exact] = await Promise.all(
      [out, path.join(folder, "whole")].map((at) => readFile(path.join(at, "model.safetensors"))),
    );
    expect((rounded as Buffer).equals(exact as Buffer)).toBe(false);
  });

  it("multiplies bf16 or f16 alone in its training step and in its sampling step, and f32 alone without", async () => {
    const factors = (explained: string | undefined): Set<string> => {
      const lines = (explained ?? "").split("\n").filter((line) => /^(conv2d|matmul|attention)/.test(line));
      // Copies that bring operands into order run as elementwise kernels.
      const products = lines.filter((line) => !line.includes("-tiles"));
      return new Set(
        products.map((line) => ((line.split(/ {2,}/)[2] as string).match(/^\S+?(?=×|$|\s)/) as string[])[0] as string),
      );
    };
    const drawing = vi.spyOn(Diffusion.prototype, "sampleSteps");
    for (const [precision, compiled, other] of [
      ["bf16", "bf16", "highest"],
      ["f16", "f16", "bf16"],
      ["f32", "highest", "bf16"],
    ] as const) {
      await trained({ ...settings, steps: 2, precision }, async (step, _losses, draw) => {
        await draw(path.join(folder, `formats-${precision}`));
        const diffusion = drawing.mock.contexts.at(-1) as Diffusion;
        expect(factors(step.explain())).toEqual(new Set([precision]));
        expect(factors(diffusion.explainSampling(compiled))).toEqual(new Set([precision]));
        expect(diffusion.explainSampling(other)).toBeUndefined();
      });
    }
    drawing.mockRestore();
  });

  it("lets timers fire while it trains and samples", async () => {
    const gaps: number[] = [];
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }, 5);
    await run(path.join(folder, "timers"), { steps: 12, batch: 64 });
    clearInterval(timer);
    // Tracing and loading the programs happens once, before the first step.
    const late = gaps.sort((a, b) => a - b)[Math.floor(gaps.length * 0.99) - 1] as number;
    expect(late).toBeLessThan(100);
  });
});

describe("figment train first-light", () => {
  it("goes on after interruptions at random moments, bit for bit as if it had never stopped", async () => {
    const steps = ["--steps", "40", ...small];
    const reference = path.join(folder, "reference");
    expect((await figment(["train", "first-light", "--out", reference, ...steps])).code).toBe(0);
    const out = path.join(folder, "interrupted");
    const rounds = process.env.FIGMENT_TEST_ALL === "1" ? 6 : 3;
    let interruptions = 0;
    for (let round = 0; ; round++) {
      const after = Math.random() * 900;
      const resume = round > 0 ? ["--resume"] : [];
      const { code, stderr } = await figment(
        ["train", "first-light", "--out", out, ...steps, ...resume],
        round < rounds ? { interruptAfter: after } : {},
      );
      if (code === 0) break;
      expect(code, stderr).toBe(130);
      interruptions++;
    }
    expect(interruptions).toBeGreaterThan(0);
    for (const name of ["model.safetensors", "samples.png", "loss.svg"]) {
      const [a, b] = await Promise.all([readFile(path.join(reference, name)), readFile(path.join(out, name))]);
      expect(a.equals(b), `${name} after ${interruptions} interruptions`).toBe(true);
    }
  });

  it("explains itself", async () => {
    const { code, stdout } = await figment(["train", "first-light", "--help"]);
    expect(code).toBe(0);
    for (const option of ["--data", "--steps", "--seed", "--out", "--size", "--precision", "--resume"])
      expect(stdout).toContain(option);
  });

  it("says what is wrong with its options and data, in one line, without a stack, and tells the kinds apart", async () => {
    const bad: [string[], number, RegExp][] = [
      [["--steps", "0"], 2, /--steps: expected an integer from 1 to 16777216, got "0"/],
      [["--size", "x"], 2, /--size: expected an integer from 8 to 4096 or null, got "x"/],
      [["--precision", "f8"], 2, /--precision: expected f32 or bf16 or f16 or tf32, got "f8"/],
      [["--set", "optimizer.lr=fast"], 2, /--set optimizer.lr: expected a number of at least 0, got "fast"/],
      [
        ["--set", "optimizer.rate=1"],
        2,
        /--set optimizer.rate: there is no such setting; did you mean optimizer.lr\? there are .*optimizer.lr/,
      ],
      [["--sample-steps", "1001"], 2, /expected at most 1000, the timesteps, got 1001/],
      [["--bogus"], 2, /unknown option '--bogus'/],
      [["--data", path.join(folder, "nowhere")], 3, /nowhere/],
      [["--resume", "--out", path.join(folder, "empty")], 3, /checkpoint/],
      [["--out", process.execPath], 3, /expected a folder/],
    ];
    for (const [args, expected, message] of bad) {
      const { code, stderr } = await figment(["train", "first-light", "--out", path.join(folder, "bad"), ...args]);
      expect([code, args]).toEqual([expected, args]);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });

  it("goes on with the settings that a run was begun with, and refuses others", async () => {
    const out = path.join(folder, "other");
    const train = (...more: string[]) => figment(["train", "first-light", "--out", out, ...more]);
    expect((await train("--steps", "4", ...small)).code).toBe(0);
    const same = await train("--resume", "--json");
    expect(same.code).toBe(0);
    expect(JSON.parse(same.stdout)).toMatchObject({ steps: 4, config: { batch: 8 } });
    const other = await train("--seed", "9", "--resume");
    expect([other.code, other.stderr]).toEqual([3, expect.stringMatching(/made with seed 0, not 9/)]);
    const precise = await train("--precision", "bf16", "--resume");
    expect([precise.code, precise.stderr]).toEqual([3, expect.stringMatching(/precision "f32", not "bf16"/)]);
    expect((await train("--save-every", "3", "--resume")).code).toBe(0);
  });

  it("passes a damaged checkpoint over, and refuses to go on when none is whole", async () => {
    const out = path.join(folder, "damaged");
    const train = (...more: string[]) => figment(["train", "first-light", "--out", out, ...more]);
    expect((await train("--steps", "6", "--save-every", "4", ...small)).code).toBe(0);
    const model = await readFile(path.join(out, "model.safetensors"));
    const halve = async (step: number): Promise<void> => {
      const file = path.join(out, "checkpoints", `step-0000000${step}.safetensors`);
      const bytes = await readFile(file);
      await writeFile(file, bytes.subarray(0, bytes.length / 2));
    };
    await halve(6);
    const passed = await train("--resume");
    expect([passed.code, passed.stderr]).toEqual([0, expect.stringMatching(/Going on from .*step-00000004/)]);
    expect((await readFile(path.join(out, "model.safetensors"))).equals(model)).toBe(true);
    await halve(4);
    await halve(6);
    const none = await train("--resume");
    expect([none.code, none.stderr]).toEqual([3, expect.stringMatching(/CheckpointError/)]);
  });

  it("does not begin anew over a run that was stopped, unless told to", async () => {
    const out = path.join(folder, "stopped");
    const train = (...more: string[]) =>
      figment(["train", "first-light", "--out", out, "--steps", "40", ...small, ...more]);
    const stopped = await figment(["train", "first-light", "--out", out, "--steps", "40", ...small], {
      interruptAfter: 500,
    });
    expect(stopped.code).toBe(130);
    const again = await train();
    expect([again.code, again.stderr]).toEqual([2, expect.stringMatching(/stopped at step \d+; add --resume/)]);
    expect((await train("--overwrite", "--steps", "3")).code).toBe(0);
  });
});
