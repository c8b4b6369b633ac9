// Attention over [B,S,H,D]; the peer has it as MatMul, Softmax, MatMul over [B,H,S,D], its natural layout.

import { attention, Cell, cachedAttention, compile, grad, mul, scalar, sum, type Tensor } from "@figment/tensor";
import {
  bytesPer,
  bytesPerFloat,
  type KernelCase,
  nameIn,
  ourContestant,
  product,
  randomTensor,
  randomValues,
} from "../case.js";
import { type Format, formats } from "../work.js";
import { compiledContestant } from "./compiled.js";

export interface AttentionShape {
  readonly label: string;
  readonly batch: number;
  readonly heads: number;
  readonly sequence: number;
  readonly depth: number;
}

const h: AttentionShape = { label: "h", batch: 1, heads: 8, sequence: 4096, depth: 40 };
const i: AttentionShape = { label: "i", batch: 2, heads: 8, sequence: 1024, depth: 64 };
const j: AttentionShape = { label: "j", batch: 16, heads: 4, sequence: 256, depth: 32 };

// Two products forward; the backward pass does five (scores again, and a gradient for each of four operands).
const forwardProducts = 2;
const backwardProducts = 5;

const describe = ({ label, batch, heads, sequence, depth }: AttentionShape, kind: string, format: Format): string =>
  nameIn(format, `attention ${label}${kind}: B${batch} H${heads} S${sequence} D${depth}`);

/** The shape in the peers' words. */
const extents = ({ batch, heads, sequence, depth }: AttentionShape) => ({ batch, heads, sequence, depth });

const productFlops = ({ batch, heads, sequence, depth }: AttentionShape): number =>
  2 * batch * heads * sequence * sequence * depth;

export function forward(shape: AttentionShape, format: Format): KernelCase {
  const { batch, heads, sequence, depth } = shape;
  const dims = [batch, sequence, heads, depth];
  const size = product(dims);
  return {
    name: describe(shape, "", format),
    op: "attention",
    flops: forwardProducts * productFlops(shape),
    bytes: 4 * bytesPer[format] * size,
    bound: "fma",
    format,
    work: { kind: "attention", pass: "forward", ...extents(shape) },
    ours() {
      const q = randomTensor(dims, 1, format);
      const k = randomTensor(dims, 2, format);
      const v = randomTensor(dims, 3, format);
      return ourContestant([q, k, v], () => attention(q, k, v));
    },
    ...(format === "f32" && {
      onnx: () => ({
        graph: {
          inputs: [
            { name: "q", shape: [batch, heads, sequence, depth] },
            { name: "kt", shape: [batch, heads, depth, sequence] },
            { name: "v", shape: [batch, heads, sequence, depth] },
          ],
          constants: [{ name: "scale", shape: [], data: Float32Array.of(1 / Math.sqrt(depth)) }],
          outputs: [{ name: "y", shape: [batch, heads, sequence, depth] }],
          nodes: [
            { op: "Mul", inputs: ["q", "scale"], outputs: ["scaled"] },
            { op: "MatMul", inputs: ["scaled", "kt"], outputs: ["scores"] },
            { op: "Softmax", inputs: ["scores"], outputs: ["weights"] },
            { op: "MatMul", inputs: ["weights", "v"], outputs: ["y"] },
          ],
        },
        data: { q: randomValues(size, 1), kt: randomValues(size, 2), v: randomValues(size, 3) },
      }),
    }),
  };
}

export function forwardBackward(shape: AttentionShape, format: Format): KernelCase {
  const { batch, heads, sequence, depth } = shape;
  const dims = [batch, sequence, heads, depth];
  return {
    name: describe(shape, " forward+backward", format),
    op: "attentionGrad",
    flops: (forwardProducts + backwardProducts) * productFlops(shape),
    bytes: 8 * bytesPer[format] * product(dims),
    bound: "fma",
    format,
    work: { kind: "attention", pass: "both", ...extents(shape) },
    ours() {
      const cells = [1, 2, 3].map((seed) => {
        const cell = new Cell({ shape: dims, dtype: format, name: "benchmark" });
        using value = randomTensor(dims, seed, format);
        cell.set(value);
        return cell;
      });
      const direction = randomTensor(dims, 4, format);
      const loss = (direction: Tensor): Tensor => {
        const [q, k, v] = cells.map(({ value }) => value) as [Tensor, Tensor, Tensor];
        return sum(mul(attention(q, k, v), direction));
      };
      const step = compile((direction: Tensor) => {
        const grads = grad(loss, { wrt: cells })(direction);
        return cells.map((cell) => grads.get(cell));
      });
      return ourContestant([step, direction, ...cells], () => step(direction));
    },
  };
}

/** One query of each head over the keys of a cache that is full; keys and values are read once. */
function decode({ label, batch, heads, sequence, depth }: AttentionShape): KernelCase {
  const dims = [batch, sequence, heads, depth];
  return {
    op: "attention",
    name: `attention decode ${label}: B${batch} H${heads} K${sequence} D${depth}`,
    bytes: 2 * bytesPerFloat * product(dims),
    bound: "copy",
    ours() {
      const q = randomTensor([batch, 1, heads, depth], 1);
      const [k, v] = [randomTensor(dims, 2), randomTensor(dims, 3)];
      const keyLength = scalar(sequence, "i32");
      return ourContestant([q, k, v, keyLength], () => attention(q, k, v, { causal: true, keyLength }));
    },
  };
}

/** The same for a decoder with a cache, where the new token's own key and value are given beside it. */
function decodeCached({ label, batch, heads, sequence, depth }: AttentionShape): KernelCase {
  const dims = [batch, sequence, heads, depth];
  return {
    name: `cachedAttention ${label}: B${batch} H${heads} K${sequence} D${depth}`,
    op: "attention",
    bytes: 2 * bytesPerFloat * product(dims),
    bound: "copy",
    ours() {
      const [q, k, v] = [1, 2, 3].map((seed) => randomTensor([batch, 1, heads, depth], seed)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      const past = { k: randomTensor(dims, 4), v: randomTensor(dims, 5), length: scalar(sequence, "i32") };
      return compiledContestant([q, past.k, past.v, past.length, k, v], (query, keys, values, length, key, value) =>
        cachedAttention(query!, { k: keys!, v: values!, length: length! }, key!, value!),
      );
    },
  };
}

export const attentionCases: readonly KernelCase[] = [
  ...[h, i, j].flatMap((shape) => formats.map((format) => forward(shape, format))),
  ...[h, i, j].flatMap((shape) => formats.map((format) => forwardBackward(shape, format))),
];

export const decodeCases: readonly KernelCase[] = [decode(h), decode(i), decodeCached(i)];
