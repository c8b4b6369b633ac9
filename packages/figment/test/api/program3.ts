// Program 3 of the public surface: decode tokens with a key-value cache.

import { type KVCache, type Rng, type Tensor, type Transformer, compile, takeAlong, topk } from "figment";

/** One token of each sequence after another. */
export const decode = compile((model: Transformer, cache: KVCache, token: Tensor, random: Rng) => {
  const top = topk(model.forward(token, cache), 40);
  return takeAlong(top.indices, random.categorical(top.values));
});
