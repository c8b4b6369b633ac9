// Normalisations, softmax, losses, reductions, running sums and biasAct on the GPU beyond the samples of their definitions:
// shapes of networks, primes, one row, one channel, rows of every kernel's length, large means, formats that differ.

import { loadBinding } from "@figment/native";
import { assertNoLeaks, type DType, isFloat, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { definedOps, type OpDef, type Sample, type SampleInput } from "#ops/definition";
import { onDevice } from "#runtime/device";
import { runNode } from "#runtime/eager";
import type { Shape } from "#shape";
import { cudaDevice, triedVariants } from "./support/cuda.ts";
import { Draws } from "./support/draws.ts";
import { distance, expectedAt, kernelOf } from "./support/parity.ts";
import { drawPoint, type Point, tensorsAt, titleOf } from "./support/points.ts";

const seed = 733;
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
console.info(`CUDA norms: seed ${seed}`);

/** Of an output's norm, and of its largest element. */
const tolerance = { f32: [1e-5, 2e-5], f64: [1e-12, 1e-11], bf16: [1e-2, 2e-2], f16: [2e-3, 4e-3] } as const;
type Float = keyof typeof tolerance;

/** Uniform numbers whose mean is a thousand and whose standard deviation is one. */
const far = [1000 - Math.sqrt(3), 1000 + Math.sqrt(3)] as const;
/** Not about zero: of many numbers about zero the mean is no larger than rounding errors. */
const aside = [-1, 3] as const;
type Range = readonly [number, number];
type Attrs = Readonly<Record<string, unknown>>;

const defOf = (name: string): OpDef => definedOps().find((def) => def.name === name) as OpDef;

/** A sample of one of the norms, its hints computed to fit. */
function normSample(op: string, shape: Shape, attrs: Attrs, { range }: { range?: Range } = {}) {
  const def = defOf(op);
  const gradient = op.endsWith("Grad");
  const channels = op.startsWith("rmsNorm") || op === "layerNormGrad" ? 1 : 2;
  const forward = defOf(gradient ? op.slice(0, -"Grad".length) : op);
  const primals: SampleInput[] = [
    { shape, ...(range && { range }) },
    ...Array.from({ length: channels }, (): SampleInput => ({ shape: [shape.at(-1) as number] })),
  ];
  if (!gradient) return { def, sample: { inputs: primals, attrs } as Sample };
  const { name } = forward;
  const statistics =
    name === "groupNorm"
      ? [shape[0] as number, (attrs as { groups: number }).groups]
      : name === "batchNorm"
        ? shape.slice(-1)
        : shape.slice(0, -1);
  const zeros = (of: Tensor): Tensor => tensor(new Float64Array(of.shape[0] as number), { dtype: of.dtype });
  const residuals = Array.from(
    { length: name === "rmsNorm" ? 1 : 2 },
    (_, i): SampleInput => ({
      shape: statistics,
      derive: (xs) => {
        const beta = name === "layerNorm" ? [zeros(xs[1] as Tensor)] : [];
        return runNode(forward, [...xs.slice(0, 1 + channels), ...beta], attrs)[i + 1] as Tensor;
      },
    }),
  );
  return { def, sample: { inputs: [...primals, ...residuals, { shape }], attrs } as Sample };
}

const linear = { activation: "linear", slope: 0, eps: 1e-5 };
const silu = { ...linear, activation: "silu" };
const relu = { ...linear, activation: "relu" };
const leaky = { ...linear, activation: "leakyRelu", slope: 0.2 };
const group = (groups: number, attrs: Attrs) => ({ groups, ...attrs });
const eps = { eps: 1e-5 };
const groupShapes: readonly (readonly [Shape, Attrs, { range?: Range }?])[] = [
  [[1, 64, 64, 320], group(32, silu), { range: aside }],
  [[2, 32, 32, 128], group(32, silu)],
  [[3, 17, 19, 40], group(4, relu)],
  [[2, 1, 2048], group(32, linear)],
  [[1, 3, 4160], group(2, silu)],
  [[1, 1, 64], group(64, linear)],
  [[5, 7, 1], group(1, silu)],
  [[2, 31, 37], group(37, linear)],
  [[2, 23, 29, 24], group(3, silu), { range: far }],
  [[2, 16, 16, 64], group(8, silu), { range: far }],
  [[40, 5, 16], group(2, silu)],
  [[3, 4, 4, 128], group(32, silu)],
  [[2, 7, 60], group(6, leaky), { range: aside }],
  [[1, 1031, 48], group(4, linear), { range: far }],
  [[1, 1031, 64], group(4, silu)],
  [[2, 8, 8, 320], group(4, silu)],
  [[1, 13, 3, 512], group(32, linear)],
];
const rowShapes: readonly (readonly [Shape, { range?: Range }?])[] = [
  [[7, 32]],
  [[33, 320]],
  [[5, 768], { range: far }],
  [[9, 1024]],
  [[2, 4096]],
  [[1, 8192]],
  [[1, 8207]],
  [[3, 17]],
  [[4, 1031], { range: far }],
  [[5, 1]],
  [[130, 8]],
];
const batchShapes: readonly (readonly [Shape, Attrs, { range?: Range }?])[] = [
  [[4, 16, 16, 64], relu],
  [[1, 128], linear],
  [[1009, 13], leaky],
  [[301, 32], linear, { range: far }],
  [[997, 1], silu],
  [[2, 23, 29, 24], leaky],
  [[2003, 8], silu, { range: far }],
];

/**
 * Gradients take the mean as f32 holds it, too coarse for a far one: the specification has it in f64. Of a row of one element
 * nothing but rounding errors is left.
 */
const isFair = (op: string, shape: Shape, how?: { range?: Range }): boolean =>
  !op.endsWith("Grad") || (how?.range !== far && !(op === "rmsNormGrad" && shape.at(-1) === 1));

const cases = [
  ...["groupNorm", "groupNormGrad"].flatMap((op) =>
    groupShapes
      .filter(([shape, , how]) => isFair(op, shape, how))
      .map(([shape, attrs, how]) => normSample(op, shape, attrs, how)),
  ),
  ...["layerNorm", "layerNormGrad", "rmsNorm", "rmsNormGrad"].flatMap((op) =>
    rowShapes.filter(([shape, how]) => isFair(op, shape, how)).map(([shape, how]) => normSample(op, shape, eps, how)),
  ),
  ...["batchNorm", "batchNormGrad"].flatMap((op) =>
    batchShapes
      .filter(([shape, , how]) => isFair(op, shape, how))
      .map(([shape, attrs, how]) => normSample(op, shape, attrs, how)),
  ),
];

const plainSample = (op: string, inputs: readonly SampleInput[], attrs: Attrs = {}) => ({
  def: defOf(op),
  sample: { inputs, attrs } as Sample,
});
const reduced: readonly (readonly [Shape, readonly number[]])[] = [
  [[100003], [0]],
  [[3, 20000], [1]],
  [[40, 512], [1]],
  [[7, 513], [1]],
  [[20000, 3], [0]],
  [[4096, 64], [0]],
  [[301, 37], [0]],
  [
    [2, 61, 53, 8],
    [1, 2],
  ],
  [
    [5, 67, 9, 12],
    [0, 2],
  ],
  [
    [6, 11, 1028],
    [0, 2],
  ],
  [[9, 5, 2056], [0]],
  [[128, 400], [0]],
  [[9001, 40], [0]],
  [[2, 1027, 256], [1]],
];
const rowsOf = (op: string) =>
  rowShapes.map(([shape, { range = [-8, 8] as const } = {}]) => {
    const result: SampleInput = { shape, range: op === "softmaxGrad" ? [0, 1] : [-4, 0] };
    return plainSample(op, op.endsWith("Grad") ? [result, { shape }] : [{ shape, range }]);
  });
const lossSample = (op: string, [rows, cols]: readonly [number, number]) => {
  const logits: SampleInput = { shape: [rows, cols], range: [-8, 8] };
  const labels: SampleInput = { shape: [rows], dtype: "i32", range: [0, cols] };
  const lse: SampleInput = {
    shape: [rows],
    derive: (xs) => runNode(defOf("crossEntropy"), xs.slice(0, 2), {})[1] as Tensor,
  };
  return plainSample(op, op.endsWith("Grad") ? [logits, labels, lse, { shape: [rows] }] : [logits, labels]);
};
const losses = [
  [3, 50257],
  [5, 1024],
  [37, 1025],
  [2, 4100],
  [9, 1],
] as const;
const activations = ["linear", "relu", "leakyRelu", "silu", "gelu", "tanh", "sigmoid"] as const;
const biased: readonly Shape[] = [
  [2, 17, 19, 40],
  [1031, 7],
  [1, 2052],
];
const others = [
  ...["softmax", "logSoftmax", "softmaxGrad", "logSoftmaxGrad"].flatMap(rowsOf),
  ...["crossEntropy", "crossEntropyGrad"].flatMap((op) => losses.map((shape) => lossSample(op, shape))),
  ...["sum", "max", "min"].flatMap((op) =>
    reduced.map(([shape, axes]) => plainSample(op, [{ shape, range: [-0.5, 1] }], { axes })),
  ),
  ...["argmax", "argmin"].flatMap((op) =>
    [
      [3, 5000],
      [70, 33],
      [2, 1024],
      [1, 1025],
    ].map((shape) => plainSample(op, [{ shape, dtype: "i32", range: [0, 900] }], { axis: 1 })),
  ),
  ...[false, true].flatMap((reverse) =>
    [
      [2, 5003],
      [40, 32],
      [3, 1024],
      [2, 1025],
    ].map((shape, i) => plainSample("cumsum", [{ shape }], { axis: 1, exclusive: i % 2 === 0, reverse })),
  ),
  ...["biasAct", "biasActGrad"].flatMap((op) =>
    activations.flatMap((activation) =>
      biased.slice(0, activation === "silu" ? biased.length : 1).map((shape, i) =>
        plainSample(op, [{ shape }, { shape: [shape.at(-1) as number] }, ...(op.endsWith("Grad") ? [{ shape }] : [])], {
          activation,
          slope: 0.2,
          gain: Math.SQRT2,
          limit: i === 0 ? 1.5 : -1,
        }),
      ),
    ),
  ),
];

const only = process.env.FIGMENT_TEST_OPS?.split(",");
/** Without it a sample in every format meets f32 and, in turn, one of 16 bits. */
const thorough = process.env.FIGMENT_TEST_ALL === "1" || process.env.FIGMENT_TEST_CUDA === "1";
const formatsOf = ({ inputs }: Sample): Float[] => {
  if (inputs.some(({ dtype }) => dtype && isFloat(dtype))) return ["bf16"];
  return inputs.some(({ range }) => range === far) ? ["f32"] : ["f32", "bf16", "f16", "f64"];
};

/** The point with floats as the formats hold them. */
const rounded = (sample: Sample, point: Point, float: DType): Point =>
  scope(() =>
    point.map((x, k) => {
      const { dtype = float, shape } = sample.inputs[k] as SampleInput;
      return x === null || !isFloat(dtype) ? x : Float64Array.from(tensor(x, { shape, dtype }).dataSync());
    }),
  );

/** The same sample in f64 throughout. */
const wide = ({ inputs, attrs }: Sample): Sample => ({
  inputs: inputs.map(({ dtype, ...rest }) => (dtype && !isFloat(dtype) ? { dtype, ...rest } : rest)),
  attrs,
});

function check(def: OpDef, sample: Sample, variant: string, float: Float): void {
  const point = rounded(sample, drawPoint(sample, new Draws(seed)), float);
  const expected = expectedAt(def, wide(sample), point);
  const found = scope(() => {
    const prepared = tensorsAt(sample, point, float).map((x) => ({
      shape: x.shape,
      dtype: x.dtype,
      data: x.dataSync(),
    }));
    return onDevice(index, () =>
      runNode(
        def,
        prepared.map(({ data, ...rest }): Tensor => tensor(data, rest)),
        sample.attrs,
        { variant },
      ).map((x) => x.dataSync()),
    );
  });
  const [ofNorm, ofLargest] = tolerance[float];
  found.forEach((data, k) => {
    const want = expected[k] as ArrayLike<number>;
    const about = `output ${k} of ${variant}`;
    expect(data.length, about).toBe(want.length);
    let largest = 0;
    for (let at = 0; at < want.length; at++) largest = Math.max(largest, Math.abs(want[at] as number));
    // Where only zeros are right (gradients of a single row), terms of the size of 1/√ε cancel.
    const off = distance(data, want, () => ofLargest * (largest || 1 / Math.sqrt(1e-5)));
    expect(off.notFinite, `${about}: NaN or infinite elements`).toBe(0);
    if (largest > 0) expect(off.relative, `${about}: error relative to the norm`).toBeLessThanOrEqual(ofNorm);
    expect(off.worst, `${about}: worst element, in units of its bound`).toBeLessThanOrEqual(1);
  });
}

describe.skipIf(device.index === undefined)("on the GPU", () => {
  const variants = (kernel: string) =>
    device.index === undefined ? [] : triedVariants(kernel, index).filter((name) => name !== "plain");
  for (const [i, { def, sample }] of [...cases, ...others].entries()) {
    const kernel = kernelOf(def, sample) as string;
    if (only && !only.includes(kernel)) continue;
    const titled = variants(kernel).flatMap((variant) =>
      formatsOf(sample)
        .filter((float, k, all) => float !== "f64" && (thorough || all.length === 1 || k !== 1 + (i % 2)))
        .map((float) => [variant, float] as const),
    );
    it.each(titled)(`${def.name} on the kernel %s in %s at ${titleOf(sample)}`, (variant, float) =>
      check(def, sample, variant, float),
    );
  }

  const losing = only === undefined || only.includes("crossEntropy") ? ["plain", ...variants("crossEntropy")] : [];
  it.each(losing)("crossEntropy on the kernel %s names the first label that is out of range", (variant) => {
    const labels = new Int32Array(40).fill(3);
    labels[17] = 12;
    labels[31] = -1;
    const run = () =>
      scope(() =>
        onDevice(index, () =>
          runNode(
            defOf("crossEntropy"),
            [tensor(new Float32Array(480), { shape: [40, 12] }), tensor(labels, { shape: [40], dtype: "i32" })],
            {},
            { variant },
          )[0]?.dataSync(),
        ),
      );
    expect(run).toThrow("crossEntropy: label 12 at row 17 is outside [0, 12)");
  });
});
