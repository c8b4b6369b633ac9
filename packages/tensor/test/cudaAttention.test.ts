// Attention and its gradient on the GPU beyond the samples of their definitions: tails of every tile, head sizes that are
// padded, key lengths, causal order, formats that differ, and what the kernels promise besides their results.

import { loadBinding, profileEvents } from "@figment/native";
import { assertNoLeaks, type DType, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AttentionAttrs, attentionDef, attentionGradDef } from "#ops/attention";
import type { OpDef, Sample, SampleInput } from "#ops/definition";
import { onDevice } from "#runtime/device";
import { runNode } from "#runtime/eager";
import { cudaDevice, triedVariants } from "./support/cuda.ts";
import { Draws } from "./support/draws.ts";
import { distance, expectedAt } from "./support/parity.ts";
import { drawPoint, type Point, tensorsAt } from "./support/points.ts";

const seed = 977;
const binding = loadBinding();
const device = cudaDevice();
const index = device.index ?? 0;

beforeAll(() => {
  if (device.index !== undefined) binding.setPoison(true, index);
});
afterAll(() => {
  if (device.index !== undefined) binding.setPoison(false, index);
  assertNoLeaks();
});
console.info(`CUDA attention: seed ${seed}`);

const formats = ["f32", "bf16", "f16", "f64"] as const;
type Float = (typeof formats)[number];
/** Of an output's norm, and of its largest element. */
const tolerance = { f32: [1e-5, 2e-5], f64: [1e-12, 1e-11], bf16: [1e-2, 2e-2], f16: [2e-3, 4e-3] } as const;

interface Case {
  readonly b?: number;
  readonly sq: number;
  readonly sk: number;
  readonly h?: number;
  readonly d: number;
  readonly causal?: boolean;
  readonly scale?: number;
  readonly lengths?: readonly number[];
  readonly result?: DType | undefined;
}

const attrsOf = ({ d, causal = false, scale = 1 / Math.sqrt(d), result }: Case): AttentionAttrs => ({
  causal,
  scale,
  ...(result && { result }),
});
const operandsOf = ({ b = 1, sq, sk, h = 1, d }: Case): SampleInput[] => [
  { shape: [b, sq, h, d] },
  { shape: [b, sk, h, d] },
  { shape: [b, sk, h, d] },
];
const lengthsOf = ({ lengths }: Case): SampleInput[] =>
  lengths
    ? [{ shape: [lengths.length], dtype: "i32", derive: () => tensor(Int32Array.from(lengths), { dtype: "i32" }) }]
    : [];

const forwardSample = (item: Case): Sample<AttentionAttrs> => ({
  inputs: [...operandsOf(item), ...lengthsOf(item)],
  attrs: attrsOf(item),
});
function gradSample(item: Case): Sample<AttentionAttrs> {
  const { b = 1, sq, h = 1, d, lengths } = item;
  const residual = (shape: readonly number[], output: number): SampleInput => ({
    shape,
    derive: (inputs) => {
      const given = lengths ? [tensor(Int32Array.from(lengths), { dtype: "i32" })] : [];
      const attrs = attrsOf(inputs[0]?.dtype === "f64" ? { ...item, result: undefined } : item);
      return runNode(attentionDef as OpDef, [...inputs.slice(0, 3), ...given], attrs)[output] as Tensor;
    },
  });
  return {
    inputs: [
      ...operandsOf(item),
      residual([b, sq, h, d], 0),
      residual([b, h, sq], 1),
      { shape: [b, sq, h, d] },
      ...lengthsOf(item),
    ],
    attrs: attrsOf(item),
  };
}

/** The op on the GPU, with inputs that were prepared on the CPU. */
function onGpu(def: OpDef<AttentionAttrs>, inputs: () => Tensor[], attrs: AttentionAttrs, variant?: string) {
  return scope(() => {
    const prepared = inputs().map((x) => ({ shape: x.shape, dtype: x.dtype, data: x.dataSync() }));
    return onDevice(index, () =>
      runNode(
        def as OpDef,
        prepared.map(({ data, shape, dtype }): Tensor => tensor(data, { shape, dtype })),
        attrs,
        variant === undefined ? {} : { variant },
      ).map((x) => x.dataSync()),
    );
  });
}

/** The point as the format holds it. */
const rounded = (sample: Sample, point: Point, float: DType): Point =>
  scope(() =>
    point.map((x, k) =>
      x ? Float64Array.from(tensor(x, { shape: sample.inputs[k]?.shape ?? [], dtype: float }).dataSync()) : null,
    ),
  );

