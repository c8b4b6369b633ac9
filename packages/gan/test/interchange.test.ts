// The networks and PyTorch's counterparts of them: the same weights, under PyTorch's names, make the same numbers, and what is
// exported is what PyTorch had saved.

import { type Critic, DcganCritic, DcganGenerator, dcganNames } from "@figment/gan";
import { exportTorch, importTorch, type Module, type TorchRules } from "@figment/nn";
import { assertNoLeaks, concat, scope, type Tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { goldenFile } from "./golden.js";

const golden = goldenFile("networks");
afterAll(() => assertNoLeaks());

it("golden vectors were recorded by the script beside them, from PyTorch 2", () => {
  expect(golden.metadata.script_sha256).toBe(golden.scriptHash());
  expect(golden.metadata.torch).toMatch(/^2\./);
});

const small = { imageSize: 8, imageChannels: 2 } as const;
const generator = new DcganGenerator({ ...small, latents: 5, channels: [6, 4] });
const critics: Readonly<Record<string, Critic>> = {
  plain: new DcganCritic({ ...small, channels: [4, 6], minibatchStd: true }),
  projection: new DcganCritic({ ...small, channels: [4, 6], norm: "spectral", classes: 3 }),
  auxiliary: new DcganCritic({ ...small, channels: [4, 6], norm: "layer", classes: 3, condition: "auxiliary" }),
};

/** Loads what was recorded, compares what the network makes of it, and what it exports. */
function expectExchange(name: string, module: Module, forward: () => Tensor, rules: TorchRules = {}): void {
  scope(() => {
    const names = golden.keys(name).filter((key) => key.startsWith("weights."));
    const weights = Object.fromEntries(
      names.map((key) => [key.slice("weights.".length), golden.tensor(`${name}/${key}`)]),
    );
    importTorch(module, weights, { rules }).eval();
    golden.expect(forward(), `${name}/y`);
    const exported = exportTorch(module, { rules });
    expect(Object.keys(exported).sort()).toEqual(Object.keys(weights).sort());
    for (const [key, tensor] of Object.entries(exported)) {
      expect(tensor.shape, key).toEqual(weights[key]?.shape);
      expect(tensor.dataSync(), key).toEqual(weights[key]?.dataSync());
    }
  });
  module.dispose();
}

describe("weights are exchanged with PyTorch", () => {
  it("the DCGAN generator, under the names of PyTorch's examples", () => {
    expectExchange(
      "generator",
      generator,
      () => generator.forward(golden.tensor("generator/z")),
      dcganNames(generator),
    );
  });

  it.each(Object.entries(critics))("a %s critic", (name, critic) => {
    expectExchange(name, critic, () => {
      const [x, label] = [golden.tensor(`${name}/x`), golden.tensor(`${name}/label`)];
      const output = critic.forward(x, critic.classes > 0 ? label : undefined);
      return "score" in output ? concat([output.score, output.classes], 1) : output;
    });
  });
});
