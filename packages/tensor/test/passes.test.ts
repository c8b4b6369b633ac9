import {
  add,
  applyOne,
  type BiasActOptions,
  biasAct,
  Cell,
  compile,
  conv2d,
  grad,
  groupNorm,
  matmul,
  maximum,
  mul,
  type OpDef,
  pad,
  relu,
  scope,
  silu,
  split,
  sum,
  type Tensor,
  tensor,
  zeros,
} from "@figment/tensor";
import { describe, expect, it } from "vitest";
import { Trace } from "#core/trace";
import { leavesOf } from "#core/tree";
import type { Graph } from "#ir/graph";
import { printGraph } from "#ir/print";
import { verifyGraph } from "#ir/verify";
import { eliminateDeadCode } from "#passes/dce";
import { optimize } from "#passes/index";
import { activateNorms } from "#passes/norms";
import { fusePatterns } from "#passes/patterns";
import { formRegions } from "#passes/regions";
import { simplify } from "#passes/simplify";

const f32 = (...shape: number[]) => ({ shape, dtype: "f32" as const });

function graphOf(shapes: readonly (readonly number[])[], fn: (...xs: Tensor[]) => unknown): Graph {
  const trace = new Trace();
  const xs = shapes.map((shape) => trace.argument(f32(...shape)));
  return trace.run(() => fn(...xs), leavesOf).graph;
}

describe("tracing", () => {
  it("prints what was traced", () => {
    expect(printGraph(graphOf([[2, 3], [3]], (x, b) => sum(add(x as Tensor, b as Tensor).mul(2))))).toBe(
      [
        "graph(%a0: f32[2,3], %a1: f32[3]) {",
        "  %0: f32[2,3] = add(%a0, %a1)",
        "  %1: f32[] = full() {shape=[] value=2 dtype=f32}",
        "  %2: f32[2,3] = mul(%0, %1)",
        "  %3: f32[] = sum(%2) {axes=[0,1] keepDims=false}",
        "  return %3",
        "}",
      ].join("\n"),
    );
  });
});

describe("dead code elimination", () => {
  it("drops what no output needs and keeps the rest in order", () => {
    const graph = graphOf([[4]], (x) => {
      x?.exp();
      return x?.mul(x);
    });
    expect(printGraph(eliminateDeadCode(graph))).toBe(
      "graph(%a0: f32[4]) {\n  %0: f32[4] = mul(%a0, %a0)\n  return %0\n}",
    );
  });
});

describe("a collective", () => {
  const gatherAll: OpDef = {
    name: "gatherAll",
    effect: "collective",
    infer: ([x]) => [x as Tensor],
    lower: { kind: "elementwise", opcode: "cast" },
  };
  it("is neither merged nor dropped, for others wait for it", () => {
    const graph = graphOf([[4]], (x) => {
      applyOne(gatherAll, [x as Tensor], {});
      applyOne(gatherAll, [x as Tensor], {});
      return x?.mul(2);
    });
    const names = eliminateDeadCode(simplify(graph)).nodes.map(({ def }) => def.name);
    expect(names.filter((name) => name === "gatherAll")).toHaveLength(2);
  });
});