function check(def: OpDef<AttentionAttrs>, sample: Sample<AttentionAttrs>, variant: string, float: Float): void {
  const point = rounded(sample as Sample, drawPoint(sample as Sample, new Draws(seed)), float);
  const expected = expectedAt(
    def as OpDef,
    { ...sample, attrs: { ...sample.attrs, result: undefined } } as Sample,
    point,
  );
  const [norm, element] = tolerance[float];
  onGpu(def, () => tensorsAt(sample as Sample, point, float), sample.attrs, variant).forEach((data, k) => {
    const want = expected[k] as ArrayLike<number>;
    const about = `output ${k} of ${variant}`;
    expect(data.length, about).toBe(want.length);
    let largest = 0;
    for (let at = 0; at < want.length; at++)
      if (Number.isFinite(want[at])) largest = Math.max(largest, Math.abs(want[at] as number));
    // Derivatives by the scores of a single key are zero: the terms that cancel are about 1.
    const off = distance(data, want, () => element * (largest || 1));
    expect(off.notFinite, `${about}: NaN or infinite elements`).toBe(0);
    if (largest > 0) expect(off.relative, `${about}: error relative to the norm`).toBeLessThanOrEqual(norm);
    expect(off.worst, `${about}: worst element, in units of its bound`).toBeLessThanOrEqual(1);
  });
}

const cases: readonly Case[] = [
  { sq: 1, sk: 1, d: 8 },
  { sq: 64, sk: 77, h: 2, d: 40 },
  { sq: 61, sk: 67, h: 2, d: 80 },
  { sq: 64, sk: 64, d: 64 },
  { sq: 65, sk: 129, d: 64 },
  { sq: 31, sk: 65, h: 3, d: 128 },
  { sq: 17, sk: 37, h: 2, d: 160 },
  { sq: 13, sk: 33, d: 96 },
  { sq: 7, sk: 71, d: 24 },
  { sq: 5, sk: 19, d: 200 },
  { b: 2, sq: 40, sk: 72, d: 256 },
  { b: 2, sq: 19, sk: 45, h: 3, d: 232, causal: true },
  { b: 3, sq: 33, sk: 70, h: 2, d: 20, causal: true },
  { b: 5, sq: 9, sk: 21, h: 2, d: 168, scale: -0.1 },
  { b: 2, sq: 5, sk: 13, h: 2, d: 320 },
  { b: 2, sq: 3, sk: 600, d: 248, lengths: [450, 600] },
  { sq: 130, sk: 130, h: 4, d: 40, causal: true },
  { sq: 130, sk: 131, h: 4, d: 64, causal: true },
  { sq: 67, sk: 150, h: 2, d: 32, causal: true },
  { sq: 40, sk: 83, d: 128, causal: true },
  { sq: 35, sk: 70, d: 160, causal: true },
  { sq: 1, sk: 700, h: 2, d: 64 },
  { sq: 300, sk: 70, d: 40 },
  { b: 3, sq: 3, sk: 300, d: 160, causal: true, lengths: [0, 5, 290] },
  { b: 4, sq: 30, sk: 67, d: 64, lengths: [0, 1, 65, 80] },
  { b: 4, sq: 66, sk: 67, d: 40, causal: true, lengths: [-3, 20, 64, 67] },
  { sq: 20, sk: 30, h: 2, d: 64, scale: -0.2 },
  { sq: 20, sk: 30, h: 2, d: 64, scale: 0.5 },
  { sq: 9, sk: 20, d: 16, scale: 0 },
];
const titleOf = ({ b = 1, sq, sk, h = 1, d, causal, scale, lengths }: Case): string =>
  `b ${b} sq ${sq} sk ${sk} h ${h} d ${d}` +
  (causal ? " causal" : "") +
  (scale === undefined ? "" : ` scale ${scale}`) +
  (lengths ? ` lengths ${lengths.join(",")}` : "");
/** Every case in every format: minutes on the emulator, where otherwise a case has one of the formats in turn. */
const thorough = process.env.FIGMENT_TEST_ALL === "1" || process.env.FIGMENT_TEST_CUDA === "1";
/** The cases that a kernel runs; the plain one, which is slow on the emulator, only small ones. */
const casesOf = (variant: string) =>
  cases
    .filter(({ b = 1, sq, sk, h = 1, d }) => variant !== "plain" || b * h * sq * sk * d < 4e5)
    .flatMap((item, i) =>
      formats
        .filter((float) => variant === "plain" || float !== "f64")
        .filter((float) => !/mma/.test(variant) || float !== "f32")
        .filter(() => !/flash-|wgmma/.test(variant) || item.d % 8 === 0)
        .filter((_, k, all) => thorough || k === i % all.length)
        .map((float) => [float, titleOf(item), item] as const),
    );

const variantsOf = (op: string): string[] => (device.index === undefined ? [] : triedVariants(op, index));

