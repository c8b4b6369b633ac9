// Program 3 of the public surface: tokens decoded one after another, each by one call of one program.

import {
  assertNoLeaks,
  Cell,
  compile,
  dynamicUpdateSlice,
  type KVCache,
  type Rng,
  repeat,
  rng,
  scope,
  type Tensor,
  Transformer,
  takeAlong,
  tensor,
  topk,
} from "figment";
import { afterAll, describe, expect, it } from "vitest";
import { decode } from "./api/program3.ts";

afterAll(() => assertNoLeaks());

const steps = 20;
const best = 40;
const start = Int32Array.of(3, 61);

type Decode = (model: Transformer, cache: KVCache, token: Tensor, random: Rng) => Tensor;
const eagerly: Decode = (model, cache, token, random) =>
  scope(() => {
    const top = topk(model.forward(token, cache), best);
    return takeAlong(top.indices, random.categorical(top.values));
  });

/** All tokens after the first ones by one call, [steps][2]. */
function tokensInLoop(model: Transformer, seed: number): number[][] {
  const [cache, random] = [model.cache({ batch: 2 }), rng(seed)];
  const token = new Cell({ shape: [2], dtype: "i32", initial: () => start });
  const drawn = new Cell({ shape: [steps, 2], dtype: "i32", initial: () => new Int32Array(2 * steps) });
  const generate = compile((net: Transformer, past: KVCache, stream: Rng) =>
    repeat(steps, (i) => {
      token.set(decode(net, past, token.value, stream));
      drawn.set(dynamicUpdateSlice(drawn.value, token.value.reshape([1, 2]), [i, 0]));
    }),
  );
  generate(model, cache, random);
  const flat = scope(() => [...(drawn.value.dataSync() as Int32Array)]);
  for (const item of [cache, random, token, drawn, generate]) item.dispose();
  return Array.from({ length: steps }, (_, i) => flat.slice(2 * i, 2 * i + 2));
}

describe("program 3 of the public surface", () => {
  const model = new Transformer({ vocabulary: 64, dim: 32, heads: 4, layers: 2, maxLength: steps });
  const weights = rng(1);
  model.init(weights);

  /** The tokens that follow the first ones, [steps + 1][2]. */
  const tokensBy = (next: Decode, seed: number): number[][] => {
    const [cache, random] = [model.cache({ batch: 2 }), rng(seed)];
    const rows = scope(() => {
      let token = tensor(start);
      const drawn = [[...start]];
      for (let i = 0; i < steps; i++) {
        token = next(model, cache, token, random);
        drawn.push([...(token.dataSync() as Int32Array)]);
      }
      return drawn;
    });
    cache.dispose();
    random.dispose();
    return rows;
  };
  const tokens = tokensBy(decode, 5);
  const { traces } = decode.stats;
  const again = tokensBy(decode, 5);
  const others = tokensBy(decode, 6);
  const eager = tokensBy(eagerly, 5);
  const looped = tokensInLoop(model, 5);
  // The likeliest tokens at each position, by a forward pass over all tokens without a cache.
  const likeliest = scope(() => {
    const all = tensor(Int32Array.from([0, 1].flatMap((b) => tokens.slice(0, steps).map((row) => row[b] as number))), {
      shape: [2, steps],
    });
    return [...(topk(model.forward(all), best).indices.dataSync() as Int32Array)];
  });
  decode.dispose();
  for (const item of [model, weights]) item.dispose();

  it("serves all positions by one program", () => expect(traces).toBe(1));

  it("draws the same tokens for the same seed, and others for another", () => {
    expect(again).toEqual(tokens);
    expect(others).not.toEqual(tokens);
  });

  it("draws the tokens that eager execution draws", () => expect(eager).toEqual(tokens));

  it("draws the same tokens in a loop of one native call", () => expect(looped).toEqual(tokens.slice(1)));

  it("draws among the likeliest tokens of the forward pass without a cache", () => {
    tokens.slice(1).forEach((row, i) => {
      row.forEach((token, b) => {
        expect(likeliest.slice((b * steps + i) * best, (b * steps + i + 1) * best)).toContain(token);
      });
    });
  });
});
