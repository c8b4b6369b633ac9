// Training on a GPU: the CPU's losses but for rounding, the CPU's random draws bit for bit, and runs that go on from a
// checkpoint with the bits of those that were never stopped.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { loadCheckpoint, saveCheckpoint } from "@figment/io";
import { AdamW, compileStep, Dropout, EMA, Linear, mse, Sequential, type StepOptions } from "@figment/nn";
import {
  assertNoLeaks,
  type Cell,
  DeviceError,
  readCells,
  rng,
  type Stateful,
  scope,
  silu,
  type Tensor,
  withDevice,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { expectNear, hasGpu, onBoth } from "../../tensor/test/support/onDevices.ts";

const folder = mkdtempSync(path.join(tmpdir(), "figment-cuda-"));
afterAll(() => {
  rmSync(folder, { recursive: true });
  assertNoLeaks();
});

interface Run {
  readonly parts: { readonly step: Stateful; readonly data: Stateful };
  readonly model: Sequential;
  readonly optimizer: AdamW;
  explain(): string;
  update(): number;
  dispose(): void;
}

/** A small model with dropout and an average, and the numbers that it learns from. */
function start(seed = 3, options: Pick<StepOptions, "precision" | "lossScale"> = {}): Run {
  const random = rng(seed);
  const data = rng(seed).fork("data");
  const model = new Sequential(new Linear(2, 8), silu, new Dropout(0.25), new Linear(8, 1)).init(random);
  const optimizer = new AdamW(model, { lr: 1e-2 });
  const step = compileStep(model, optimizer, (net, { x, y }: { x: Tensor; y: Tensor }) => mse(net.forward(x), y), {
    ...options,
    clipNorm: 1,
    ema: 0.9,
  });
  return {
    parts: { step, data },
    model,
    optimizer,
    explain: step.explain,
    update: () =>
      scope(() => {
        const x = data.normal([8, 2]);
        return step({ x, y: x.slice([0, 0], [8, 1]) }).loss.itemSync();
      }),
    dispose: () => {
      for (const owner of [step, optimizer, model, random, data]) owner.dispose();
    },
  };
}

const cellsOf = ({ parts }: Run): Cell[] =>
  Object.values(parts).flatMap((part) => Object.values(part.captureState().cells));
const bitsOf = async (run: Run): Promise<number[][]> => (await readCells(cellsOf(run))).map((data) => [...data]);

describe.skipIf(!hasGpu)("training on a GPU", () => {
  it("has the losses and the weights of the CPU but for rounding", async () => {
    const { cpu, cuda } = await onBoth(async () => {
      const run = start();
      const losses = [1, 2, 3].map(() => run.update());
      const state = (await bitsOf(run)).flat();
      const places = new Set(cellsOf(run).map(({ device }) => device));
      run.dispose();
      return { losses, state, places: [...places] };
    });
    expect([cpu.places, cuda.places]).toEqual([["cpu"], ["cuda:0"]]);
    expectNear(cuda.losses, cpu.losses);
    expectNear(cuda.state, cpu.state);
  });

  it("skips updates and moves the scale of the loss at precision f16 as the CPU does", async () => {
    const { cpu, cuda } = await onBoth(() => {
      const run = start(3, { precision: "f16", lossScale: { initial: 2 ** 24 } });
      const losses = Array.from({ length: 14 }, () => run.update());
      expect(run.explain()).toMatch(/matmul .* f16×2 f32 → f32/);
      const { step, lossScale } = run.optimizer;
      const moved = scope(() => [step.value.itemSync(), lossScale?.value.itemSync()]);
      run.dispose();
      return { losses, moved };
    });
    expect(cpu.moved[0]).toBeGreaterThan(0);
    expect(cpu.moved[0]).toBeLessThan(14);
    expect(cpu.moved[1]).toBe(2 ** (24 - (14 - (cpu.moved[0] as number))));
    expect(cuda.moved).toEqual(cpu.moved);
    // A factor may be rounded to the other neighbour in f16.
    cuda.losses.forEach((loss, i) => {
      expect(Math.abs(loss / (cpu.losses[i] as number) - 1)).toBeLessThan(2 ** -9);
    });
  });

  it.each([
    ["highest", undefined],
    ["f16", { initial: 2 ** 18, growthInterval: 2 }],
  ] as const)(
    "at precision %s goes on from a checkpoint with the bits of a run that was not stopped",
    async (precision, lossScale) => {
      const file = path.join(folder, `gpu-${precision}.safetensors`);
      await withDevice("cuda", async () => {
        const whole = start(3, { precision, lossScale });
        for (let i = 0; i < 2; i++) whole.update();
        await saveCheckpoint(file, whole.parts);
        const rest = [whole.update(), whole.update()];
        const other = start(99, { precision, lossScale });
        await loadCheckpoint(file, other.parts);
        expect([other.update(), other.update()]).toEqual(rest);
        expect(await bitsOf(other)).toEqual(await bitsOf(whole));
        for (const run of [whole, other]) run.dispose();
      });
    },
  );

  it("goes on with a checkpoint of the other device, with other rounding", async () => {
    const file = path.join(folder, "moved.safetensors");
    const { cuda, cpu } = await onBoth(async () => {
      const run = start();
      const first = run.update();
      await saveCheckpoint(file, run.parts);
      run.dispose();
      const { cpu: onCpu, cuda: onGpu } = await onBoth(async () => {
        const other = start(99);
        await loadCheckpoint(file, other.parts);
        const next = other.update();
        other.dispose();
        return next;
      });
      return [first, onCpu, onGpu];
    });
    expectNear(cuda, cpu);
    expectNear([cpu[2] as number], [cpu[1] as number]);
  });

  it("follows a module that is moved: optimiser and streams come along", () => {
    withDevice("cpu", () => {
      const run = start();
      run.update();
      run.model.to("cuda");
      expect(run.model.device).toBe("cuda:0");
      expect(() => run.update()).toThrow(DeviceError);
      run.dispose();

      const random = rng(1);
      const model = new Sequential(new Linear(2, 4), new Linear(4, 1)).init(random);
      const optimizer = new AdamW(model, { lr: 1e-2 });
      const loss = (x: Tensor): Tensor => model.forward(x).square().mean();
      scope(() => void optimizer.minimize(() => loss(random.normal([4, 2]))));
      model.to("cuda");
      random.to("cuda");
      const ema = new EMA(model, { decay: 0.9 });
      scope(() => {
        optimizer.minimize(() => loss(random.normal([4, 2])));
        ema.update();
        expect(optimizer.step.device).toBe("cuda:0");
        expect([ema.model.device, ema.updates.device]).toEqual(["cuda:0", "cuda:0"]);
        expect(optimizer.step.value.itemSync()).toBe(2);
      });
      for (const owner of [ema, optimizer, model, random]) owner.dispose();
    });
  });
});
