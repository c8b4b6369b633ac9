// The codebook of the VQ-VAE: nearest codes, straight-through derivatives, averages that are k-means, revival.

import { compileStep, SGD } from "@figment/nn";
import { assertNoLeaks, compile, grad, rng, scope, type Tensor, tensor } from "@figment/tensor";
import { Codebook, perplexity, VQVAE } from "@figment/vae";
import { afterAll, describe, expect, it } from "vitest";
import { expectClose } from "./support.js";

const seed = 14;
console.log(`codebook tests: seed ${seed}`);
const random = rng(seed);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

const rowsOf = (x: Tensor): number[][] => {
  const data = [...x.dataSync()];
  const width = x.shape.at(-1) as number;
  return Array.from({ length: data.length / width }, (_, i) => data.slice(i * width, (i + 1) * width));
};
const distance = (a: readonly number[], b: readonly number[]): number => Math.hypot(...a.map((v, i) => v - b[i]!));

/** A codebook at chosen codes, whose averages begin there too. */
function codebookAt(
  codes: readonly (readonly number[])[],
  options: { decay?: number; deadBelow?: number } = {},
): Codebook {
  const book = new Codebook({ codes: codes.length, dim: codes[0]!.length, deadBelow: 0, ...options }).init(random);
  book.embedding.setData(codes.flat());
  book.counts.setData(codes.map(() => 1));
  book.sums.setData(codes.flat());
  return book;
}

describe("a codebook", () => {
  it("gives the nearest code of every vector", () => {
    const book = new Codebook({ codes: 20, dim: 3 }).init(random).eval();
    scope(() => {
      const x = random.normal([4, 5, 3]);
      const { quantised, indices } = book.forward(x);
      expect(indices.shape).toEqual([4, 5]);
      const codes = rowsOf(book.embedding.value);
      const chosen = [...indices.dataSync()];
      const given = rowsOf(quantised);
      rowsOf(x).forEach((row, i) => {
        const distances = codes.map((code) => distance(code, row));
        expect(distances[chosen[i]!]).toBeCloseTo(Math.min(...distances), 5);
        expect(distance(given[i]!, codes[chosen[i]!]!)).toBeLessThan(1e-5);
      });
      expect([...book.nearest(x).dataSync()]).toEqual(chosen);
    });
    book.dispose();
  });

  it("passes derivatives straight through, and the commitment's to the vectors alone", () => {
    const book = new Codebook({ codes: 8, dim: 2 }).init(random).eval();
    scope(() => {
      const [x, weights] = [random.normal([6, 2]), random.normal([6, 2])];
      const through = grad((v: Tensor) => book.forward(v).quantised.mul(weights).sum())(x);
      expect([...through.dataSync()]).toEqual([...weights.dataSync()]);
      const committed = grad((v: Tensor) => book.forward(v).commitment)(x).dataSync();
      const [vectors, codes] = [x.dataSync(), book.forward(x).quantised.dataSync()];
      const expected = vectors.map((v, i) => (2 * (v - (codes[i] as number))) / 12);
      expectClose(committed, expected, 5);
    });
    book.dispose();
  });

  it("without memory moves codes to the means of what chose them: a step of k-means", () => {
    const start = [
      [-1, 0],
      [1, 0],
      [0, 40],
    ];
    const book = codebookAt(start, { decay: 0 });
    scope(() => {
      const x = random.normal([50, 2]);
      const before = rowsOf(book.embedding.value);
      const chosen = [...book.forward(x).indices.dataSync()];
      const after = rowsOf(book.embedding.value);
      const rows = rowsOf(x);
      before.forEach((code, k) => {
        const own = rows.filter((_, i) => chosen[i] === k);
        const mean =
          own.length === 0 ? code : code.map((_, d) => own.reduce((sum, row) => sum + row[d]!, 0) / own.length);
        expect(distance(after[k]!, mean)).toBeLessThan(1e-5);
      });
      expect(after[2]).toEqual([0, 40]);
    });
    book.dispose();
  });

  it("with memory settles at the means of k-means", () => {
    // Three clusters so far apart that every assignment is certain.
    const centres = [
      [-10, 0],
      [10, 0],
      [0, 15],
    ];
    const book = codebookAt(
      centres.map(([x, y]) => [x! + 1, y! - 1]),
      { decay: 0.5 },
    );
    scope(() => {
      const x = tensor(centres.flat(), { shape: [3, 1, 2] }).add(random.normal([3, 30, 2]));
      for (let i = 0; i < 30; i++) book.forward(x);
      const rows = rowsOf(x);
      rowsOf(book.embedding.value).forEach((code, k) => {
        const own = rows.slice(30 * k, 30 * (k + 1));
        const mean = [0, 1].map((d) => own.reduce((sum, row) => sum + row[d]!, 0) / 30);
        expect(distance(code, mean)).toBeLessThan(1e-4);
      });
    });
    book.dispose();
  });

  it("moves in a compiled function as it does eagerly, and not in evaluation", () => {
    const [a, b] = [11, 11].map((s) => {
      const stream = rng(s);
      const book = new Codebook({ codes: 6, dim: 3 }).init(stream);
      stream.dispose();
      return book;
    }) as [Codebook, Codebook];
    const program = compile((x: Tensor) => b.forward(x).quantised);
    for (let i = 0; i < 4; i++)
      scope(() => {
        const x = random.normal([40, 3]);
        const [eager, compiled] = [a.forward(x).quantised.dataSync(), program(x).dataSync()];
        expectClose(compiled, eager, 4);
      });
    scope(() => {
      const [x, before] = [random.normal([40, 3]), [...b.embedding.value.dataSync()]];
      expectClose(a.embedding.value.dataSync(), before, 4);
      b.eval().forward(x);
      expect([...b.embedding.value.dataSync()]).toEqual(before);
    });
    for (const owner of [program, a, b]) owner.dispose();
  });

  it("revives dead codes at vectors of the batch, and leaves living ones in peace", () => {
    const book = codebookAt(
      [
        [0, 0],
        [500, 500],
        [600, 600],
      ],
      { deadBelow: 0.5, decay: 0.5 },
    );
    scope(() => {
      const x = random.normal([64, 2]);
      // Two calls without a vector leave the far codes with a count of a quarter; the third call replaces them.
      for (let i = 0; i < 2; i++) book.forward(x);
      expect(rowsOf(book.embedding.value)[1]).toEqual([500, 500]);
      book.forward(x);
      const codes = rowsOf(book.embedding.value);
      for (const code of codes) expect(distance(code, [0, 0])).toBeLessThan(6);
      const used = new Set(book.nearest(x).dataSync());
      expect(used.size).toBe(3);
    });
    book.dispose();
  });

  it("starts at vectors of its first batch", () => {
    const book = new Codebook({ codes: 16, dim: 2, decay: 0.999 }).init(random);
    scope(() => {
      const x = random.normal([200, 2]).add(30);
      const { perplexity: used } = book.forward(x);
      expect(used.itemSync()).toBeGreaterThan(4);
      for (const code of rowsOf(book.embedding.value)) expect(distance(code, [30, 30])).toBeLessThan(6);
    });
    book.dispose();
  });

  it("says how many codes are in use, from 1 to all", () =>
    scope(() => {
      expect(perplexity(tensor([7, 0, 0, 0])).itemSync()).toBeCloseTo(1, 5);
      expect(perplexity(tensor([3, 3, 3, 3])).itemSync()).toBeCloseTo(4, 5);
      const p = [0.75, 0.25];
      const expected = Math.exp(-p.reduce((sum, v) => sum + v * Math.log(v), 0));
      expect(perplexity(tensor([3, 1])).itemSync()).toBeCloseTo(expected, 5);
    }));

  it("refuses vectors of another width and numbers out of range", () => {
    const book = new Codebook({ codes: 4, dim: 3 }).init(random);
    scope(() => expect(() => book.forward(random.normal([5, 2]))).toThrow(/\[\.\.\., 3\]/));
    expect(() => new Codebook({ codes: 4, dim: 3, decay: 1 })).toThrow(/decay/);
    expect(() => new Codebook({ codes: 4, dim: 3, deadBelow: -1 })).toThrow(/deadBelow/);
    book.dispose();
  });
});