/** The kernels that run an op. */
function ranIn(def: OpDef<AttentionAttrs>, sample: Sample<AttentionAttrs>, float: Float): string[] {
  const point = drawPoint(sample as Sample, new Draws(seed));
  binding.settleSync();
  const before = binding.readProfile(Number.MAX_SAFE_INTEGER, index).first;
  binding.profile(true);
  try {
    onGpu(def, () => tensorsAt(sample as Sample, point, float), sample.attrs);
    binding.settleSync();
    return profileEvents(binding.readProfile(before, index)).map(({ variant }) => variant);
  } finally {
    binding.profile(false);
  }
}

describe.skipIf(device.index === undefined)("the kernels chosen for attention", () => {
  const products = variantsOf("attention").includes("products-wgmma") ? "products-wgmma" : "products-mma";
  it.each([
    ["flash-mma", "bf16", { sq: 70, sk: 70, d: 40 }],
    ["flash-mma", "f16", { sq: 70, sk: 70, d: 160 }],
    ["flash-mma", "bf16", { sq: 70, sk: 70, d: 256 }],
    ["flash-mma-parts", "bf16", { sq: 1, sk: 700, d: 64 }],
    ["flash", "f32", { sq: 70, sk: 70, d: 40 }],
    ["flash", "bf16", { sq: 9, sk: 9, d: 17 }],
    ["plain", "f64", { sq: 9, sk: 9, d: 16 }],
    ["products", "f32", { b: 16, sq: 33, sk: 33, d: 256 }],
    ["products", "f32", { sq: 2, sk: 3, d: 300 }],
    ["products-mma", "bf16", { sq: 2, sk: 3, d: 304 }],
    [products, "bf16", { b: 16, sq: 33, sk: 33, d: 304 }],
    ["plain", "f32", { sq: 2, sk: 3, d: 300, lengths: [2] }],
  ] as const)("are %s in %s for %j", (variant, float, item) => {
    expect(ranIn(attentionDef, forwardSample(item), float)).toContain(variant);
  });
  it.each([
    ["flash-mma", "bf16", { sq: 70, sk: 70, d: 40 }],
    ["flash", "f32", { sq: 9, sk: 9, d: 40 }],
    ["products", "f32", { b: 16, sq: 33, sk: 33, d: 256 }],
    [products, "bf16", { b: 16, sq: 33, sk: 33, d: 256 }],
    ["plain", "f64", { sq: 9, sk: 9, d: 16 }],
  ] as const)("of its gradient are %s in %s for %j", (variant, float, item) => {
    expect(ranIn(attentionGradDef, gradSample(item), float)).toContain(variant);
  });
});

describe.skipIf(device.index === undefined)("attention on the GPU", () => {
  describe.each(variantsOf("attention"))("on the kernel %s", (variant) => {
    it.each(casesOf(variant))("gives in %s what is specified: %s", (float, _title, item) =>
      check(attentionDef, forwardSample(item), variant, float),
    );
    it.each(["bf16", "f16"] as const)("keeps results of %s operands in f32", (float) =>
      check(attentionDef, forwardSample({ sq: 33, sk: 40, h: 2, d: 40, result: "f32" }), variant, float),
    );
    it.each(["f32", "bf16"] as const)("reads nothing of keys that do not count, in %s", (float) => {
      const item: Case = { sq: 6, sk: 70, h: 2, d: 16, lengths: [37] };
      const [q, k, v] = drawPoint(forwardSample(item) as Sample, new Draws(seed)) as Float64Array[];
      const inputs = (unseen: number) => () =>
        [q, k, v].map((x, i) =>
          tensor(x?.map((value, at) => (i > 0 && at >= 37 * 32 ? unseen : value)) as Float64Array, {
            shape: [1, i === 0 ? 6 : 70, 2, 16],
            dtype: float,
          }),
        );
      const run = (unseen: number) =>
        onGpu(
          attentionDef,
          () => [...inputs(unseen)(), tensor(Int32Array.of(37), { dtype: "i32" })],
          attrsOf(item),
          variant,
        );
      expect(run(Number.NaN)).toEqual(run(0));
    });
    it.each(["f32", "bf16"] as const)("lets no query see NaN in later keys by causal order, in %s", (float) => {
      const item: Case = { sq: 70, sk: 70, d: 16, causal: true };
      const point = drawPoint(forwardSample(item) as Sample, new Draws(seed)) as Float64Array[];
      const seen = 37 * 16;
      const run = (later: number) => {
        const [q, k, v] = point.map((x, i) => x.map((value, at) => (i === 1 && at >= seen ? later : value)));
        const shape = [1, 70, 1, 16];
        const inputs = () => [q, k, v].map((x) => tensor(x as Float64Array, { shape, dtype: float }));
        return onGpu(attentionDef, inputs, attrsOf(item), variant)[0]?.slice(0, seen);
      };
      expect(run(Number.NaN)).toEqual(run(0));
    });
    it.each(["f32", "bf16"] as const)("gives a head the same bits alone and among others, in %s", (float) => {
      const many: Case = { b: 6, sq: 150, sk: 90, d: 40 };
      const point = drawPoint(forwardSample(many) as Sample, new Draws(seed)) as Float64Array[];
      const run = (b: number) =>
        onGpu(
          attentionDef,
          () =>
            point.map((x, i) => {
              const s = i === 0 ? 150 : 90;
              return tensor(x.subarray(0, b * s * 40), { shape: [b, s, 1, 40], dtype: float });
            }),
          attrsOf(many),
          variant,
        );
      const [alone, together] = [run(1), run(6)];
      alone.forEach((data, k) => {
        expect(data).toEqual(together[k]?.slice(0, data.length));
      });
    });
  });
});

