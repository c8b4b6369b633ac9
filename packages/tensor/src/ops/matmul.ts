// Matrix products: batched, with either operand transposed, and with the epilogue that fusion passes may hand to the
// kernel. Bilinear, so its derivatives are matrix products again.

import { applyOne } from "../core/apply.js";
import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError } from "../errors.js";
import type { Aval, Node } from "../ir/graph.js";
import { broadcastShapes, type Shape, sameShape, showShape, sizeOf } from "../shape.js";
import { type Activation, activationCode, gelu } from "./activation.js";
import { mul } from "./arithmetic.js";
import { checkBoolean, checkOptions, checkTensor, expectProduct, factorsOf, precisionCode } from "./checks.js";
import { defineOp, type KernelCall, nativeSchema, type OpDef, type Sample, type VjpArgs } from "./definition.js";
import { unbroadcast } from "./elementwise.js";
import {
  type EpilogueAttrs,
  epilogueFields,
  epilogueOf,
  epilogueOperands,
  epilogueParams,
  expectEpilogue,
  expectOperands,
  finished,
  shifted,
} from "./epilogue.js";
import { gradientThrough } from "./fused.js";
import { broadcastTo, reshape } from "./movement.js";
import { split } from "./slicing.js";

const matmulSchema = nativeSchema("matmul", {
  batch: "i64",
  m: "i64",
  n: "i64",
  k: "i64",
  batchStrideA: "i64",
  batchStrideB: "i64",
  transA: "i32",
  transB: "i32",
  ...epilogueFields,
  activation: "i32",
  precision: "i32",
});

/** Which operands are transposed in their last two axes, and what is applied to the product. */
export type MatmulAttrs = EpilogueAttrs & {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** "geglu" makes u·gelu(v) of the halves (u, v) of each row (Shazeer 2020): half as many columns. */
  readonly activation: Activation | "geglu";
};

const activationCodes = { ...activationCode, geglu: 3 } as const;

/** Options of {@link matmul}. */
export interface MatmulOptions {
  /** Read a as [..., K, M]. Default false. */
  readonly transposeA?: boolean;
  /** Read b as [..., N, K]. Default false. */
  readonly transposeB?: boolean;
}

/** Extents of a product: batch dimensions of each operand and of the result, and m, n, k. */
function extents(a: Shape, b: Shape, { transposeA, transposeB }: MatmulAttrs) {
  if (a.length < 2 || b.length < 2) {
    throw new ShapeError(
      `matmul: operands must be [..., M, K] and [..., K, N], got ${showShape(a)} and ${showShape(b)}`,
    );
  }
  const [a0, a1] = a.slice(-2) as [number, number];
  const [b0, b1] = b.slice(-2) as [number, number];
  const [m, k] = transposeA ? [a1, a0] : [a0, a1];
  const [kb, n] = transposeB ? [b1, b0] : [b0, b1];
  if (k !== kb) {
    const note = (transposed: boolean): string => (transposed ? " (transposed)" : "");
    throw new ShapeError(
      `matmul: inner extents differ: ${showShape(a)}${note(transposeA)} has ${k} columns, ${showShape(b)}${note(transposeB)} has ${kb} rows`,
    );
  }
  const batchA = a.slice(0, -2);
  const batchB = b.slice(0, -2);
  return { batchA, batchB, batch: broadcastShapes("matmul", batchA, batchB), m, n, k };
}

/** The kernel repeats an operand over the whole batch or not at all. */
const repeatsWhole = (own: Shape, batch: Shape): boolean => sizeOf(own) === 1 || sameShape(own, batch);

/** Columns of the result of a product with `n`. */
const resultColumns = (n: number, { activation }: MatmulAttrs): number => (activation === "geglu" ? n / 2 : n);

function matmulCall(node: Node, attrs: MatmulAttrs): KernelCall {
  const [a, b] = factorsOf(node);
  const epilogue = epilogueOf(node.inputs, attrs);
  const e = extents(a.shape, b.shape, attrs);
  const { transposeA, transposeB, activation } = attrs;
  const { n, k } = e;
  const batches = sizeOf(e.batch);
  // One b for every row of a: the batch joins the rows, and the product is a single large one.
  const collapse = sizeOf(e.batchB) === 1 && !transposeA;
  const batch = collapse ? 1 : batches;
  const m = collapse ? batches * e.m : e.m;
  const countA = collapse || sizeOf(e.batchA) === 1 ? 1 : batch;
  const countB = sizeOf(e.batchB) === 1 ? 1 : batch;
  const inputs = [
    { index: 0, dims: [countA, ...(transposeA ? [k, m] : [m, k])] },
    { index: 1, dims: [countB, ...(transposeB ? [n, k] : [k, n])] },
  ];
  const dims = [batch, m, resultColumns(n, attrs)];
  for (const operand of epilogueOperands(epilogue))
    inputs.push({ index: inputs.length, dims: operand === epilogue.addend ? dims : [...operand.shape] });
  return {
    schema: matmulSchema,
    params: {
      batch,
      m,
      n,
      k,
      batchStrideA: countA === 1 ? 0 : m * k,
      batchStrideB: countB === 1 ? 0 : k * n,
      transA: Number(transposeA),
      transB: Number(transposeB),
      ...epilogueParams(epilogue),
      activation: activationCodes[activation],
      precision: precisionCode(attrs),
    },
    inputs,
    outputs: [{ index: 0, dims }],
  };
}