describe("simplification", () => {
  it("merges equal computations", () => {
    const graph = simplify(graphOf([[4]], (x) => (x as Tensor).exp().add((x as Tensor).exp())));
    expect(graph.nodes.map((node) => node.def.name)).toEqual(["exp", "add"]);
  });

  it("removes what changes nothing: times one, divided by one, a double negation, a reshape back", () => {
    const graph = eliminateDeadCode(
      simplify(graphOf([[4]], (x) => (x as Tensor).mul(1).div(1).neg().neg().reshape([2, 2]).reshape([4]))),
    );
    expect(graph.nodes).toEqual([]);
    expect(graph.outputs[0]).toBe(graph.args[0]);
  });

  it("removes slices of the whole, padding by nothing, and a reversal that is reversed", () => {
    const moved = (x: Tensor): Tensor => x.slice([0, 0], [4, 3]).flip(1).pad([0, 0], [0, 0]).flip(1).flip([]);
    const graph = eliminateDeadCode(simplify(graphOf([[4, 3]], (x) => moved(x as Tensor))));
    expect(graph.nodes).toEqual([]);
    const kept = eliminateDeadCode(simplify(graphOf([[4, 3]], (x) => (x as Tensor).flip(0).flip(1))));
    expect(kept.nodes).toHaveLength(2);
  });

  it("folds constants to the bits that the device gives", () => {
    const graph = eliminateDeadCode(simplify(graphOf([[2]], (x) => (x as Tensor).mul(zeros([]).add(0.1).mul(3)))));
    expect(printGraph(graph)).toBe(
      [
        "graph(%a0: f32[2]) {",
        `  %0: f32[] = full() {shape=[] value=${Math.fround(Math.fround(0.1) * 3)} dtype=f32}`,
        "  %1: f32[2] = mul(%a0, %0)",
        "  return %1",
        "}",
      ].join("\n"),
    );
  });

  it("joins chains of views, and drops those that end where they began", () => {
    const graph = eliminateDeadCode(
      simplify(
        graphOf([[2, 3, 4]], (x) => [
          x?.transpose([1, 2, 0]).transpose([2, 0, 1]),
          x?.transpose().transpose([1, 0, 2]),
        ]),
      ),
    );
    expect(graph.outputs[0]).toBe(graph.args[0]);
    expect(graph.nodes.map(({ def, attrs }) => [def.name, attrs.perm])).toEqual([["transpose", [1, 2, 0]]]);
  });

  it("keeps times one where it broadcasts", () => {
    const graph = simplify(graphOf([[1]], (x) => mul(x as Tensor, zeros([3]).add(1))));
    expect(graph.outputs[0]?.shape).toEqual([3]);
  });
});

