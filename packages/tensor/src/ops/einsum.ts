// Einstein summation as a composition: diagonals are strided slices, sums are reductions, and operands are contracted
// two at a time by batched matrix products. Derivatives of any order follow from those of the parts.

import { composed } from "../core/scope.js";
import type { Tensor } from "../core/tensor.js";
import { ShapeError, UsageError } from "../errors.js";
import { broadcastShapes, show, showShape, sizeOf } from "../shape.js";
import { mul } from "./arithmetic.js";
import { checkTensor, expectCompute } from "./checks.js";
import { matmul } from "./matmul.js";
import { reshape, transpose } from "./movement.js";
import { sum } from "./reduce.js";
import { slice } from "./slicing.js";

/** The name of an axis: a letter, or "…" and the place counted from the right for an axis under an ellipsis. */
type Label = string;

/** A tensor whose axes have distinct names. */
interface Term {
  readonly x: Tensor;
  readonly labels: readonly Label[];
}

const fail = (equation: string, problem: string): never => {
  throw new ShapeError(`einsum "${equation}": ${problem}`);
};

/** Splits "i...j" into labels, "..." standing for the names of `hidden` axes. */
function labelsOf(equation: string, text: string, hidden: number): Label[] {
  const parts = text.split("...");
  if (parts.length > 2) fail(equation, `${show(text)} holds more than one ellipsis`);
  for (const letter of parts.join("")) {
    if (!/[A-Za-z]/.test(letter)) fail(equation, `${show(letter)} is no letter`);
  }
  const [before = "", after = ""] = parts;
  const under = Array.from({ length: parts.length > 1 ? hidden : 0 }, (_, i) => `…${hidden - 1 - i}`);
  return [...before, ...under, ...after];
}

/** An operand with its axes named, each name as often as it was given. */
function nameAxes(equation: string, text: string, x: Tensor): Term {
  const letters = text.replace("...", "").length;
  const hidden = x.rank - letters;
  const labels = labelsOf(equation, text, Math.max(0, hidden));
  if (labels.length !== x.rank) {
    fail(equation, `${show(text)} names ${labels.length} axes of the operand ${showShape(x.shape)}`);
  }
  return { x, labels };
}

/** The extent of each name; axes under ellipses broadcast, letters must agree. */
function extentsOf(equation: string, terms: readonly Term[]): Map<Label, number> {
  const extents = new Map<Label, number>();
  for (const { x, labels } of terms) {
    labels.forEach((label, axis) => {
      const d = x.shape[axis] as number;
      const known = extents.get(label);
      if (label.startsWith("…")) {
        extents.set(label, broadcastShapes(`einsum "${equation}"`, [known ?? 1], [d])[0] as number);
      } else if (known !== undefined && known !== d) {
        fail(equation, `${label} is ${known} in one place and ${d} in the operand ${showShape(x.shape)}`);
      } else extents.set(label, d);
    });
  }
  return extents;
}

/** The axes of the result: as given, or those of ellipses and then every letter that occurs once, in order. */
function outputLabels(equation: string, text: string | undefined, terms: readonly Term[]): Label[] {
  const all = terms.flatMap(({ labels }) => labels);
  const hidden = [...new Set(all.filter((label) => label.startsWith("…")))].sort().reverse();
  if (text === undefined) {
    const once = all.filter((label) => !label.startsWith("…") && all.indexOf(label) === all.lastIndexOf(label));
    return [...hidden, ...once.sort()];
  }
  const labels = labelsOf(equation, text, hidden.length);
  if (hidden.length > 0 && !text.includes("...")) {
    fail(equation, `the result must say where the axes under the ellipsis go: "...${text}"`);
  }
  labels.forEach((label, i) => {
    if (!all.includes(label)) fail(equation, `${label} of the result is in no operand`);
    if (labels.indexOf(label) !== i) fail(equation, `${label} is named twice in the result`);
  });
  return labels;
}

/** The diagonal where a name is given twice, until none is. */
function diagonal({ x, labels }: Term): Term {
  const second = labels.findIndex((label, i) => labels.indexOf(label) < i);
  if (second < 0) return { x, labels };
  const first = labels.indexOf(labels[second] as Label);
  const rest = labels.map((_, axis) => axis).filter((axis) => axis !== first && axis !== second);
  const [d, outer] = [x.dim(first), rest.map((axis) => x.dim(axis))];
  const square = reshape(transpose(x, [...rest, first, second]), [...outer, d * d]);
  const starts = square.shape.map(() => 0);
  const line = slice(square, starts, [...outer, d], [...outer.map(() => 1), d + 1]);
  return diagonal({
    x: line,
    labels: [...rest.map((axis) => labels[axis] as Label), labels[first] as Label],
  });
}

/** Leaves out axes of extent 1 that broadcast. */
function squeeze({ x, labels }: Term, extents: ReadonlyMap<Label, number>): Term {
  const kept = labels.flatMap((label, axis) => (x.dim(axis) === extents.get(label) ? [axis] : []));
  if (kept.length === labels.length) return { x, labels };
  return {
    x: reshape(
      x,
      kept.map((axis) => x.dim(axis)),
    ),
    labels: kept.map((axis) => labels[axis] as Label),
  };
}

