import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { assertNoLeaks, digits, loadImage } from "figment";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { drawPictures } from "#firstLight/pictures";
import { firstLight } from "#firstLight/run";
import { Session } from "#firstLight/session";
import { train } from "#firstLight/train";
import { figment } from "./support/command.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-first-light-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  assertNoLeaks();
});

const small = ["--batch", "8", "--sample-steps", "4"];
const optionsFor = (out: string) => ({ steps: 6, seed: 3, out, batch: 8, sampleSteps: 4, saveEvery: 4, resume: false });

describe("the main job", () => {
  it("leaves the pictures, the curve, the weights and the summary", async () => {
    const out = path.join(folder, "whole");
    const summary = await firstLight(optionsFor(out));
    const files = await readdir(out);
    expect(files.sort()).toEqual([
      "checkpoint.safetensors",
      "denoising.png",
      "loss.svg",
      "model.safetensors",
      "samples.png",
      "summary.json",
    ]);
    expect(summary).toMatchObject({ seed: 3, steps: 6, batch: 8, precision: "f32" });
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
      await firstLight({ ...optionsFor(out), seed });
      return readFile(path.join(out, "model.safetensors"));
    };
    const first = await model("a", 3);
    expect((await model("b", 3)).equals(first)).toBe(true);
    expect((await model("c", 4)).equals(first)).toBe(false);
  });

  it("trains and samples in bf16 when asked to, and says so", async () => {
    const out = path.join(folder, "bf16");
    const summary = await firstLight({ ...optionsFor(out), precision: "bf16" });
    expect(summary).toMatchObject({ precision: "bf16" });
    const [rounded, exact] = await Promise.all(
      [out, path.join(folder, "whole")].map((at) => readFile(path.join(at, "model.safetensors"))),
    );
    expect((rounded as Buffer).equals(exact as Buffer)).toBe(false);
  });

  it("multiplies bf16 alone in its training step and in its sampling step, and f32 alone without", async () => {
    const factors = (explained: string | undefined): Set<string> => {
      const lines = (explained ?? "").split("\n").filter((line) => /^(conv2d|matmul|attention)/.test(line));
      // Copies that bring operands into order run as elementwise kernels.
      const products = lines.filter((line) => !line.includes("-tiles"));
      return new Set(
        products.map((line) => ((line.split(/ {2,}/)[2] as string).match(/^\S+?(?=×|$|\s)/) as string[])[0] as string),
      );
    };
    const data = await digits();
    for (const [precision, compiled, other] of [
      ["bf16", "bf16", "highest"],
      ["f32", "highest", "bf16"],
    ] as const) {
      const options = { ...optionsFor(path.join(folder, `formats-${precision}`)), steps: 2, precision };
      const session = new Session(options, data);
      const { signal } = new AbortController();
      await train(session, options, async () => {}, signal);
      await drawPictures(session, data, options, (name) => path.join(folder, `${precision}-${name}`), signal);
      expect(factors(session.step.explain())).toEqual(new Set([precision]));
      expect(factors(session.diffusion.explainSampling(compiled))).toEqual(new Set([precision]));
      expect(session.diffusion.explainSampling(other)).toBeUndefined();
      session.dispose();
    }
  });

  it("lets timers fire while it trains and samples", async () => {
    const gaps: number[] = [];
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }, 5);
    await firstLight({ ...optionsFor(path.join(folder, "timers")), steps: 12, batch: 64 });
    clearInterval(timer);
    // Tracing and loading the programs happens once, before the first step.
    const late = gaps.sort((a, b) => a - b)[Math.floor(gaps.length * 0.99) - 1] as number;
    expect(late).toBeLessThan(100);
  });
});

describe("figment first-light", () => {
  it("goes on after interruptions at random moments, bit for bit as if it had never stopped", async () => {
    const steps = ["--steps", "40", ...small];
    const reference = path.join(folder, "reference");
    expect((await figment(["first-light", "--out", reference, ...steps])).code).toBe(0);
    const out = path.join(folder, "interrupted");
    let interruptions = 0;
    for (let round = 0; ; round++) {
      const after = Math.random() * 900;
      const resume = round > 0 ? ["--resume"] : [];
      const { code, stderr } = await figment(
        ["first-light", "--out", out, ...steps, ...resume],
        round < 6 ? { interruptAfter: after } : {},
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
    const { code, stdout } = await figment(["first-light", "--help"]);
    expect(code).toBe(0);
    for (const option of ["--data", "--steps", "--seed", "--out", "--size", "--precision", "--resume"])
      expect(stdout).toContain(option);
  });

  it("says what is wrong with its options and data, in one line, without a stack", async () => {
    const bad: [string[], RegExp][] = [
      [["--steps", "0"], /--steps: expected an integer of at least 1, got "0"/],
      [["--size", "x"], /--size: expected an integer/],
      [["--precision", "f8"], /--precision: expected f32 or bf16, got "f8"/],
      [["--data", path.join(folder, "nowhere")], /nowhere/],
      [["--resume", "--out", path.join(folder, "empty")], /checkpoint/],
      [["--sample-steps", "1001"], /--sample-steps: expected at most 1000/],
      [["--out", process.execPath], /expected a folder/],
    ];
    for (const [args, message] of bad) {
      const { code, stderr } = await figment(["first-light", "--out", path.join(folder, "bad"), ...args]);
      expect(code).toBe(1);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });

  it("refuses to resume a damaged checkpoint, or one of another run", async () => {
    const out = path.join(folder, "other");
    expect((await figment(["first-light", "--out", out, "--steps", "4", ...small])).code).toBe(0);
    const other = await figment(["first-light", "--out", out, "--steps", "4", ...small, "--seed", "9", "--resume"]);
    expect([other.code, other.stderr]).toEqual([1, expect.stringMatching(/made with the options/)]);
    const rounded = ["--precision", "bf16", "--resume"];
    const precise = await figment(["first-light", "--out", out, "--steps", "4", ...small, ...rounded]);
    expect([precise.code, precise.stderr]).toEqual([1, expect.stringMatching(/"precision":"f32".*"precision":"bf16"/)]);
    const file = path.join(out, "checkpoint.safetensors");
    const bytes = await readFile(file);
    await writeFile(file, bytes.subarray(0, bytes.length / 2));
    const damaged = await figment(["first-light", "--out", out, "--steps", "4", ...small, "--resume"]);
    expect([damaged.code, damaged.stderr]).toEqual([1, expect.stringMatching(/CheckpointError/)]);
  });
});