describe("fusion patterns", () => {
  it("gives a convolution the bias that follows it", () => {
    const graph = eliminateDeadCode(
      fusePatterns(
        graphOf([[1, 4, 4, 2], [3, 3, 3, 2], [3]], (x, w, b) => add(conv2d(x as Tensor, w as Tensor), b as Tensor)),
      ),
    );
    expect(graph.nodes.map((node) => `${node.def.name}/${node.inputs.length}`)).toEqual(["conv2d/3"]);
  });

  it("leaves the product alone when something else reads it too", () => {
    const graph = fusePatterns(
      graphOf([[2, 3], [3, 4], [4]], (x, w, b) => {
        const product = matmul(x as Tensor, w as Tensor);
        return [product, product.add(b as Tensor)];
      }),
    );
    expect(graph.nodes.map((node) => node.def.name)).toEqual(["matmul", "add"]);
  });

  const fused = (shapes: readonly (readonly number[])[], fn: (...xs: Tensor[]) => unknown): string =>
    printGraph(eliminateDeadCode(fusePatterns(simplify(graphOf(shapes, fn)))));
  const product = [[2, 3], [3, 4], [4]] as const;

  it("gives a product its bias and the ReLU after it", () => {
    expect(fused(product, (x, w, b) => relu(add(matmul(x as Tensor, w as Tensor), b as Tensor)))).toBe(
      [
        "graph(%a0: f32[2,3], %a1: f32[3,4], %a2: f32[4]) {",
        "  %0: f32[2,4] = matmul(%a0, %a1, %a2) {transposeA=false transposeB=false activation=relu}",
        "  return %0",
        "}",
      ].join("\n"),
    );
  });

  it("gives a convolution its bias and the SiLU after it", () => {
    const text = fused([[1, 4, 4, 2], [3, 3, 3, 2], [3]], (x, w, b) =>
      silu(add(conv2d(x as Tensor, w as Tensor), b as Tensor)),
    );
    expect(text).toMatch(/^ {2}%0: f32\[1,2,2,3\] = conv2d\(%a0, %a1, %a2\) \{.*activation=silu\}$/m);
    expect(text.split("\n")).toHaveLength(4);
  });

  it("turns a product and the bias and activation after it into one kernel, if it knows the activation", () => {
    const after = (options: BiasActOptions): string =>
      fused(product, (x, w, b) => biasAct(matmul(x as Tensor, w as Tensor), b as Tensor, options));
    expect(after({ activation: "silu" })).toMatch(
      /%0: f32\[2,4\] = matmul\(%a0, %a1, %a2\) .*activation=silu\}\n {2}return %0/,
    );
    expect(after({})).toMatch(/matmul\(%a0, %a1, %a2\) .*activation=none\}\n {2}return %0/);
    for (const options of [{ activation: "tanh" }, { gain: 2 }, { clamp: 1 }] as const)
      expect(after(options)).toMatch(/matmul\(%a0, %a1\).*\n.*biasAct\(%0, %a2\)/);
  });

  it("joins the derivatives by parts of a split instead of adding them up among zeros", () => {
    const slopes = (parts: number) =>
      fused([[2, 6]], (x) =>
        grad((y: Tensor) =>
          sum(split(y, parts, 1).reduce((total, part, i) => total.add(part.sin().mul(i + 1)), zeros([]))),
        )(x as Tensor),
      );
    for (const parts of [2, 3, 6]) {
      expect(
        slopes(parts)
          .match(/= concat\((%\w+(, )?)+\)/g)
          ?.map((line) => line.split(",").length),
      ).toEqual([parts]);
      expect(slopes(parts)).not.toMatch(/= pad\(|= add\(/);
    }
    const x = tensor([[1, 2, 3, 4, 5, 6]]);
    const slope = (y: Tensor) =>
      grad((z: Tensor) => sum(split(z, [1, 3, 2], 1).reduce((t, p) => t.add(p.sin().sum()), zeros([]))))(y);
    const f = compile(slope);
    expect([...scope(() => f(x).dataSync())]).toEqual([...scope(() => slope(x).dataSync())]);
    f.dispose();
    x.dispose();
  });

  it("adds up what lies among zeros in one place, in two, or is read elsewhere too", () => {
    const padded = (lo: number, y: Tensor, value = 0) => pad(y, [lo], [4 - lo], value);
    for (const fn of [
      (x: Tensor) => add(padded(0, x), padded(3, x)),
      (x: Tensor) => add(padded(2, x), padded(2, x.sin())),
      (x: Tensor) => add(padded(0, x), padded(2, x, 1)),
      (x: Tensor) => {
        const y = padded(0, x);
        return [add(y, padded(2, x)), y];
      },
    ])
      expect(fused([[2]], (x) => fn(x as Tensor))).toMatch(/= add\(/);
  });

  it("applies no activation twice, and adds no bias after one", () => {
    const text = fused(product, (x, w, b) => {
      const y = relu(matmul(x as Tensor, w as Tensor));
      return relu(add(y, b as Tensor));
    });
    expect(text).toBe(
      [
        "graph(%a0: f32[2,3], %a1: f32[3,4], %a2: f32[4]) {",
        "  %0: f32[] = full() {shape=[] value=0 dtype=f32}",
        "  %1: f32[2,4] = matmul(%a0, %a1) {transposeA=false transposeB=false activation=relu}",
        "  %2: f32[2,4] = add(%1, %a2)",
        "  %3: f32[2,4] = maximum(%2, %0)",
        "  return %3",
        "}",
      ].join("\n"),
    );
  });

  it("leaves zeros alone that repeat a product", () => {
    const text = fused(product, (x, w) => maximum(matmul(x as Tensor, w as Tensor), zeros([3, 2, 4])));
    expect(text).toMatch(/f32\[3,2,4\] = maximum\(/);
  });

  it("leaves an activation alone whose argument something else reads", () => {
    const text = fused(product, (x, w) => {
      const y = matmul(x as Tensor, w as Tensor);
      return [silu(y), relu(y)];
    });
    expect(text).toMatch(/matmul\(%a0, %a1\) .*activation=none\}/);
  });

  it("computes the same with epilogues as without", () => {
    const w = tensor([
      [1, -2],
      [3, 0.5],
    ]);
    const b = tensor([0.25, -1]);
    const f = (x: Tensor) => {
      const y = matmul(x, w);
      return [relu(add(y, b)), silu(matmul(x, w).add(b)), biasAct(matmul(x, w.mul(2)), b, { activation: "relu" })];
    };
    const compiled = compile(f);
    using x = tensor([[1, -0.5]]);
    const [eager, together] = [scope(() => f(x)), compiled(x)];
    eager.forEach((want, i) => {
      const got = together[i] as Tensor;
      got.dataSync().forEach((value, k) => {
        expect(value).toBeCloseTo(want.dataSync()[k] as number, 5);
      });
      want.dispose();
      got.dispose();
    });
    for (const owner of [compiled, w, b]) owner.dispose();
  });

  it("turns group norm and SiLU into one kernel", () => {
    const graph = eliminateDeadCode(
      activateNorms(
        graphOf([[1, 2, 2, 4], [4], [4]], (x, g, b) =>
          silu(groupNorm(x as Tensor, g as Tensor, b as Tensor, { groups: 2 })),
        ),
      ),
    );
    expect(graph.nodes.map((node) => node.def.name)).toEqual(["groupNorm"]);
    expect(graph.nodes[0]?.attrs.activation).toBe("silu");
  });
});

describe("elementwise regions", () => {
  it("run a chain as one pass", () => {
    const graph = formRegions(
      graphOf([[8], [8]], (x, y) =>
        (x as Tensor)
          .mul(2)
          .add(y as Tensor)
          .tanh(),
      ),
    );
    expect(
      graph.nodes
        .filter((node) => node.def.name === "region")
        .map((node) => (node.attrs.body as { text: string }).text),
    ).toEqual(["mul·add·tanh"]);
  });

  it("do not swallow a value that has to leave and come back", () => {
    const graph = formRegions(
      graphOf([[4, 4]], (x) => {
        const a = (x as Tensor).exp();
        return a.add(sum(a, 1, { keepDims: true }));
      }),
    );
    verifyGraph(graph, "regions");
    expect(graph.nodes.map((node) => node.def.name)).toEqual(["exp", "sum", "add"]);
  });

  it("hand out every value that is read outside", () => {
    const graph = formRegions(
      graphOf([[4]], (x) => {
        const a = (x as Tensor).exp();
        const b = a.mul(a);
        return [a, b];
      }),
    );
    expect(graph.nodes).toHaveLength(1);
    expect(graph.nodes[0]?.outputs).toHaveLength(2);
  });
});

describe("the whole pipeline", () => {
  it("keeps a second derivative valid", () => {
    const graph = optimize(
      graphOf([[3]], (x) => grad((y: Tensor) => sum(grad((z: Tensor) => sum(z.tanh().mul(z)))(y)))(x as Tensor)),
    );
    expect(graph.outputs[0]?.shape).toEqual([3]);
  });

  it("shows the module path and the kernel of each record", () => {
    const scale = new Cell({ shape: [3], name: "scale" });
    scale.setData([0.5, -1.5, 2.5]);
    const f = compile((x: Tensor) => x.mul(scale.value), { name: "scaled" });
    using x = tensor([1, 2, 3]);
    using _y = f(x);
    expect(f.explain()).toMatch(/^scaled: 1 records/);
    expect(f.print()).toContain("mul(%a0, %s0)");
    f.dispose();
    scale.dispose();
  });
});
