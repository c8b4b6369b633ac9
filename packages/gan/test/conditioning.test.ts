// Minibatch standard deviation and the conditional heads.

import { AuxiliaryHead, auxiliaryLoss, DcganCritic, MinibatchStd, ProjectionHead } from "@figment/gan";
import { assertNoLeaks, grad, rng, scope, type Tensor, tensor, valueAndGrad, zeros } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "./golden.js";

const golden = goldenFile("losses");
afterAll(() => assertNoLeaks());
const labels = (...list: number[]): Tensor => tensor(list, { dtype: "i32" });

describe("minibatch standard deviation", () => {
  const cases = {
    image: { groupSize: 4 },
    shares: { groupSize: 2, features: 3 },
    vector: { groupSize: 16 },
  } as const;

  it.each(Object.entries(cases))("%s, with its derivative, as recorded", (name, options) => {
    const layer = new MinibatchStd(options);
    scope(() => {
      const [x, dy] = [golden.tensor(`minibatchStd/${name}/x`), golden.tensor(`minibatchStd/${name}/dy`)];
      golden.expect(layer.forward(x), `minibatchStd/${name}/y`);
      golden.expect(grad((input: Tensor) => layer.forward(input).mul(dy).sum())(x), `minibatchStd/${name}/dx`);
    });
  });

  it("tells equal samples from different ones", () => {
    const layer = new MinibatchStd({ groupSize: 2 });
    scope(() => {
      const spread = (x: Tensor): number => layer.forward(x).at(0, 2).itemSync();
      expect(
        spread(
          tensor([
            [1, 2],
            [1, 2],
          ]),
        ),
      ).toBeCloseTo(1e-4, 7);
      expect(
        spread(
          tensor([
            [1, 2],
            [3, 8],
          ]),
        ),
      ).toBeCloseTo(2, 3);
    });
  });

  it("refuses batches that do not divide into groups", () => {
    expect(() => scope(() => new MinibatchStd().forward(zeros([6, 2])))).toThrow(
      /\[6, 2\] do not divide into groups of 4/,
    );
    expect(() => new MinibatchStd({ groupSize: 0 })).toThrow(/groupSize/);
  });
});

describe("the projection head", () => {
  it("agrees with PyTorch, with all derivatives", () => {
    const head = new ProjectionHead(5, 4);
    scope(() => {
      const at = (key: string): Tensor => golden.tensor(`projection/${key}`);
      head.loadStateDict({ "linear.weight": at("w"), "linear.bias": at("bias"), "embedding.weight": at("v") });
      golden.expect(head.forward(at("phi"), at("label")), "projection/y");
      const weighted = (phi: Tensor): Tensor => head.forward(phi, at("label")).mul(at("dy")).sum();
      golden.expect(grad(weighted)(at("phi")), "projection/dphi");
      const { grads } = valueAndGrad(() => weighted(at("phi")), { wrt: head })();
      const cells = head.stateDict();
      for (const [path, key] of Object.entries({
        "linear.weight": "dw",
        "linear.bias": "dbias",
        "embedding.weight": "dv",
      }))
        golden.expect(grads.get(cells[path] as never), `projection/${key}`);
    });
    head.dispose();
  });

  it("scores two labels of one sample apart by the inner product with the difference of their vectors", () => {
    const random = rng(2);
    const head = new ProjectionHead(6, 3).init(random);
    scope(() => {
      const phi = random.normal([1, 6]);
      const score = (label: number): number => head.forward(phi, labels(label)).itemSync();
      const vectors = head.stateDict()["embedding.weight"]?.value.dataSync() as Float32Array;
      const product = [...phi.dataSync()].reduce(
        (sum, x, i) => sum + x * ((vectors[6 + i] as number) - (vectors[12 + i] as number)),
        0,
      );
      expect(score(1) - score(2)).toBeCloseTo(product, 5);
    });
    head.dispose();
    random.dispose();
  });
});

describe("the auxiliary classifier", () => {
  it("loses what PyTorch's cross entropy says, on real and on generated samples", () => {
    scope(() => {
      const at = (key: string): Tensor => golden.tensor(`auxiliary/${key}`);
      const [label, real, fake] = [at("label"), at("real"), at("fake")];
      golden.expect(auxiliaryLoss(label, real, fake), "auxiliary/loss");
      golden.expect(grad((x: Tensor) => auxiliaryLoss(label, x, fake))(real), "auxiliary/dreal");
      golden.expect(grad((x: Tensor) => auxiliaryLoss(label, real, x))(fake), "auxiliary/dfake");
    });
  });

  it("gives a score and class logits of the same features", () => {
    const random = rng(2);
    const head = new AuxiliaryHead(6, 3, { spectral: true }).init(random);
    scope(() => {
      const { score, classes } = head.forward(random.normal([4, 6]));
      expect(score.shape).toEqual([4, 1]);
      expect(classes.shape).toEqual([4, 3]);
    });
    head.dispose();
    random.dispose();
  });
});

describe("a critic's labels", () => {
  it.each(["channel", "projection", "auxiliary"] as const)(
    "as %s change what it says of a sample, or are its answer",
    (condition) => {
      const random = rng(4);
      const critic = new DcganCritic({ channels: [4, 8], norm: "none", classes: 3, condition }).init(random);
      scope(() => {
        const x = random.normal([1, 28, 28, 1]);
        const [a, b] = [critic.forward(x, labels(0)), critic.forward(x, labels(1))].map((output) =>
          "score" in output ? output.score.itemSync() : output.itemSync(),
        );
        if (condition === "auxiliary") expect(a).toBe(b);
        else expect(a).not.toBe(b);
        expect(() => critic.forward(x)).toThrow(/labels are given exactly when the network has classes; it has 3/);
      });
      critic.dispose();
      random.dispose();
    },
  );
});