const product = (a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor =>
  applyOne(matmulDef, [a, b], { transposeA, transposeB, activation: "none" });

/** x [..., R, C] as [R', C]: all leading axes joined. */
const joinRows = (x: Tensor): Tensor => {
  const columns = x.dim(-1);
  return x.rank === 2 ? x : reshape(x, [sizeOf(x.shape.slice(0, -1)), columns]);
};

function matmulVjp({ inputs, attrs, cotangent, needs }: VjpArgs<MatmulAttrs>): (Tensor | undefined)[] {
  const [a, b] = inputs as readonly [Tensor, Tensor];
  const { bias, addend } = epilogueOf(inputs, attrs);
  const { transposeA, transposeB, activation } = attrs;
  if (activation !== "none" || attrs.scale)
    return gradientThrough((xs) => decomposeMatmul(xs, attrs), inputs, [cotangent()]);
  const dy = cotangent();
  const gradA = (): Tensor => (transposeA ? product(b, dy, transposeB, true) : product(dy, b, false, !transposeB));
  const gradB = (): Tensor => {
    const shared =
      sizeOf(b.shape.slice(0, -2)) === 1 && !transposeA && sameShape(a.shape.slice(0, -1), dy.shape.slice(0, -1));
    const [x, g] = shared ? [joinRows(a), joinRows(dy)] : [a, dy];
    return transposeB ? product(g, x, true, transposeA) : product(x, g, !transposeA, false);
  };
  return [
    needs(0) ? unbroadcast(gradA(), a.shape) : undefined,
    needs(1) ? unbroadcast(gradB(), b.shape) : undefined,
    ...(bias ? [needs(2) ? unbroadcast(dy, bias.shape) : undefined] : []),
    ...(addend ? [dy] : []),
  ];
}

function decomposeMatmul(inputs: readonly Tensor[], attrs: MatmulAttrs): Tensor[] {
  const [a, b] = inputs as readonly [Tensor, Tensor];
  const epilogue = epilogueOf(inputs, attrs);
  const plain = product(a, b, attrs.transposeA, attrs.transposeB);
  if (attrs.activation !== "geglu") return [finished(plain, epilogue, attrs.activation)];
  const [value, gate] = split(shifted(plain, epilogue), 2, -1) as [Tensor, Tensor];
  return [mul(value, gelu(gate))];
}

function matmulSamples(): Sample<MatmulAttrs>[] {
  const sample = (
    a: Shape,
    b: Shape,
    { transposeA = false, transposeB = false }: MatmulOptions = {},
    bias?: Shape,
    activation: MatmulAttrs["activation"] = "none",
    addend?: Shape,
    scale?: Shape,
  ): Sample<MatmulAttrs> => ({
    inputs: [a, b, ...epilogueOperands({ scale, bias, addend })].map((shape) => ({ shape })),
    attrs: { transposeA, transposeB, activation, ...(scale && { scale: true }), ...(addend && { addend: true }) },
  });
  return [
    sample([1, 1], [1, 1]),
    sample([3, 5], [5, 7]),
    sample([5, 3], [5, 7], { transposeA: true }),
    sample([3, 5], [7, 5], { transposeB: true }),
    sample([5, 3], [7, 5], { transposeA: true, transposeB: true }),
    sample([2, 3, 5], [2, 5, 4]),
    sample([2, 3, 4, 5], [5, 3]),
    sample([2, 4, 3], [4, 5], { transposeA: true }),
    sample([4, 3], [2, 3, 5]),
    sample([1, 4, 3], [2, 5, 3], { transposeB: true }),
    sample([3, 5], [5, 7], {}, [7]),
    sample([2, 3, 5], [5, 7], {}, [7], "silu"),
    sample([3, 5], [7, 5], { transposeB: true }, [7], "relu"),
    sample([67, 131], [131, 97]),
    sample([131, 67], [97, 131], { transposeA: true, transposeB: true }),
    sample([3, 33, 65], [3, 17, 65], { transposeB: true }),
    sample([129, 64], [64, 256], {}, [256], "silu"),
    sample([3, 5], [5, 6], {}, [6], "geglu"),
    sample([2, 19, 70], [94, 70], { transposeB: true }, [94], "geglu"),
    sample([70, 33], [33, 130], {}, undefined, "geglu"),
    sample([3, 5], [5, 7], {}, undefined, "none", [3, 7]),
    sample([2, 3, 5], [5, 4], {}, [4], "silu", [2, 3, 4]),
    sample([2, 19, 70], [2, 47, 70], { transposeB: true }, [47], "none", [2, 19, 47]),
    sample([70, 33], [33, 130], {}, [130], "relu", [70, 130]),
    sample([3, 4], [4, 40], {}, [40], "none", [3, 40]),
    sample([2, 301], [67, 301], { transposeB: true }, [67], "none", [2, 67]),
    sample([300, 3], [300, 2], { transposeA: true }, undefined, "none", [3, 2]),
    sample([19, 2306], [2306, 61], {}, [61], "none", [19, 61]),
    sample([3, 5], [5, 7], {}, undefined, "none", undefined, [7]),
    sample([2, 3, 5], [5, 4], {}, [4], "silu", [2, 3, 4], [1]),
    sample([2, 19, 70], [2, 47, 70], { transposeB: true }, [47], "none", [2, 19, 47], [47]),
    sample([70, 33], [33, 130], {}, [130], "relu", undefined, [130]),
    sample([2, 301], [67, 301], { transposeB: true }, [67], "none", undefined, [67]),
    sample([300, 3], [300, 2], { transposeA: true }, undefined, "none", undefined, [1]),
    sample([19, 2306], [2306, 61], {}, [61], "relu", [19, 61], [61]),
    sample([1, 300], [300, 1]),
    sample([1031, 37], [1031, 45], { transposeA: true }),
    sample([1031, 5], [1031, 21], { transposeA: true }),
    sample([269, 700], [700, 131], {}, [131]),
    sample([19, 1301], [61, 1301], { transposeB: true }),
  ];
}

export const matmulDef: OpDef<MatmulAttrs> = defineOp({
  name: "matmul",
  effect: "pure",
  infer: (inputs, attrs) => {
    expectOperands("matmul", inputs, attrs);
    const [a, b] = inputs as readonly [Aval, Aval];
    const epilogue = epilogueOf(inputs, attrs);
    const dtype = expectProduct("matmul", { a, b }, attrs, epilogue);
    const { batchA, batchB, batch, m, n } = extents(a.shape, b.shape, attrs);
    if (!repeatsWhole(batchA, batch) || !repeatsWhole(batchB, batch)) {
      throw new ShapeError(
        `matmul: batch dimensions ${showShape(batchA)} and ${showShape(batchB)} must be equal, or those of one operand all 1`,
      );
    }
    if (attrs.activation === "geglu" && n % 2 !== 0)
      throw new ShapeError(`matmul: ${n} columns have no halves, of which one is to gate the other`);
    if (attrs.activation === "geglu" && (attrs.scale || attrs.addend))
      throw new ShapeError("matmul: gated columns are neither scaled nor added to");
    const shape = [...batch, m, resultColumns(n, attrs)];
    expectEpilogue("matmul", epilogue, n, shape);
    return [{ shape, dtype }];
  },
  vjp: matmulVjp,
  decompose: decomposeMatmul,
  lower: { kind: "kernel", halves: true, call: matmulCall },
  factors: [0, 1],
  stores: true,
  asStored: [2, 3, 4],
  samples: matmulSamples,
});

/**
 * The matrix product a·b. Leading axes are batch dimensions and broadcast.
 *
 * @param a [..., M, K], or [..., K, M] with `transposeA`.
 * @param b [..., K, N], or [..., N, K] with `transposeB`.
 * @returns [..., M, N].
 * @throws ShapeError when inner extents differ or batch dimensions do not broadcast; DTypeError for operands
 * that are not of one float type.
 * @example
 * matmul(tensor([[1, 2]]), tensor([[3], [4]])); // [[11]]
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  checkTensor("matmul", "a", a);
  checkTensor("matmul", "b", b);
  checkOptions("matmul", options, ["transposeA", "transposeB"]);
  const { transposeA = false, transposeB = false } = options;
  checkBoolean("matmul", "transposeA", transposeA);
  checkBoolean("matmul", "transposeB", transposeB);
  const { batchA, batchB, batch } = extents(a.shape, b.shape, { transposeA, transposeB, activation: "none" });
  const spread = (x: Tensor, own: Shape): Tensor =>
    repeatsWhole(own, batch) ? x : broadcastTo(x, [...batch, ...x.shape.slice(-2)]);
  return composed(() => product(spread(a, batchA), spread(b, batchB), transposeA, transposeB));
}
