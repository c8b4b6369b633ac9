// Streams of random numbers that are there for one purpose.

import type { Rng } from "@figment/tensor";

/** Lends a stream to `use` and frees it. */
export async function withStream<T>(stream: Rng, use: (stream: Rng) => Promise<T> | T): Promise<T> {
  try {
    return await use(stream);
  } finally {
    stream.dispose();
  }
}