describe("a VQ-VAE", () => {
  it("encodes to numbers from which it decodes what it reconstructs", () => {
    const model = new VQVAE({ imageChannels: 1, channels: [8, 8], codes: 6, dim: 4 }).init(random);
    scope(() => {
      const x = random.uniform([2, 12, 8, 1]);
      const indices = model.encode(x);
      expect(indices.shape).toEqual([2, 3, 2]);
      expect([...model.decode(indices).dataSync()]).toEqual([...model.reconstruct(x).dataSync()]);
      expect(() => model.encode(random.uniform([2, 10, 8, 1]))).toThrow(/multiples of 4/);
      expect(() => model.encode(random.uniform([2, 8, 8, 3]))).toThrow(/\[N,H,W,1\]/);
    });
    model.dispose();
  });

  it("is resumed from a checkpoint with its codebook, averages and stream", () => {
    const make = () => {
      const stream = rng(3);
      const model = new VQVAE({ imageChannels: 1, channels: [4], codes: 5, dim: 2 }).init(stream);
      stream.dispose();
      const optimizer = new SGD(model, { lr: 0.01 });
      return { model, optimizer, step: compileStep(model, optimizer, (net, { x }: { x: Tensor }) => net.loss(x).loss) };
    };
    const [a, b] = [make(), make()];
    const images = scope(() => Array.from({ length: 4 }, () => random.normal([3, 4, 4, 1])));
    const losses = (run: ReturnType<typeof make>, from: number): number[] =>
      images.slice(from).map((x) => scope(() => run.step({ x }).loss.itemSync() as number));
    const all = images.slice(0, 2).map((x) => scope(() => a.step({ x }).loss.itemSync() as number));
    expect(all.every(Number.isFinite)).toBe(true);
    const state = a.step.captureState();
    scope(() =>
      b.step.restoreState({
        tensors: Object.fromEntries(Object.entries(state.cells).map(([name, cell]) => [name, cell.value])),
        json: state.json,
      }),
    );
    expect(losses(b, 2)).toEqual(losses(a, 2));
    for (const { step, optimizer, model } of [a, b]) for (const owner of [step, optimizer, model]) owner.dispose();
    for (const x of images) x.dispose();
  });
});
