// Activations after norms: the norm's kernel applies them, and that of its derivative theirs, in training too.

import {
  assertNoLeaks,
  batchNorm,
  Cell,
  compile,
  conv2d,
  customVjp,
  full,
  grad,
  groupNorm,
  gt,
  leakyRelu,
  matmul,
  maximum,
  mul,
  relu,
  rng,
  scope,
  select,
  silu,
  sum,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const random = rng(51);
const image = [3, 5, 7, 8];

afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

const norms = {
  batchNorm: (x: Tensor, gamma: Tensor, beta: Tensor) => batchNorm(x, gamma, beta).y,
  groupNorm: (x: Tensor, gamma: Tensor, beta: Tensor) => groupNorm(x, gamma, beta, { groups: 2 }),
};
const activations = { relu, leakyRelu: (x: Tensor) => leakyRelu(x, 0.2), silu };
const names = Object.keys(norms).flatMap((norm) => Object.keys(activations).map((name) => [norm, name] as const));
type Args = [Tensor, Tensor, Tensor];

const operands = (): Args => [random.normal(image), random.normal([8]), random.normal([8])];
/** What `f` does, and the same function compiled and what its program says. */
function both(f: (...args: Args) => readonly Tensor[], args: Args) {
  const compiled = compile(f);
  const got = compiled(...args);
  const text = compiled.explain();
  compiled.dispose();
  return { got, want: f(...args), text };
}
/** Derivatives of a function of all operands by each of them. */
const gradientsOf =
  (loss: (...args: Args) => Tensor) =>
  (...args: Args): Tensor[] =>
    args.map((x, i) => grad((v: Tensor) => loss(...(args.with(i, v) as Args)))(x));
const expectClose = (got: readonly Tensor[], want: readonly Tensor[]): void => {
  got.forEach((y, i) => {
    const expected = want[i]?.dataSync() as Float32Array;
    expect(Math.max(...y.dataSync().map((value, k) => Math.abs(value - (expected[k] as number))))).toBeLessThan(2e-5);
  });
};

describe("a norm and the activation after it", () => {
  it.each(names)("run as one kernel: %s, %s", (norm, name) =>
    scope(() => {
      const f = (...args: Args) => [
        activations[name as keyof typeof activations](norms[norm as keyof typeof norms](...args)),
      ];
      const { got, want, text } = both(f, operands());
      expect(text).toMatch(/: 1 records,/);
      expectClose(got, want);
    }),
  );

  it.each(names.filter(([, name]) => name !== "silu"))(
    "run as one kernel in training, and as one their derivatives: %s, %s",
    (norm, name) =>
      scope(() => {
        const act = activations[name as keyof typeof activations];
        const w = random.normal(image);
        const loss = (...args: Args) => sum(mul(act(norms[norm as keyof typeof norms](...args)), w));
        const { got, want, text } = both(gradientsOf(loss), operands());
        for (const op of [norm, `${norm}Grad`]) expect(text.match(new RegExp(`^${op} `, "gm"))).toHaveLength(1);
        expect(text).not.toMatch(/select|maximum/);
        expectClose(got, want);
      }),
  );

  it("leave the batch's statistics as they are", () =>
    scope(() => {
      const f = (...args: Args) => {
        const { y, mean, variance, unbiasedVariance } = batchNorm(...args);
        return [relu(y), mean, variance, unbiasedVariance];
      };
      const { got, want } = both(f, operands());
      for (const i of [1, 2, 3]) expect(got[i]?.dataSync()).toEqual(want[i]?.dataSync());
    }));

  it("stay apart where something else reads what is normalised", () =>
    scope(() => {
      const f = (...args: Args) => {
        const { y } = batchNorm(...args);
        return [relu(y), y.add(1)];
      };
      const { got, want, text } = both(f, operands());
      expect(text).toMatch(/maximum/);
      expectClose(got, want);
    }));

  it("differentiate rightly by a slope below zero, where a result does not tell the sign", () =>
    scope(() => {
      const loss = (...args: Args) => sum(leakyRelu(norms.batchNorm(...args), -0.5).sin());
      const { got, want } = both(gradientsOf(loss), operands());
      expectClose(got, want);
    }));

  it("take no derivative by a result of a slope below zero", () =>
    scope(() => {
      const chosen = (by: Tensor, y: Tensor) => select(gt(by, 0), y, mul(y, -0.5));
      const act = customVjp(
        (y: Tensor) => chosen(y, y),
        (_, result, cotangent) => [chosen(result, cotangent)],
      );
      const { got, want } = both(
        gradientsOf((...args) => sum(act(norms.batchNorm(...args)).sin())),
        operands(),
      );
      expectClose(got, want);
    }));

  it.each<[string, (y: Tensor) => Tensor]>([
    ["maximum", (y) => maximum(y, zeros([4, ...image]))],
    ["select", (y) => select(gt(y, zeros([4, ...image])), y, mul(y, full([4, ...image], 0.2)))],
  ])("stay apart where constants repeat what is normalised: %s", (_, activate) =>
    scope(() => {
      const { got, want } = both((...args) => [activate(norms.batchNorm(...args))], operands());
      expect(got[0]?.shape).toEqual([4, ...image]);
      expectClose(got, want);
    }),
  );

  it.each(Object.keys(norms))("keep derivatives where they give NaN, as activations by themselves do: %s", (norm) =>
    scope(() => {
      const [x, gamma] = operands();
      const beta = tensor([Number.NaN, 0, 0, 0, 0, 0, 0, -100]);
      const slopes = grad((b: Tensor) => sum(relu(norms[norm as keyof typeof norms](x, gamma, b))));
      const compiled = compile(slopes);
      const want = [...slopes(beta).dataSync()];
      expect(want[0]).toBe(105);
      expect([...compiled(beta).dataSync()]).toEqual(want);
      compiled.dispose();
    }),
  );

  it.each(Object.keys(norms))("let nothing through behind a ReLU's 0, not even NaN, in any float type: %s", (norm) =>
    scope(() => {
      const [x, gamma] = operands();
      const beta = tensor([-100, 0, 0, 0, 0, 0, 0, 0]);
      const unlike = tensor([Number.NaN, 1, 1, 1, 1, 1, 1, 1]);
      for (const dtype of ["f32", "f64"] as const) {
        const [xs, gammas, betas, weights] = [x, gamma, beta, unlike].map((v) => v.cast(dtype)) as [...Args, Tensor];
        const slopes = grad((v: Tensor) => sum(relu(norms[norm as keyof typeof norms](v, gammas, betas)).mul(weights)));
        const compiled = compile(slopes);
        expect([...compiled(xs).dataSync()].every(Number.isFinite), dtype).toBe(true);
        expect([...slopes(xs).dataSync()].every(Number.isFinite), dtype).toBe(true);
        compiled.dispose();
      }
    }),
  );

  it("have derivatives of second order", () =>
    scope(() => {
      const [x, gamma, beta] = operands();
      const loss = (a: Tensor) => sum(relu(norms.batchNorm(a, gamma, beta)).square());
      const penalty = (a: Tensor) => sum(grad(loss)(a).square());
      const second = compile(grad(penalty));
      expectClose([second(x)], [grad(penalty)(x)]);
      second.dispose();
    }));
});

describe("derivatives of relu and leakyRelu", () => {
  it.each([
    ["relu", relu],
    ["leakyRelu", (x: Tensor) => leakyRelu(x, 0.2)],
  ] as const)("need of a convolution's result no more than what the next product reads: %s", (name, act) =>
    scope(() => {
      const weight = new Cell({ shape: [8, 3, 3, 8], name: "weight" });
      weight.set(random.normal([8, 3, 3, 8]));
      const loss = (x: Tensor) =>
        sum(conv2d(act(conv2d(x, weight.value, { padding: 1 })), weight.value, { padding: 1 }).sin());
      const step = compile((x: Tensor) => grad(loss, { wrt: [weight] })(x).get(weight) as Tensor, {
        precision: "bf16",
      });
      const got = step(random.normal(image));
      expect(got.shape).toEqual([8, 3, 3, 8]);
      const text = step.explain();
      expect(text).toMatch(
        name === "relu" ? /^cast·le·select·cast /m : /^cast·gt·mul·select·cast .* bf16 f32 → bf16 /m,
      );
      expect(text).not.toMatch(/^maximum|bool/m);
      for (const owner of [step, weight]) owner.dispose();
    }),
  );

  it("are those of the products before, fused or not", () =>
    scope(() => {
      const w = random.normal([8, 6]);
      const loss = (x: Tensor) => sum(relu(matmul(x, w)).sin());
      const compiled = compile(grad(loss));
      const x = random.normal([5, 8]);
      expectClose([compiled(x)], [grad(loss)(x)]);
      expect(compiled.explain()).not.toMatch(/maximum/);
      compiled.dispose();
    }));
});
