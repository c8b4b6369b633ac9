// Penalties on derivatives — WGAN-GP, R1, path length — through every kind of layer: value and derivative agree with
// PyTorch's, eager and compiled, and with finite differences in float64.

import { modulatedConv2d } from "@figment/nn";
import {
  add,
  assertNoLeaks,
  attention,
  avgPool,
  batchNorm,
  Cell,
  compile,
  conv2d,
  conv2dInputGrad,
  type DType,
  elu,
  gelu,
  grad,
  groupNorm,
  layerNorm,
  leakyRelu,
  lerp,
  logSoftmax,
  matmul,
  mean,
  norm,
  resizeNearest,
  rmsNorm,
  scope,
  sigmoid,
  silu,
  sin,
  softmax,
  softplus,
  square,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  upfirdn2d,
  valueAndGrad,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "./golden.js";

afterAll(() => assertNoLeaks());

const recorded = goldenFile("penalties");
const pathLengthTarget = 0.7;

type Parameters = Readonly<Record<string, Tensor>>;
type Network = (x: Tensor, p: Parameters) => Tensor;

/** A parameter that the recording has. */
const of = (p: Parameters, name: string): Tensor => p[name] as Tensor;
const linear = (x: Tensor, w: Tensor): Tensor => matmul(x, w, { transposeB: true });
const same = { padding: 1 } as const;

const image: Readonly<Record<string, Network>> = {
  conv: (x, p) => {
    const h = sin(leakyRelu(conv2d(x, of(p, "a"), { ...same, bias: of(p, "b") }), 0.2));
    return tanh(conv2d(h, of(p, "c"), { ...same, stride: 2 }));
  },
  convTransposed: (x, p) => {
    const [n, h, w] = x.dims(4);
    const up = conv2dInputGrad(x, of(p, "a"), { inputShape: [n, 2 * h, 2 * w, 4], stride: 2, padding: 1 });
    return tanh(conv2d(tanh(up), of(p, "c"), same));
  },
  modulated: (x, p) =>
    tanh(modulatedConv2d(sin(x), of(p, "w"), add(linear(of(p, "latent"), of(p, "style")), 1), { padding: 1 })),
  upfirdn: (x, p) => {
    const up = upfirdn2d(conv2d(x, of(p, "a"), same), of(p, "f"), {
      up: 2,
      padding: [
        [2, 1],
        [2, 1],
      ],
    });
    return tanh(upfirdn2d(tanh(up), of(p, "f"), { down: 2, padding: 1 }));
  },
  groupNorm: (x, p) => silu(groupNorm(conv2d(x, of(p, "a"), same), of(p, "g"), of(p, "b"), { groups: 2 })),
  instanceNorm: (x, p) => tanh(groupNorm(conv2d(x, of(p, "a"), same), of(p, "g"), of(p, "b"), { groups: 4 })),
  batchNorm: (x, p) => tanh(batchNorm(conv2d(x, of(p, "a"), same), of(p, "g"), of(p, "b")).y),
  layerNorm: (x, p) => tanh(layerNorm(linear(x, of(p, "a")), of(p, "g"), of(p, "b"))),
  rmsNorm: (x, p) => tanh(rmsNorm(linear(x, of(p, "a")), of(p, "g"), { eps: 1e-6 })),
  attention: (x, p) => {
    const [n, s, c] = x.dims(3);
    const split = (w: Tensor): Tensor => linear(x, w).reshape([n, s, 2, c / 2]);
    return attention(split(of(p, "q")), split(of(p, "k")), split(of(p, "v"))).reshape([n, s, c]);
  },
  pooling: (x, p) => {
    const h = sin(conv2d(x, of(p, "a"), same));
    return tanh(avgPool(resizeNearest(h, [12, 12]), { kernel: 3, stride: 3 }));
  },
};
const activations = { tanh, sigmoid, silu, softplus, gelu, elu, sin, softmax, logSoftmax } as const;
const networks: Readonly<Record<string, Network>> = {
  ...image,
  ...Object.fromEntries(
    Object.entries(activations).map(([name, f]): [string, Network] => [
      name,
      (x, p) => f(linear(f(linear(x, of(p, "a"))), of(p, "c"))),
    ]),
  ),
};

/** What the penalties are taken at. */
interface Point {
  readonly mixed: Tensor;
  readonly real: Tensor;
  readonly noise: Tensor;
}

/** Lengths of the slopes of each sample. */
const lengths = (slope: Tensor): Tensor =>
  norm(
    slope,
    Array.from({ length: slope.rank - 1 }, (_, i) => i + 1),
  );

const penalties: Readonly<Record<string, (net: (x: Tensor) => Tensor, at: Point) => Tensor>> = {
  // Gulrajani et al. 2017, eq. 3
  wganGp: (net, { mixed, noise }) => mean(square(sub(lengths(grad((x: Tensor) => sum(net(x).mul(noise)))(mixed)), 1))),
  // Mescheder et al. 2018, eq. 9, with γ = 1
  r1: (net, { real, noise }) => mean(square(lengths(grad((x: Tensor) => sum(net(x).mul(noise)))(real)))).mul(0.5),
  // Karras et al. 2020, eq. 4
  pathLength: (net, { real, noise }) =>
    mean(square(sub(lengths(grad((x: Tensor) => sum(net(x).mul(noise)))(real)), pathLengthTarget))),
};

const names = Object.keys(networks);
const parameterNames = (name: string): string[] =>
  recorded.keys(name).flatMap((key) => (key.startsWith("p.") ? [key.slice(2)] : []));

/** Cells that hold a network's recorded parameters. */
function cellsOf(name: string, dtype: DType): Record<string, Cell> {
  return Object.fromEntries(
    parameterNames(name).map((key) => {
      const { array, shape } = recorded.read(`${name}/p.${key}`);
      return [key, new Cell({ shape, dtype, name: key, initial: () => array })];
    }),
  );
}

function pointOf(name: string, dtype: DType): Point {
  const read = (key: string): Tensor => {
    const { array, shape } = recorded.read(`${name}/${key}`);
    return tensor([...array], { shape, dtype });
  };
  return { mixed: read("mixed"), real: read("real"), noise: read("noise") };
}

/** The penalty with the parameters read from cells. */
function penaltyOf(name: string, kind: string, cells: Readonly<Record<string, Cell>>, at: Point): Tensor {
  const parameters = Object.fromEntries(Object.entries(cells).map(([key, cell]) => [key, cell.value]));
  const penalty = penalties[kind] as (typeof penalties)[string];
  return penalty((x) => (networks[name] as Network)(x, parameters), at);
}

describe("penalties on derivatives", () => {
  it("were recorded by the script beside them, from PyTorch 2", () => {
    expect(recorded.metadata.script_sha256).toBe(recorded.scriptHash());
    expect(recorded.metadata.torch).toMatch(/^2\./);
  });

  it("are recorded through every network", () => expect(recorded.cases().sort()).toEqual([...names].sort()));

  it("mix real and fake as lerp does", () => {
    scope(() => {
      const [fake, real, t] = ["fake", "real", "t"].map((key) => recorded.tensor(`conv/${key}`)) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      recorded.expect(lerp(fake, real, t), "conv/mixed");
    });
  });

  describe.each(names)("through %s", (name) => {
    it.each(Object.keys(penalties))("%s agrees with PyTorch, eager and compiled", (kind) => {
      const cells = cellsOf(name, "f32");
      const list = Object.values(cells);
      const check = (at: Point): { value: Tensor; gradients: Tensor[] } => {
        const { value, grads } = valueAndGrad(() => penaltyOf(name, kind, cells, at), { wrt: list })();
        return { value, gradients: list.map((cell) => grads.get(cell)) };
      };
      const compiled = compile(check);
      scope(() => {
        const at = pointOf(name, "f32");
        for (const { value, gradients } of [check(at), compiled(at)]) {
          recorded.expect(value, `${name}/${kind}/value`);
          gradients.forEach((gradient, i) => {
            recorded.expect(gradient, `${name}/${kind}/d.${list[i]?.name}`);
          });
        }
      });
      compiled.dispose();
      for (const cell of list) cell.dispose();
    });

    it.each(Object.keys(penalties))("%s has the derivative of finite differences", (kind) => {
      const cells = cellsOf(name, "f64");
      const list = Object.values(cells);
      scope(() => {
        const at = pointOf(name, "f64");
        const origin = list.map((cell) => cell.value.dataSync());
        // A direction that no symmetry of the parameters explains.
        const direction = origin.map((data, k) => Float64Array.from(data, (_, i) => Math.sin(1 + 3 * k + 1.7 * i)));
        const moved = (step: number): number =>
          scope(() => {
            list.forEach((cell, k) => {
              cell.setData(
                Float64Array.from(origin[k] as Float64Array, (x, i) => x + step * (direction[k]?.[i] as number)),
              );
            });
            return penaltyOf(name, kind, cells, at).itemSync();
          });
        const central = (step: number): number => (moved(step) - moved(-step)) / (2 * step);
        const step = 1e-5;
        const numeric = (4 * central(step / 2) - central(step)) / 3;
        moved(0);
        const { grads } = valueAndGrad(() => penaltyOf(name, kind, cells, at), { wrt: list })();
        let analytic = 0;
        list.forEach((cell, k) => {
          grads
            .get(cell)
            .dataSync()
            .forEach((g, i) => {
              analytic += g * (direction[k]?.[i] as number);
            });
        });
        expect(Math.abs(analytic - numeric) / Math.max(1e-3, Math.abs(numeric))).toBeLessThan(1e-6);
      });
      for (const cell of list) cell.dispose();
    });
  });
});
