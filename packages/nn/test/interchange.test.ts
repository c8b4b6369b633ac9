// Weights from and for PyTorch: a recorded model's own state dict, the model itself where PyTorch is at hand, and tables
// of foreign names.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { saveTensors } from "@figment/io";
import {
  BatchNorm,
  Conv2d,
  ConvTranspose2d,
  exportTorch,
  fromTorch,
  GroupNorm,
  InstanceNorm,
  importTorch,
  Linear,
  Module,
  MultiHeadAttention,
  Sequential,
  spectralNorm,
  type TorchRules,
  torchShapes,
} from "@figment/nn";
import { assertNoLeaks, CheckpointError, rng, scope, silu, type Tensor, tensor, zeros } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "./golden.js";

const recorded = goldenFile("interchange");
const random = rng(0);
const folder = mkdtempSync(join(tmpdir(), "figment-interchange-"));
afterAll(() => {
  random.dispose();
  rmSync(folder, { recursive: true });
  assertNoLeaks();
});

const flatten = (x: Tensor): Tensor => x.reshape([x.dim(0), x.size / x.dim(0)]);
const unflatten = (x: Tensor): Tensor => x.reshape([x.dim(0), 2, 3, 4]);

/** The model of golden/torch_model.py: its stages have the places that they have there. */
const makeModel = (): Sequential =>
  new Sequential(
    new Conv2d(3, 8, [3, 2], { padding: 1 }),
    new BatchNorm(8),
    silu,
    new Conv2d(8, 8, 3, { padding: 1, groups: 4, bias: false }),
    new GroupNorm(2, 8),
    spectralNorm(new Conv2d(8, 6, 3, { stride: 2, padding: 1 })),
    spectralNorm(new ConvTranspose2d(6, 4, [4, 3], { stride: 2, padding: 1 })),
    new ConvTranspose2d(4, 6, 3, { padding: 1, groups: 2 }),
    new InstanceNorm(6, { affine: true }),
    flatten,
    spectralNorm(new Linear(180, 16, { inputImage: [6, 5, 6] })),
    new BatchNorm(16),
    new Linear(16, 24, { outputImage: [2, 3, 4] }),
    unflatten,
  ).eval();

const theirWeights = (): Record<string, Tensor> =>
  Object.fromEntries(recorded.keys("weights").map((name) => [name, recorded.tensor(`weights/${name}`)]));

const imagesLast = { axes: [0, 2, 3, 1] };
const imagesFirst = { axes: [0, 3, 1, 2] };
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.hypot(...Array.from(a, (x, i) => x - (b[i] as number))) / Math.hypot(...Array.from(b));

/** What keeps PyTorch from being used here, or null. */
const noTorch = ((): string | null => {
  const { status, error, stderr } = spawnSync("python3", ["-c", "import torch"], { encoding: "utf8" });
  return status === 0 ? null : (error?.message ?? stderr.trim().split("\n").at(-1) ?? "python3 failed");
})();

describe("a recorded PyTorch model", () => {
  it("was recorded by the script beside it, from PyTorch 2", () => {
    expect(recorded.metadata.script_sha256).toBe(recorded.scriptHash());
    expect(recorded.metadata.torch).toMatch(/^2\./);
  });

  it("gives the same images here, and its weights come back bit for bit", () => {
    const model = makeModel();
    scope(() => {
      const theirs = theirWeights();
      importTorch(model, theirs);
      const y = model.forward(fromTorch(recorded.tensor("x"), imagesFirst, [2, 6, 5, 3]));
      recorded.expect(y.transpose([0, 3, 1, 2]), "y");
      const back = exportTorch(model);
      expect(Object.keys(back).sort()).toEqual(Object.keys(theirs).sort());
      for (const [name, weight] of Object.entries(theirs)) {
        expect(back[name]?.shape, name).toEqual(weight.shape);
        expect(back[name]?.dataSync(), name).toEqual(weight.dataSync());
      }
      expect(torchShapes(model)).toEqual(
        Object.fromEntries(Object.entries(back).map(([name, { shape }]) => [name, shape])),
      );
    });
    model.dispose();
  });

  it.skipIf(noTorch !== null)(
    `loads what we export, strictly, and gives the same images${noTorch ? ` (${noTorch})` : ""}`,
    async () => {
      const model = makeModel().init(random);
      const [weights, output] = ["weights.safetensors", "output.safetensors"].map((name) => join(folder, name)) as [
        string,
        string,
      ];
      const exported = exportTorch(model);
      await saveTensors(weights, exported);
      const script = new URL("./golden/torch_model.py", import.meta.url).pathname;
      const { status, stderr } = spawnSync("python3", ["-B", script, weights, output], { encoding: "utf8" });
      expect(status, stderr).toBe(0);
      scope(() => {
        const x = recorded.tensor("x").transpose(imagesLast.axes);
        const ours = model.forward(x).transpose(imagesFirst.axes).dataSync();
        const bytes = readFileSync(output);
        const data = bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
        const theirs = new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
        expect(theirs.length).toBe(ours.length);
        expect(distance(ours, theirs)).toBeLessThan(1e-5);
      });
      for (const owner of [model, ...Object.values(exported)]) owner.dispose();
    },
  );
});