/** Sums over the names that nobody else has. */
function sumAway({ x, labels }: Term, needed: ReadonlySet<Label>): Term {
  const axes = labels.flatMap((label, axis) => (needed.has(label) ? [] : [axis]));
  return axes.length === 0 ? { x, labels } : { x: sum(x, axes), labels: labels.filter((label) => needed.has(label)) };
}

const arrange = ({ x, labels }: Term, order: readonly Label[]): Tensor =>
  order.every((label, i) => label === labels[i])
    ? x
    : transpose(
        x,
        order.map((label) => labels.indexOf(label)),
      );

/** The product of two terms, summed over the names that both have and nobody needs. */
function contract(a: Term, b: Term, needed: ReadonlySet<Label>, extents: ReadonlyMap<Label, number>): Term {
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const batch = shared.filter((label) => needed.has(label));
  const summed = shared.filter((label) => !needed.has(label));
  const left = a.labels.filter((label) => !shared.includes(label));
  const right = b.labels.filter((label) => !shared.includes(label));
  const extent = (names: readonly Label[]): number => sizeOf(names.map((label) => extents.get(label) as number));
  const as = (term: Term, ...groups: readonly (readonly Label[])[]): Tensor =>
    reshape(arrange(term, groups.flat()), groups.map(extent));
  const labels = [...batch, ...left, ...right];
  // Operands that lie the other way around need no transposition of their own.
  const transposeA = a.labels.join() === [...batch, ...summed, ...left].join() && left.length > 0;
  const transposeB = b.labels.join() === [...batch, ...right, ...summed].join() && right.length > 0;
  const product =
    summed.length === 0
      ? mul(as(a, batch, left, []), as(b, batch, [], right))
      : matmul(
          transposeA ? as(a, batch, summed, left) : as(a, batch, left, summed),
          transposeB ? as(b, batch, right, summed) : as(b, batch, summed, right),
          { transposeA, transposeB },
        );
  return {
    x: reshape(
      product,
      labels.map((label) => extents.get(label) as number),
    ),
    labels,
  };
}

/** The two terms whose product takes the fewest multiplications. */
function cheapestPair(terms: readonly Term[], extents: ReadonlyMap<Label, number>): readonly [number, number] {
  let [best, least]: [readonly [number, number], number] = [[0, 1], Number.POSITIVE_INFINITY];
  for (let i = 0; i < terms.length; i++) {
    for (let j = i + 1; j < terms.length; j++) {
      const names = new Set([...(terms[i] as Term).labels, ...(terms[j] as Term).labels]);
      const cost = sizeOf([...names].map((label) => extents.get(label) as number));
      if (cost < least) [best, least] = [[i, j], cost];
    }
  }
  return best;
}

/**
 * The sum over every index that the result does not have of the product of all operands (Einstein's convention), in
 * the notation of NumPy: one letter for each axis; a letter twice in one operand takes its diagonal; "..." stands for
 * any further axes, which broadcast; without "->" the result has the letters that occur once, in alphabetical order.
 *
 * @param equation such as "bij,bjk->bik".
 * @param operands of one float type where there are several.
 * @throws ShapeError when the equation and the operands' shapes do not fit.
 * @example
 * const [a, b] = [ones([2, 3, 4]), ones([2, 4, 5])];
 * einsum("bij,bjk->bik", a, b); // [2, 3, 5]
 * einsum("ii", tensor([[1, 2], [3, 4]])); // 5, the trace
 */
export function einsum(equation: string, ...operands: Tensor[]): Tensor {
  if (typeof equation !== "string")
    throw new UsageError(`einsum: expected an equation such as "ij,jk->ik", got ${show(equation)}`);
  operands.forEach((x, i) => {
    checkTensor("einsum", `operand ${i}`, x);
  });
  const [inputs = "", output, ...more] = equation.replaceAll(" ", "").split("->");
  if (more.length > 0) fail(equation, `"->" occurs more than once`);
  const texts = inputs.split(",");
  if (texts.length !== operands.length) {
    fail(equation, `names ${texts.length} operands, ${operands.length} were given`);
  }
  if (operands.length > 1) expectCompute("einsum", Object.fromEntries(operands.map((x, i) => [`operand ${i}`, x])));
  const named = texts.map((text, i) => nameAxes(equation, text, operands[i] as Tensor));
  const extents = extentsOf(equation, named);
  const result = outputLabels(equation, output, named);

  return composed(() => {
    /** The names that the result and the terms other than those at `own` have. */
    const neededBeside = (terms: readonly Term[], ...own: readonly number[]): Set<Label> =>
      new Set([...result, ...terms.filter((_, i) => !own.includes(i)).flatMap(({ labels }) => labels)]);
    const single = named.map((term) => diagonal(squeeze(term, extents)));
    let terms = single.map((term, i) => sumAway(term, neededBeside(single, i)));
    while (terms.length > 1) {
      const [i, j] = cheapestPair(terms, extents);
      const joined = contract(terms[i] as Term, terms[j] as Term, neededBeside(terms, i, j), extents);
      terms = [...terms.filter((_, at) => at !== i && at !== j), joined];
    }
    return arrange(terms[0] as Term, result).clone();
  });
}
