// An operation from outside the repository: examples/smooth is built, loaded and held to what built-in operations are
// held to. And libraries that must be refused.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { loadBinding } from "@figment/native";
import {
  applyOne,
  assertNoLeaks,
  compile,
  DeviceError,
  grad,
  loadKernels,
  nativeSchema,
  type OpDef,
  ShapeError,
  scope,
  type Tensor,
  tensor,
  UsageError,
} from "@figment/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadSmooth, smooth, smoothDef, smoothSchema } from "../../../examples/smooth/smooth.ts";
import { Draws } from "./support/draws.ts";
import { checkDerivatives } from "./support/gradcheck.ts";
import { distance, epsilon, expectedAt, runVariant } from "./support/parity.ts";
import { drawPoint, titleOf } from "./support/points.ts";

const seed = 77;
const root = fileURLToPath(new URL("../../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "figment-kernels-"));
const library = join(folder, "smooth.so");

function build(source: string, to: string): void {
  const flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-shared"];
  execFileSync(process.env.CXX ?? "c++", [...flags, "-I", join(root, "native/include"), source, "-o", to]);
}

beforeAll(() => {
  build(join(root, "examples/smooth/smooth.cpp"), library);
  loadSmooth(library);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
  assertNoLeaks();
});

const samples = (smoothDef.samples?.() ?? []).map((sample, i) => [titleOf(sample), sample, i] as const);

describe("an operation of a kernel library", () => {
  it("computes what it says", () => {
    const y = scope(() => smooth(tensor([1, 0, 0, 2]), 0.5));
    expect([...y.dataSync()]).toEqual([0.5, 0.25, 0.125, 1.0625]);
    y.dispose();
  });

  it.each(samples)("agrees with its specification at %s", (_title, sample, i) => {
    const point = drawPoint(sample, new Draws(seed + i));
    const [output] = runVariant(smoothDef, sample, point, "reference");
    const [wanted] = expectedAt(smoothDef, sample, point);
    const { relative, notFinite } = distance(output?.data as Float32Array, wanted as Float64Array, () => 1);
    expect(relative).toBeLessThan(8 * epsilon);
    expect(notFinite).toBe(0);
  });

  it.each(samples.slice(0, 8))(
    "has the derivatives of finite differences, order 1 and 2, at %s",
    (_title, sample, i) => {
      const { first, second } = checkDerivatives(smoothDef, sample, new Draws(seed + i));
      expect(first.error).toBeLessThanOrEqual(1e-6);
      expect(second.error).toBeLessThanOrEqual(1e-6);
    },
  );

  it("runs inside compiled functions, where explain() shows its kernel", () => {
    const slope = (x: Tensor): Tensor => grad((v: Tensor) => smooth(v, 0.9).square().sum())(x);
    const compiled = compile(slope);
    scope(() => {
      const x = tensor([1, 2, 3, 4]);
      expect([...compiled(x).dataSync()]).toEqual([...slope(x).dataSync()]);
    });
    expect(compiled.explain()).toMatch(/^smooth +\[4\] → \[4\] +f32 +reference/m);
    compiled.dispose();
  });

  it("has a shape rule like any other", () => {
    scope(() => {
      expect(() => smooth(tensor(1), 0.5)).toThrow(ShapeError);
      expect(() => smooth(tensor([1]), 1.5)).toThrow(UsageError);
    });
  });

  it("is refused by the loader when its own check says so", () => {
    const wrong = { ...smoothDef, name: "smoothWrong", lower: { ...smoothDef.lower } };
    const { lower } = smoothDef;
    if (lower.kind !== "kernel") throw new Error("expected a kernel");
    const misled = {
      ...wrong,
      lower: {
        kind: "kernel" as const,
        call: (...args: Parameters<typeof lower.call>) => {
          const call = lower.call(...args);
          return { ...call, params: { ...call.params, cols: 1000 } };
        },
      },
    };
    const sample = { inputs: [{ shape: [4] }], attrs: { decay: 0.5, reverse: false } };
    const point = drawPoint(sample, new Draws(seed));
    expect(() => runVariant(misled, sample, point, "reference")).toThrow(/smooth.*operands must be \[rows, cols\]/);
  });
});

describe("loading kernels", () => {
  it("again changes nothing", () => {
    const before = loadBinding().ops();
    expect(loadKernels(library)).toEqual({ name: "smooth", ops: ["smooth"] });
    expect(loadBinding().ops()).toEqual(before);
    expect(before).toContain("smooth");
  });

  it("serves every thread of the process, while programs run", async () => {
    const busy = compile((x: Tensor) => smooth(x, 0.5).sum());
    const code = `
      const { parentPort } = require("node:worker_threads");
      import("@figment/tensor").then(({ loadKernels }) => parentPort.postMessage(loadKernels(${JSON.stringify(library)}).ops));
    `;
    const workers = Array.from(
      { length: 3 },
      () =>
        new Promise((resolve, reject) => {
          const worker = new Worker(code, { eval: true });
          worker.once("message", resolve);
          worker.once("error", reject);
        }),
    );
    const x = tensor([1, 2, 3]);
    for (let i = 0; i < 200; i++) busy(x);
    expect(await Promise.all(workers)).toEqual([["smooth"], ["smooth"], ["smooth"]]);
    x.dispose();
    busy.dispose();
  });

  const text = (description: string): string => `
    #include "figment/kernels.h"
    static int32_t check(const FigmentCall*, char*, size_t) { return 0; }
    static void cost(const FigmentCall*, double*, double*) {}
    static int32_t supports(const FigmentCall*) { return 0; }
    static void run(const FigmentCall* call, const FigmentKernelContext*) { RUN }
    static size_t scratch(const FigmentCall*, int32_t) { return SCRATCH; }
    static const FigmentKernelOp op = {NAME, 1, 0, 0, check, nullptr, cost};
    static const FigmentKernelVariant variant = {OF, "reference", ISA, supports, scratch, run};
    static const FigmentKernelLibrary library = {sizeof(library), VERSION, "test", 1, &op, 1, &variant};
    extern "C" FIGMENT_KERNELS_EXPORT const FigmentKernelLibrary* figment_kernels(uint32_t, const char** reason) {
      ${description}
    }`;
  const wrong: [string, Record<string, string>, string, RegExp][] = [
    ["another ABI version", { VERSION: "99" }, "return &library;", /speaks kernel ABI 99, this addon speaks 1/],
    [
      "an operation that there is",
      { NAME: '"matmul"', OF: '"matmul"' },
      "return &library;",
      /registered twice: matmul/,
    ],
    ["a variant that there is", { OF: '"softmax"' }, "return &library;", /registered twice: softmax reference/],
    ["a variant of no operation", { OF: '"nothing"' }, "return &library;", /unknown operation nothing/],
    ["an unknown instruction set", { ISA: "7" }, "return &library;", /unknown instruction set/],
    ["an operation without a name", { NAME: "nullptr" }, "return &library;", /an operation without a name/],
    ["a reason not to", {}, '*reason = "it is Sunday"; return nullptr;', /cannot be used: it is Sunday/],
  ];

  const built = (title: string, changes: Record<string, string>, body: string): string => {
    const ordinary = {
      NAME: '"fresh"',
      OF: '"fresh"',
      ISA: "0",
      VERSION: "FIGMENT_KERNELS_ABI_VERSION",
      SCRATCH: "0",
      RUN: "",
    };
    const defines = Object.entries({ ...ordinary, ...changes }).map(([name, value]) => `#define ${name} ${value}`);
    const source = join(folder, `${title.replaceAll(" ", "-")}.cpp`);
    writeFileSync(source, [...defines, text(body)].join("\n"));
    build(source, `${source}.so`);
    return `${source}.so`;
  };

  /** An operation of `built` from one operand to a result, both of this shape. */
  const plainDef = (name: string, dims: readonly number[]): OpDef => ({
    name,
    effect: "pure",
    infer: ([x]) => [x as Tensor],
    lower: {
      kind: "kernel",
      call: () => ({
        schema: { ...nativeSchema(name, {}), hash: 1n },
        params: {},
        inputs: [{ index: 0, dims }],
        outputs: [{ index: 0, dims }],
      }),
    },
  });

  it.each(wrong)("refuses %s, and registers nothing", (title, changes, body, message) => {
    const path = built(title, changes, body);
    const before = loadBinding().ops();
    const load = (): unknown => loadKernels(path);
    expect(load).toThrow(message);
    expect(load).toThrow(DeviceError);
    expect(load).toThrow(expect.objectContaining({ code: "ERR_FIGMENT_LIBRARY" }));
    expect(loadBinding().ops()).toEqual(before);
  });

  it.each([
    ["a path that is not absolute", "smooth.so", /not named by an absolute path/],
    ["a file that is not there", "/nowhere/smooth.so", /cannot be opened: /],
  ])("refuses %s", (_, path, message) => {
    expect(() => loadKernels(path)).toThrow(message);
  });

  it.each([
    ["2⁴⁵", "(size_t)1 << 45", "ERR_FIGMENT_OUT_OF_MEMORY", /out of memory/i],
    ["2⁴⁸", "(size_t)1 << 48", "ERR_FIGMENT_LIBRARY", /reference of greedy.*scratch/],
    ["2⁶⁴ − 1", "SIZE_MAX", "ERR_FIGMENT_LIBRARY", /reference of greedy.*scratch/],
  ])("refuses a call whose kernel asks for %s bytes of scratch, and works on", (title, bytes, code, message) => {
    const name = `greedy${[...title].length}${code.length}`;
    loadKernels(built(name, { NAME: `"${name}"`, OF: `"${name}"`, SCRATCH: bytes }, "return &library;"));
    const greedyDef = plainDef(name, [1]);
    scope(() => {
      const x = tensor([1]);
      expect(() => applyOne(greedyDef, [x], {})).toThrow(
        expect.objectContaining({ code, message: expect.stringMatching(message) }),
      );
      expect([...x.add(1).dataSync()]).toEqual([2]);
    });
  });

  it.each([0, 7])("tells where memory is poisoned that a kernel wrote %i elements behind its result", (behind) => {
    const name = `careless${behind}`;
    const run = `static_cast<float*>(call->out[0].data)[5 + ${behind}] = 7;`;
    loadKernels(built(name, { NAME: `"${name}"`, OF: `"${name}"`, RUN: run }, "return &library;"));
    const binding = loadBinding();
    scope(() => {
      const x = tensor([1, 2, 3, 4, 5]);
      binding.setPoison(true);
      try {
        expect(() => applyOne(plainDef(name, [5]), [x], {}).dataSync()).toThrow(
          `the kernel reference of ${name} wrote behind a result of the program`,
        );
      } finally {
        binding.setPoison(false);
      }
    });
  });

  it("refuses programs made for another parameter struct", () => {
    expect(smoothSchema.bytes).toBe(32);
    const other = { ...smoothSchema, hash: smoothSchema.hash + 1n };
    const { lower } = smoothDef;
    if (lower.kind !== "kernel") throw new Error("expected a kernel");
    const misled = {
      ...smoothDef,
      name: "smoothOther",
      lower: {
        kind: "kernel" as const,
        call: (...args: Parameters<typeof lower.call>) => ({ ...lower.call(...args), schema: other }),
      },
    };
    const sample = { inputs: [{ shape: [4] }], attrs: { decay: 0.5, reverse: false } };
    const point = drawPoint(sample, new Draws(seed));
    expect(() => runVariant(misled, sample, point, "reference")).toThrow(/"smooth" has other parameters/);
  });
});
