// Formats in graphs and programs: where casts stand, and what explain() says of them.

import { assertNoLeaks, compile, cumsum, fromBits, scope, type Tensor, tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { Trace } from "#core/trace";
import { leavesOf } from "#core/tree";
import { printGraph } from "#ir/print";
import { widenFormats } from "#passes/formats";

afterAll(() => assertNoLeaks());

describe("a kernel that does not take bf16", () => {
  it("stands between casts in the graph", () => {
    const trace = new Trace();
    const x = trace.argument({ shape: [2, 3], dtype: "bf16" });
    const { graph } = trace.run(() => cumsum(x, 1), leavesOf);
    expect(printGraph(widenFormats(graph))).toBe(
      [
        "graph(%a0: bf16[2,3]) {",
        "  %0: f32[2,3] = cast(%a0) {dtype=f32}",
        "  %1: f32[2,3] = cumsum(%0) {axis=1 exclusive=false reverse=false}",
        "  %2: bf16[2,3] = cast(%1) {dtype=bf16}",
        "  return %2",
        "}",
      ].join("\n"),
    );
  });

  it("widens an operand once, however often it is read", () => {
    const trace = new Trace();
    const x = trace.argument({ shape: [2, 3], dtype: "f16" });
    const { graph } = trace.run(() => [x.sum(0), x.sum(1)], leavesOf);
    expect(printGraph(widenFormats(graph)).match(/cast\(%a0\)/g)).toHaveLength(1);
  });
});

describe("explain()", () => {
  it("shows the formats of each kernel and the casts around it", () =>
    scope(() => {
      const f = compile((x: Tensor) => cumsum(x.mul(2), 1), { name: "totals" });
      f(fromBits(new Uint16Array(6), [2, 3], "bf16"));
      expect(f.explain()).toMatch(/mul +\[2,3\].* bf16 /);
      expect(f.explain()).toMatch(/cast +\[2,3\].* bf16 → f32/);
      expect(f.explain()).toMatch(/cumsum +\[2,3\].* f32 /);
      expect(f.explain()).toMatch(/cast +\[2,3\].* f32 → bf16/);
      f(tensor([[1, 2, 3]]));
      expect(f.explain()).not.toContain("bf16");
      f.dispose();
    }));
});