describe("tables of foreign names", () => {
  const rules: TorchRules = {
    "main.{i}.weight_g": null,
    "main.{i}": "{i}",
  };

  it("are read in both directions", () => {
    const model = new Sequential(new Conv2d(2, 3, 1), new Linear(3, 4));
    scope(() => {
      importTorch(
        model,
        {
          "main.0.weight": zeros([3, 2, 1, 1]),
          "main.0.weight_g": zeros([7]),
          "main.0.bias": zeros([3]),
          "main.1.weight": tensor(
            new Float32Array(12).map((_, i) => i),
            { shape: [4, 3] },
          ),
          "main.1.bias": zeros([4]),
        },
        { rules },
      );
      expect(model.stateDict()["stages.1.weight"]?.value.at(2).dataSync()).toEqual(new Float32Array([6, 7, 8]));
      expect(Object.keys(exportTorch(model, { rules }))).toEqual([
        "main.0.weight",
        "main.0.bias",
        "main.1.weight",
        "main.1.bias",
      ]);
    });
    model.dispose();
  });

  it("match parts of names, and parts with dots", () => {
    class Nest extends Module {
      readonly a = { b: [new Linear(1, 1, { bias: false })] };
    }
    const model = new Nest();
    const deep: TorchRules = { "deep.{path*}.tail.block{k}.weight": "{path}.{k}.weight" };
    expect(torchShapes(model, { rules: deep })).toEqual({ "deep.a.b.tail.block0.weight": [1, 1] });
  });

  it("take queries, keys and values from one tensor, and join them again", () => {
    const model = new MultiHeadAttention(2, 1);
    const fused: TorchRules = {
      "in_proj_{kind}": ["query.{kind}", "key.{kind}", "value.{kind}"],
      out_proj: "output",
    };
    scope(() => {
      const theirs = {
        in_proj_weight: random.normal([6, 2]),
        in_proj_bias: random.normal([6]),
        "out_proj.weight": random.normal([2, 2]),
        "out_proj.bias": random.normal([2]),
      };
      importTorch(model, theirs, { rules: fused });
      expect(model.key.weight.value.dataSync()).toEqual(theirs.in_proj_weight.slice([2, 0], [2, 2]).dataSync());
      const back = exportTorch(model, { rules: fused });
      for (const [name, weight] of Object.entries(theirs))
        expect(back[name]?.dataSync(), name).toEqual(weight.dataSync());
    });
    model.dispose();
  });

  it("say which images a Linear lists when the model does not", () => {
    const [plain, informed] = [new Linear(6, 2), new Linear(6, 2, { inputImage: [1, 2, 3] })];
    scope(() => {
      const theirs = { weight: random.normal([2, 6]), bias: zeros([2]) };
      importTorch(informed, theirs);
      importTorch(plain, theirs, { rules: { weight: { to: "weight", inputImage: [1, 2, 3] } } });
      expect(plain.weight.value.dataSync()).toEqual(informed.weight.value.dataSync());
      expect(plain.weight.value.dataSync()).not.toEqual(theirs.weight.dataSync());
    });
    for (const owner of [plain, informed]) owner.dispose();
  });

  it("read the older names of spectral normalisation", () => {
    const model = spectralNorm(new Linear(3, 2));
    scope(() => {
      const theirs = { weight_orig: zeros([2, 3]), weight_u: zeros([2]), weight_v: zeros([3]), bias: zeros([2]) };
      expect(() => importTorch(model, theirs)).not.toThrow();
    });
    model.dispose();
  });
});

describe("weights that do not fit", () => {
  it("are listed all at once, and change nothing", () => {
    const model = new Sequential(new Conv2d(2, 3, 3), new BatchNorm(3)).init(random);
    scope(() => {
      const before = model.stateDict()["stages.0.bias"]?.value.dataSync();
      const theirs = {
        "0.weight": zeros([3, 3, 3, 2]),
        "0.bias": zeros([3]),
        "1.weight": zeros([3]),
        "1.running_mean": zeros([3]),
        "1.running_var": zeros([3]),
        "1.num_batches_tracked": zeros([]),
        "2.weight": zeros([4]),
      };
      const message = (): string => {
        try {
          importTorch(model, theirs);
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointError);
          return (error as Error).message;
        }
        return "nothing was thrown";
      };
      expect(message()).toContain("missing: 1.bias [3]");
      expect(message()).toContain("unexpected: 2.weight");
      expect(message()).toContain("mis-shaped: 0.weight: expected [3, 2, 3, 3], got [3, 3, 3, 2]");
      expect(model.stateDict()["stages.0.bias"]?.value.dataSync()).toEqual(before);
    });
    model.dispose();
  });

  it("are refused when two tensors claim one cell", () => {
    const model = new Linear(1, 1, { bias: false });
    scope(() => {
      const theirs = { weight: zeros([1, 1]), "old.weight": zeros([1, 1]) };
      expect(() => importTorch(model, theirs, { rules: { old: "" } })).toThrow(
        "given twice: weight: weight and old.weight",
      );
    });
  });

  it("name a Linear whose image has another size", () => {
    expect(() => new Linear(6, 2, { inputImage: [1, 2, 4] })).toThrow(
      "inputImage [1, 2, 4] has 8 elements, expected 6",
    );
  });
});