describe.skipIf(device.index === undefined)("keys in parts", () => {
  it.skipIf(!variantsOf("attention").includes("flash-mma-parts"))(
    "are weighed by the differences of large products",
    () => {
      // Products are 2²² and, in the second half, which is another part, 2²² + 1: as scores they are alike when rounded.
      const [sk, d] = [256, 8];
      const row = (first: number, second: number) => [first, second, ...new Array<number>(d - 2).fill(0)];
      const keys = Array.from({ length: sk }, (_, j) => row(2048, j < sk / 2 ? 0 : 1)).flat();
      const values = Array.from({ length: sk }, (_, j) => row(j < sk / 2 ? 0 : 1, 1)).flat();
      const inputs = () =>
        [row(2048, 1), keys, values].map((data) => tensor(data, { shape: [1, data.length / d, 1, d], dtype: "bf16" }));
      const [out] = onGpu(attentionDef, inputs, { causal: false, scale: 1, result: "f32" }, "flash-mma-parts");
      expect(out?.[0]).toBeCloseTo(Math.E / (1 + Math.E), 5);
      expect(out?.[1]).toBeCloseTo(1, 5);
    },
  );
});

describe.skipIf(device.index === undefined)("the gradient of attention on the GPU", () => {
  describe.each(variantsOf("attentionGrad"))("on the kernel %s", (variant) => {
    it.each(["f32", "bf16"] as const)("gives a query the same bits beside one of large scores, in %s", (float) => {
      const item: Case = { sq: 40, sk: 50, d: 64 };
      const sample = gradSample(item) as Sample;
      const point = drawPoint(sample, new Draws(seed));
      // Of the first query, whose log-sum-exp is that of its scores or tells by itself that they are large.
      const run = (size: number, logSumExp?: number) => {
        const inputs = () =>
          tensorsAt(sample, point, float).map((x, i) => {
            const data = Float64Array.from(x.dataSync());
            if (i === 0) data.set(data.subarray(0, 64).map((of) => of * size));
            if (i === 4 && logSumExp !== undefined) data[0] = logSumExp;
            return tensor(data, { shape: x.shape, dtype: x.dtype });
          });
        return onGpu(attentionGradDef, inputs, attrsOf(item), variant)[0]?.slice(64);
      };
      const alone = run(1);
      expect(run(1e4)).toEqual(alone);
      expect(run(1e4, 1e5)).toEqual(alone);
    });
    it.each(casesOf(variant))("gives in %s what is specified: %s", (float, _title, item) =>
      check(attentionGradDef, gradSample(item), variant, float),
    );
    it.each(["bf16", "f16"] as const)("keeps gradients of %s operands in f32", (float) =>
      check(attentionGradDef, gradSample({ sq: 33, sk: 40, h: 2, d: 40, result: "f32" }), variant, float),
    );
    it.each([0, 1])("keeps what is not finite in batch entry %i from the other one", (broken) => {
      const item: Case = { b: 2, sq: 37, sk: 45, d: 16 };
      const point = drawPoint(gradSample(item) as Sample, new Draws(seed));
      const run = (value: number) =>
        onGpu(
          attentionGradDef,
          () =>
            tensorsAt(gradSample(item) as Sample, point, "bf16").map((x) => {
              const data = Float32Array.from(x.dataSync() as Float32Array);
              const half = data.length / 2;
              return tensor(
                data.map((old, at) => (Math.floor(at / half) === broken ? value : old)),
                { shape: x.shape, dtype: x.dtype },
              );
            }),
          attrsOf(item),
          variant,
        ).map((data) => data.slice(((1 - broken) * data.length) / 2, ((2 - broken) * data.length) / 2));
      expect(run(Number.NaN)).toEqual(run(0));
    });
  });
});
