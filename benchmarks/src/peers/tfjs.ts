// TensorFlow.js on WebAssembly: f32, channels-last, and in Node on one thread. Its operations are synchronous.

import { type Data, product, randomValues } from "../case.js";
import type { Contestant } from "../race.js";
import type { AttentionWork, ConvWork, GroupNormWork, NoisingWork, SamplerWork, Work } from "../work.js";
import { loadPackage, packageFolder, packageVersion } from "./packages.js";
import type { Missing, Peer } from "./peer.js";

// The part of TensorFlow.js's interface that is used here; its own types are not on the root's path.
interface TfTensor {
  dispose(): void;
}
interface Tf {
  setBackend(name: string): Promise<boolean>;
  tensor(data: Data[string], shape: readonly number[], type?: "int32"): TfTensor;
  tidy<T>(fn: () => T): T;
  add(a: TfTensor, b: TfTensor | number): TfTensor;
  sub(a: TfTensor, b: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor | number): TfTensor;
  clipByValue(x: TfTensor, lo: number, hi: number): TfTensor;
  reshape(x: TfTensor, shape: readonly number[]): TfTensor;
  conv2d(x: TfTensor, w: TfTensor, strides: number, padding: number): TfTensor;
  conv2dTranspose(x: TfTensor, w: TfTensor, shape: readonly number[], strides: number, padding: number): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  softmax(x: TfTensor): TfTensor;
  sigmoid(x: TfTensor): TfTensor;
  rsqrt(x: TfTensor): TfTensor;
  moments(x: TfTensor, axes: readonly number[], keepDims: boolean): { mean: TfTensor; variance: TfTensor };
  gather(x: TfTensor, indices: TfTensor): TfTensor;
  randomNormal(shape: readonly number[]): TfTensor;
}

const name = "tfjs-wasm";

/** A form of the work: its operands, and what is done with them. */
interface Form {
  readonly operands: readonly TfTensor[];
  run(): TfTensor;
}

const drawn = (tf: Tf, shape: readonly number[], seed: number): TfTensor =>
  tf.tensor(randomValues(product(shape), seed), shape);

function conv(tf: Tf, work: ConvWork): Form | null {
  const { pass, n, inChannels, outChannels, size, outSize, kernel, stride, padding } = work;
  if (pass === "weight") return null;
  const x = [n, size, size, inChannels];
  const y = [n, outSize, outSize, outChannels];
  const w = drawn(tf, [kernel, kernel, inChannels, outChannels], 2);
  const image = drawn(tf, pass === "forward" ? x : y, 1);
  const run = (): TfTensor =>
    pass === "forward" ? tf.conv2d(image, w, stride, padding) : tf.conv2dTranspose(image, w, x, stride, padding);
  return { operands: [image, w], run };
}

function attention(tf: Tf, { pass, batch, heads, sequence, depth }: AttentionWork): Form | null {
  if (pass !== "forward") return null;
  const shape = [batch * heads, sequence, depth];
  const [q, k, v] = [1, 2, 3].map((seed) => drawn(tf, shape, seed)) as [TfTensor, TfTensor, TfTensor];
  const scale = 1 / Math.sqrt(depth);
  return { operands: [q, k, v], run: () => tf.matMul(tf.softmax(tf.matMul(tf.mul(q, scale), k, false, true)), v) };
}

function groupNorm(tf: Tf, { n, channels, size, groups, epsilon }: GroupNormWork): Form {
  const shape = [n, size, size, channels];
  const x = drawn(tf, shape, 1);
  const [gamma, beta] = [2, 3].map((seed) => drawn(tf, [channels], seed)) as [TfTensor, TfTensor];
  const run = (): TfTensor => {
    const grouped = tf.reshape(x, [n, size * size, groups, channels / groups]);
    const { mean, variance } = tf.moments(grouped, [1, 3], true);
    const normal = tf.mul(tf.sub(grouped, mean), tf.rsqrt(tf.add(variance, epsilon)));
    const y = tf.add(tf.mul(tf.reshape(normal, shape), gamma), beta);
    return tf.mul(y, tf.sigmoid(y));
  };
  return { operands: [x, gamma, beta], run };
}

function noising(tf: Tf, { n, size, channels, steps }: NoisingWork): Form {
  const shape = [n, size, size, channels];
  const [x, noise] = [drawn(tf, shape, 1), drawn(tf, shape, 2)];
  const [a, b] = [drawn(tf, [steps], 3), drawn(tf, [steps], 4)];
  const t = tf.tensor(
    Int32Array.from({ length: n }, (_, i) => (i * 37) % steps),
    [n],
    "int32",
  );
  const at = (coefficients: TfTensor): TfTensor => tf.reshape(tf.gather(coefficients, t), [n, 1, 1, 1]);
  return { operands: [x, noise, a, b, t], run: () => tf.add(tf.mul(x, at(a)), tf.mul(noise, at(b))) };
}

function samplerStep(tf: Tf, { noise, n, size, channels, c0, c1, c2, c3, c4, c5 }: SamplerWork): Form {
  const shape = [n, size, size, channels];
  const [x, epsilon] = [drawn(tf, shape, 1), drawn(tf, shape, 2)];
  const run = (): TfTensor => {
    const clean = tf.clipByValue(tf.add(tf.mul(x, c0), tf.mul(epsilon, c1)), -1, 1);
    const mean = tf.add(tf.mul(clean, c2), tf.mul(x, c4));
    const y = c5 === 0 ? mean : tf.add(mean, tf.mul(epsilon, c5));
    return noise === "drawn" ? tf.add(y, tf.mul(tf.randomNormal(shape), c3)) : y;
  };
  return { operands: [x, epsilon], run };
}

function formOf(tf: Tf, work: Work): Form | null {
  switch (work.kind) {
    case "conv":
      return conv(tf, work);
    case "attention":
      return attention(tf, work);
    case "matmul": {
      const operands = [drawn(tf, [work.m, work.k], 1), drawn(tf, [work.k, work.n], 2)] as const;
      return { operands, run: () => tf.matMul(...operands) };
    }
    case "groupNorm":
      return groupNorm(tf, work);
    case "addNoise":
      return noising(tf, work);
    case "samplerStep":
      return samplerStep(tf, work);
    case "randn":
      return { operands: [], run: () => tf.randomNormal([work.count]) };
    case "copy":
      return null;
  }
}

function contestantOf(tf: Tf, { operands, run }: Form): Contestant {
  return {
    name,
    async run(repeats) {
      for (let i = 0; i < repeats; i++) tf.tidy(run).dispose();
    },
    dispose() {
      for (const operand of operands) operand.dispose();
    },
  };
}

export async function findTfjs(): Promise<readonly (Peer | Missing)[]> {
  try {
    const tf = loadPackage("@tensorflow/tfjs-core") as Tf;
    const wasm = loadPackage("@tensorflow/tfjs-backend-wasm") as { setWasmPaths(folder: string): void };
    wasm.setWasmPaths(`${packageFolder("@tensorflow/tfjs-backend-wasm")}dist/`);
    if (!(await tf.setBackend("wasm"))) return [{ name, reason: "the backend does not start" }];
    return [
      {
        name,
        version: packageVersion("@tensorflow/tfjs-backend-wasm"),
        async contestant({ work, format = "f32" }, threads) {
          if (!work || format !== "f32" || threads !== 1) return null;
          const form = formOf(tf, work);
          return form && contestantOf(tf, form);
        },
        dispose() {},
      },
    ];
  } catch (error) {
    return [{ name, reason: (error as Error).message.split("\n")[0]! }];
  }
}
