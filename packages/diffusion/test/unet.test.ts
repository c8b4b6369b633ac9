// The U-Net: shapes, derivatives, and that it learns.

import { cosineBetas, Diffusion, ddim, ddpm, patchify, UNet, type UNetOptions, unpatchify } from "@figment/diffusion";
import { AdamW, compileStep, summary } from "@figment/nn";
import {
  assertNoLeaks,
  compile,
  rng,
  ShapeError,
  scope,
  type Tensor,
  tensor,
  UsageError,
  valueAndGrad,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { times } from "./support.js";

const seed = 23;
console.log(`U-Net tests: seed ${seed}`);
const random = rng(seed);
afterAll(() => {
  random.dispose();
  assertNoLeaks();
});

/** Gives the zero-initialised convolutions values, so that derivatives flow through everything. */
function awaken(net: UNet): UNet {
  scope(() => {
    for (const [path, parameter] of net.namedParameters()) {
      const stream = random.fork(path);
      parameter.set(
        stream
          .normal(parameter.shape)
          .mul(0.2)
          .add(path.includes("norm") && path.endsWith("weight") ? 1 : 0),
      );
      stream.dispose();
    }
  });
  return net;
}

const configurations: readonly (readonly [string, UNetOptions, readonly number[]])[] = [
  ["two levels", { inChannels: 3, channels: [8, 16] }, [2, 8, 8, 3]],
  ["odd sizes and attention", { inChannels: 1, channels: [8, 8, 16], attention: [7] }, [1, 28, 28, 1]],
  ["sizes that do not halve evenly", { inChannels: 2, channels: [4, 8, 8] }, [1, 13, 7, 2]],
  [
    "two blocks, heads, dropout",
    { inChannels: 1, channels: [8, 16], blocks: 2, attention: [4], heads: 2, dropout: 0.1 },
    [2, 8, 8, 1],
  ],
  ["patches", { inChannels: 1, channels: [8, 16], attention: [7], patch: 2 }, [2, 28, 28, 1]],
  ["other output channels", { inChannels: 3, outChannels: 6, channels: [8] }, [1, 4, 4, 3]],
];

describe("UNet", () => {
  it.each(configurations)("gives an output of the input's size: %s", (_name, options, shape) => {
    const net = new UNet(options).init(random);
    scope(() => {
      const out = net.forward(random.normal(shape), times(shape[0] as number, 5));
      expect(out.shape).toEqual([...shape.slice(0, 3), options.outChannels ?? options.inChannels]);
    });
    net.dispose();
  });

  it.each<Partial<UNetOptions>>([
    { inChannels: 0 },
    { channels: [8, 0] },
    { channels: [] },
    { blocks: 0 },
    { heads: 1.5 },
    { patch: 0 },
    { imageSize: -4 },
    { groups: 0 },
    { classes: 0 },
    { timeDim: 0 },
    { dropout: 1 },
  ])("refuses %o when it is made", (options) => {
    expect(() => new UNet({ inChannels: 1, channels: [8, 16], ...options })).toThrow(UsageError);
  });

  it("starts at zero", () => {
    const net = new UNet({ inChannels: 1, channels: [8, 16] }).init(random);
    scope(() => {
      const out = net.forward(random.normal([1, 8, 8, 1]), times(1, 3));
      expect(out.dataSync().every((x) => x === 0)).toBe(true);
    });
    net.dispose();
  });

  it.each(configurations)("gives every parameter a derivative: %s", (_name, options, shape) => {
    const net = awaken(new UNet(options).init(random));
    scope(() => {
      const x = random.normal(shape);
      const t = times(shape[0] as number, 40);
      const { grads } = valueAndGrad(() => net.forward(x, t).square().mean(), { wrt: net })();
      const silent = [...net.namedParameters()]
        // A bias of the keys moves all scores of a query alike, which softmax does not see.
        .filter(([path]) => !path.endsWith("key.bias"))
        .filter(([, parameter]) =>
          grads
            .get(parameter)
            .dataSync()
            .every((value) => value === 0),
        )
        .map(([path]) => path);
      expect(silent).toEqual([]);
    });
    net.dispose();
  });

  it("sees the time, and each sample its own", () => {
    const net = awaken(new UNet({ inChannels: 1, channels: [8, 16] }).init(random)).eval();
    scope(() => {
      const x = random.normal([1, 8, 8, 1]).broadcastTo([2, 8, 8, 1]);
      const run = (t: number[]): number[] => [...net.forward(x, tensor(Int32Array.from(t))).dataSync()];
      const [a, b] = [run([3, 3]), run([3, 500])];
      expect(b.slice(0, 64)).toEqual(a.slice(0, 64));
      expect(b.slice(64)).not.toEqual(a.slice(64));
    });
    net.dispose();
  });

  it("asks for the image size where attention would land elsewhere", () => {
    expect(() => new UNet({ inChannels: 1, channels: [8, 8], attention: [5], imageSize: 28 })).toThrow(
      /levels are 28, 14/,
    );
    const net = new UNet({ inChannels: 1, channels: [8, 8, 8], attention: [7] }).init(random);
    scope(() => {
      expect(() => net.forward(zeros([1, 32, 32, 1]), times(1, 0))).toThrow(/set imageSize/);
      expect(() => net.forward(zeros([1, 28, 28, 2]), times(1, 0))).toThrow(ShapeError);
      expect(() => net.forward(zeros([2, 28, 28, 1]), times(1, 0))).toThrow(ShapeError);
    });
    net.dispose();
  });

  it("has as many FLOPs in its summary as its convolutions and products", () => {
    const net = new UNet({ inChannels: 1, channels: [8, 16], attention: [4] }).init(random);
    const { rows, flops, parameters } = scope(() => summary(net, zeros([1, 8, 8, 1]), times(1, 0)));
    expect(parameters).toBe(net.parameterCount);
    expect(rows.find(({ path }) => path === "last")?.flops).toBe(2 * 64 * 9 * 8);
    expect(flops).toBeGreaterThan(1e5);
    net.dispose();
  });

  it("learns: the loss of a small diffusion model falls", () => {
    const net = new UNet({ inChannels: 1, channels: [8, 16], attention: [4] }).init(rng(seed));
    using diffusion = new Diffusion({ betas: cosineBetas(100) });
    const optimizer = new AdamW(net, { lr: 3e-3 });
    const stream = rng(seed);
    const step = compileStep(
      net,
      optimizer,
      (model, { image }: { image: Tensor }) => diffusion.loss(model, image, stream),
      {
        clipNorm: 1,
        ema: 0.9,
      },
    );
    // Images of one bright column each.
    const images = scope(() => {
      const data = new Float32Array(16 * 64).fill(-1);
      for (let i = 0; i < 16; i++) for (let row = 0; row < 8; row++) data[64 * i + 8 * row + (i % 8)] = 1;
      return tensor(data, { shape: [16, 8, 8, 1] });
    });
    const losses = Array.from({ length: 150 }, () => scope(() => step({ image: images }).loss.itemSync()));
    const average = (list: readonly number[]): number => list.reduce((sum, x) => sum + x, 0) / list.length;
    expect(average(losses.slice(0, 5))).toBeGreaterThan(0.8);
    expect(average(losses.slice(-30))).toBeLessThan(0.45);
    for (const owner of [step, optimizer, net, stream, images]) owner.dispose();
  });
});

describe("patches", () => {
  it("are folded into channels in row-major order, and back", () => {
    scope(() => {
      const x = tensor(
        Float32Array.from({ length: 32 }, (_, i) => i),
        { shape: [1, 4, 4, 2] },
      );
      const folded = patchify(x, 2);
      expect(folded.shape).toEqual([1, 2, 2, 8]);
      expect([...folded.at(0, 0, 1).dataSync()]).toEqual([4, 5, 6, 7, 12, 13, 14, 15]);
      expect([...unpatchify(folded, 2).dataSync()]).toEqual([...x.dataSync()]);
      expect(() => patchify(x, 3)).toThrow(ShapeError);
      expect(() => unpatchify(x, 2)).toThrow(ShapeError);
    });
  });
});

describe("a U-Net in bf16", () => {
  /** Formats of the convolutions, products and attentions of a program. */
  const products = (explained: string): string[] =>
    explained
      .split("\n")
      .filter((line) => /^(conv2d|matmul|attention)/.test(line) && !line.includes("-tiles"))
      .map((line) => (line.split(/ {2,}/)[2] as string).trim());
  const build = () => new UNet({ inChannels: 1, channels: [8, 16], attention: [4], dropout: 0.1 }).init(random);

  it("multiplies bf16 by bf16 in every convolution, product and attention of a training step", () => {
    const net = awaken(build());
    const diffusion = new Diffusion({ betas: cosineBetas(100) });
    const optimizer = new AdamW(net, { lr: 1e-3 });
    const step = compileStep(net, optimizer, (n, { x }: { x: Tensor }) => diffusion.loss(n, x, random), {
      precision: "bf16",
    });
    scope(() => expect(step({ x: random.normal([2, 8, 8, 1]) }).loss.itemSync()).toBeGreaterThan(0));
    const formats = products(step.explain());
    expect(formats.length).toBeGreaterThan(20);
    expect(formats.filter((text) => !/^bf16(×[23] .*)?$/.test(text))).toEqual([]);
    expect(step.explain()).toMatch(/adamw? .* f32/i);
    for (const owner of [step, optimizer, net, diffusion]) owner.dispose();
  });

  it("keeps its weights in bf16 for sampling, with labels, in any precision", async () => {
    const options = { inChannels: 1, channels: [8, 16], attention: [4], classes: 3, scaleShift: true } as const;
    const net = awaken(new UNet(options).init(random));
    const small = net.clone({ dtype: "bf16" });
    const exact = net.clone();
    scope(() =>
      exact.loadStateDict(
        Object.fromEntries(Object.entries(small.stateDict()).map(([path, cell]) => [path, cell.value])),
      ),
    );
    const diffusion = new Diffusion({ betas: cosineBetas(100) });
    const label = times(2, 1);
    const draw = async (model: UNet, precision?: "bf16"): Promise<number[]> => {
      const stream = rng(seed);
      const sampler = ddim({ steps: 4 });
      const images = await diffusion.sample(model, { shape: [2, 8, 8, 1], sampler, rng: stream, precision, label });
      const data = [...(await images.data())];
      for (const owner of [images, stream]) owner.dispose();
      return data;
    };
    const close = (a: number[], b: number[]): number => Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))));
    expect(close(await draw(small), await draw(exact))).toBeLessThan(1e-4);
    expect(close(await draw(small, "bf16"), await draw(exact, "bf16"))).toBeLessThan(1e-4);
    for (const owner of [net, small, exact, diffusion, label]) owner.dispose();
  });

  it("gives the loss and the gradient of f32 within rounding", () => {
    const net = awaken(build());
    const diffusion = new Diffusion({ betas: cosineBetas(100) });
    scope(() => {
      const x = random.normal([2, 8, 8, 1]);
      const t = times(2, 40);
      const noise = random.normal(x.shape);
      const gradientAt = (precision: "highest" | "bf16"): number[] => {
        const f = compile(
          () => {
            const { value, grads } = valueAndGrad(
              () =>
                net
                  .forward(diffusion.qSample(x, t, noise), t)
                  .sub(noise)
                  .square()
                  .mean(),
              { wrt: net },
            )();
            return [value, ...net.parameters().map((parameter) => grads.get(parameter))];
          },
          { precision, mode: "eval" },
        );
        const list = f().flatMap((g) => [...(g as Tensor).dataSync()]);
        f.dispose();
        return list;
      };
      const [exact, rough] = [gradientAt("highest"), gradientAt("bf16")];
      expect(Math.abs((rough[0] as number) / (exact[0] as number) - 1)).toBeLessThan(1e-2);
      const off = Math.hypot(...rough.map((g, i) => g - (exact[i] as number))) / Math.hypot(...exact);
      expect(off).toBeGreaterThan(1e-5);
      expect(off).toBeLessThan(2e-2);
    });
    net.dispose();
    diffusion.dispose();
  });

  it.each([
    ["ddim", ddim],
    ["ddpm", ddpm],
  ] as const)("samples by %s in bf16 from a program of its own", async (_name, sampler) => {
    const net = awaken(build());
    // Predicting v, no step divides by a small coefficient, which would amplify what was rounded.
    const diffusion = new Diffusion({ betas: cosineBetas(100), predict: "v" });
    const draw = async (precision?: "bf16"): Promise<Float32Array> => {
      const stream = rng(9);
      using images = await diffusion.sample(net, {
        shape: [2, 8, 8, 1],
        sampler: sampler({ steps: 3 }),
        rng: stream,
        precision,
      });
      stream.dispose();
      return (await images.data()) as Float32Array;
    };
    const [exact, rough] = [await draw(), await draw("bf16")];
    const size = Math.hypot(...exact);
    const off = Math.hypot(...rough.map((y, i) => y - (exact[i] as number))) / size;
    expect(off).toBeGreaterThan(0);
    expect(off).toBeLessThan(0.05);
    const text = diffusion.explainSampling("bf16") as string;
    expect(products(text).filter((formats) => !/^bf16×[23] /.test(formats))).toEqual([]);
    expect(products(diffusion.explainSampling() as string).filter((formats) => /bf16/.test(formats))).toEqual([]);
    net.dispose();
    diffusion.dispose();
  });
});
