// Runs the examples of documentation comments: each @example block in a package's sources becomes a test. A line
// that ends in a comment with a list of integers or a number is checked against it: a shape, or a value.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openScope, Tensor } from "@figment/tensor";
import { transformWithOxc } from "vite";
import { expect } from "vitest";

/** An example and where it stands. */
export interface Example {
  readonly name: string;
  readonly code: string;
}

const last = (words: string): string | undefined => /\w+$/.exec(words)?.[0];

/** The examples of all sources below a folder. */
export function examplesIn(folder: URL): Example[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
  return files.sort().flatMap((file) => {
    const source = readFileSync(join(folder.pathname, file), "utf8");
    const exported = source.match(/^export \{[^}]*\};$/m)?.[0] ?? "";
    return [...source.matchAll(/\/\*\*([\s\S]*?)\*\/\s*(?:\/\/ biome-ignore.*\s*)?(.*)/g)].flatMap(
      ([, comment = "", declaration = ""]) => {
        const text = comment.replace(/^\s*\* ?/gm, "");
        const code = text.split("@example")[1];
        const declared = declaration.replace(/[({=<:].*| (extends|implements) .*/, "").trim();
        // Some names are exported under another: `export { nan as isNaN }`.
        const renamed = exported.match(new RegExp(`\\b${last(declared)} as (\\w+)`))?.[1];
        return code ? [{ name: `${file}: ${renamed ?? declared}`, code }] : [];
      },
    );
  });
}

const isError = (value: unknown): boolean => typeof value === "function" && value.prototype instanceof Error;

/** The functions, classes and objects that a package exports without an example; errors are for catching. */
export function exportsWithout(examples: readonly Example[], exported: object): string[] {
  const shown = new Set(examples.map(({ name }) => last(name)));
  return Object.entries(exported).flatMap(([name, value]) =>
    (typeof value === "function" || typeof value === "object") && !isError(value) && !shown.has(name) ? [name] : [],
  );
}

/** Lines of the form `expression; // [2, 3]` or `expression; // 0.5`, declarations included. */
const checkedLine = /^(?:const (\w+) = )?(.+); \/\/ (\[[\d, ]*\]|-?\d[\d.e-]*)$/gm;

/** Runs an example with `names` in scope. Tensors made before it waits are freed afterwards, the rest by the collector. */
export async function runExample({ code }: Example, names: Readonly<Record<string, unknown>>): Promise<void> {
  const using = code.replace(/await using (\w+) = (.*);$/gm, "const $1 = hold($2);");
  const checked = using.replace(
    checkedLine,
    (_line, variable: string | undefined, expression: string, claim: string) =>
      variable ? `const ${variable} = check(${expression}, ${claim});` : `check(${expression}, ${claim});`,
  );
  // Node 20 has no `using`: what an example holds so is disposed when the example is over.
  const held: AsyncDisposable[] = [];
  const hold = <T extends AsyncDisposable>(value: T): T => {
    held.unshift(value);
    return value;
  };
  const { code: plain } = await transformWithOxc(`export async function example() {${checked}}`, "example.ts");
  const all: Record<string, unknown> = { ...names, check: checkClaim, hold, console: { log: () => {} } };
  // Examples declare some of the names that others are given.
  const free = Object.keys(all).filter((name) => !new RegExp(`(const|class) ${name}\\b`).test(code));
  const body = `${plain.replace("export async function", "return async function")}`;
  const example = new Function(...free, body)(...free.map((name) => all[name])) as () => Promise<void>;
  await using made = openScope();
  try {
    await made.run(example);
  } finally {
    for (const value of held) await value[Symbol.asyncDispose]();
  }
}

function checkClaim<T>(value: T, claim: number | readonly number[]): T {
  const settled = value as unknown;
  if (Array.isArray(claim)) expect((settled as Tensor).shape).toEqual(claim);
  else {
    const number = settled instanceof Tensor ? settled.dataSync()[0] : settled;
    expect(number).toBeCloseTo(claim as number, 4);
  }
  return value;
}
