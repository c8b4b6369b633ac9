// Paths of modules: on operations, and in the errors that happen inside.

import { Embedding, type Layer, Linear, Module, Sequential } from "@figment/nn";
import {
  assertNoLeaks,
  compile,
  customVjp,
  grad,
  rng,
  ShapeError,
  scope,
  silu,
  type Tensor,
  tensor,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

const seed = 7;
console.log(`tests of modules' paths: seed ${seed}`);
afterAll(() => assertNoLeaks());

describe("paths", () => {
  it("tag operations, in errors and in explain()", () => {
    const model = new Sequential(new Linear(3, 4), silu, new Sequential(new Linear(4, 2))).init(rng(seed));
    const run = compile((x: Tensor) => model.forward(x), { name: "tagged" });
    scope(() => {
      run(tensor([[1, 2, 3]]));
      expect(run.explain()).toMatch(/stages\.2\.stages\.0/);
      expect(() => run(tensor([[1, 2]]))).toThrow(/Linear/);
    });
    run.dispose();
    model.dispose();
  });
});

/** Applies a function, as a module. */
class Lambda extends Module {
  readonly apply: (x: Tensor) => Tensor;
  constructor(apply: (x: Tensor) => Tensor) {
    super();
    this.apply = apply;
  }
  forward(x: Tensor): Tensor {
    return this.apply(x);
  }
}

describe("errors inside modules", () => {
  const nested = (inner: (x: Tensor) => Tensor): Sequential =>
    new Sequential(new Linear(3, 4), new Sequential(new Lambda(inner), new Linear(4, 2))).init(rng(seed));
  type Fn = (x: Tensor) => Tensor;

  it.each([
    ["run at once", (fn: Fn): Fn => fn],
    ["traced", (fn: Fn): Fn => compile(fn)],
  ])("name the innermost module when %s", (_, make) => {
    const net = nested((x) => x.reshape([5]));
    const run = make((x) => net.forward(x));
    scope(() => {
      expect(() => run(tensor([[1, 2, 3]]))).toThrow(/^stages\.1\.stages\.0: reshape: /);
      expect(() => run(tensor([[1, 2]]))).toThrow(/^stages\.0: /);
    });
    net.dispose();
  });

  it("stay typed, and say it once", () => {
    const net = nested((x) => x.reshape([5]));
    const error = scope(() => {
      try {
        net.forward(tensor([[1, 2, 3]]));
      } catch (thrown) {
        return thrown as Error;
      }
    });
    expect(error).toBeInstanceOf(ShapeError);
    expect(error?.message.match(/stages\.0/g)).toHaveLength(1);
    expect(error?.stack).toContain(error?.message);
    net.dispose();
  });

  it("lead to the caller where the work failed in the queue, however deep the modules that queued it", () => {
    const nested = (depth: number): Layer => (depth === 0 ? new Embedding(4, 3) : new Sequential(nested(depth - 1)));
    const model = (nested(6) as Sequential).init(rng(seed));
    const frame = /modulePaths\.test/;
    function callerOfTheModel(indices: Tensor): Tensor {
      return model.forward(indices);
    }
    const compiled = compile(callerOfTheModel);
    scope(() => {
      const outside = tensor(Int32Array.of(1, 9));
      for (const f of [callerOfTheModel, compiled]) {
        let error: Error | undefined;
        try {
          f(outside).dataSync();
        } catch (caught) {
          error = caught as Error;
        }
        expect(error).toMatchObject({ code: "ERR_FIGMENT_INDEX" });
        expect(error?.stack).toMatch(f === compiled ? frame : /callerOfTheModel/);
      }
    });
    compiled.dispose();
    model.dispose();
  });

  it("name the module whose derivative fails", () => {
    const wrong = customVjp(
      (x: Tensor) => x.mul(2),
      (_, __, cotangent) => [cotangent.reshape([99])],
    );
    const net = nested(wrong);
    scope(() => {
      const loss = (x: Tensor): Tensor => net.forward(x).sum();
      expect(() => grad(loss)(tensor([[1, 2, 3]]))).toThrow(/^stages\.1\.stages\.0: reshape: /);
    });
    net.dispose();
  });
});
