// Random programs, compiled against eager: values, cells afterwards, first and second derivatives. The seed and the
// number of programs come from FIGMENT_FUZZ_SEED and FIGMENT_FUZZ_COUNT; a failure prints the program.

import { assertNoLeaks, Cell, compile, grad, mul, rng, scope, sum, type Tensor, tensor } from "@figment/tensor";
import { afterAll, expect, it } from "vitest";
import { Draws } from "./support/draws.js";
import { randomProgram, type World } from "./support/randomProgram.js";

const seed = Number(process.env.FIGMENT_FUZZ_SEED ?? 20261);
const count = Number(process.env.FIGMENT_FUZZ_COUNT ?? 3000);
/** Of the largest number compared; fused code rounds as eager code does, simplified expressions may not. */
const tolerance = 1e-4;

const shapes = [[], [1], [3], [5], [2, 3], [3, 1], [2, 2, 3], [1, 4]] as const;
type Call = (x: Tensor, y: Tensor, world: World) => Tensor;

const orders = (program: number): Readonly<Record<string, Call>> => ({
  value: (x, y, world) => randomProgram(program, x, y, world, 2),
  "first derivative": (x, y, world) => grad((z: Tensor) => randomProgram(program, z, y, world, 1))(x),
  "second derivative": (x, y, world) => {
    const slope = grad((z: Tensor) => randomProgram(program, z, y, world, 1));
    return grad((z: Tensor) => sum(mul(slope(z), y.mean().add(1))))(x);
  },
});

/** Result and cells afterwards of one call on fresh cells. */
function outcome(draws: Draws, call: Call, compiled: boolean, note?: (line: string) => void): number[][] {
  const cells = [0, 1].map((i) => {
    const cell = new Cell({ shape: [3], name: `c${i}` });
    cell.setData(draws.array(3));
    return cell;
  });
  const random = rng(7);
  const [a, b] = [draws.pick(shapes), draws.pick(shapes)];
  const make = (shape: readonly number[]): Tensor =>
    tensor(Float32Array.from(draws.array(shape.reduce((n, d) => n * d, 1))), { shape: [...shape] });
  const world: World = { cells, random, note };
  try {
    return scope(() => {
      const [x, y] = [make(a), make(b)];
      const run = (s: Tensor, t: Tensor): Tensor => call(s, t, world);
      const program = compiled ? compile(run) : undefined;
      const result = (program ?? run)(x, y);
      const data = [result, ...cells.map((cell) => cell.value), random.cell.value].map((value) =>
        Array.from(value.dataSync() as ArrayLike<number>),
      );
      program?.dispose();
      return data;
    });
  } finally {
    for (const cell of cells) cell.dispose();
    random.dispose();
  }
}

console.info(`random programs: seed ${seed}, ${count} of them`);
afterAll(() => assertNoLeaks());

it(`runs ${count} random programs to the same end, compiled and eagerly`, { timeout: 1_200_000 }, () => {
  for (let i = 0; i < count; i++) {
    const program = seed + i;
    for (const [order, call] of Object.entries(orders(program))) {
      const lines: string[] = [];
      const attempt = (compiled: boolean): number[][] => {
        lines.length = 0;
        try {
          return outcome(new Draws(program), call, compiled, (line) => lines.push(line));
        } catch (error) {
          throw new Error(`program ${program}, ${order}, ${compiled ? "compiled" : "eager"}:\n${lines.join("\n")}`, {
            cause: error,
          });
        }
      };
      const eager = attempt(false);
      const compiled = attempt(true);
      const scale = Math.max(1, ...eager.flat().map(Math.abs).filter(Number.isFinite));
      const wrong = eager.some((values, k) =>
        values.some((value, j) => {
          const other = (compiled[k] as number[])[j] as number;
          return !(Object.is(value, other) || Math.abs(value - other) <= tolerance * (k < 3 ? scale : 0));
        }),
      );
      if (wrong) {
        expect.fail(
          `program ${program}, ${order}: eager ${JSON.stringify(eager)}, compiled ${JSON.stringify(compiled)}\n${lines.join("\n")}`,
        );
      }
    }
  }
});
