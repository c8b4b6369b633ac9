import { readFileSync } from "node:fs";
import { loadBinding } from "@figment/native";
import { describe, expect, it } from "vitest";
import { definedOps } from "#ops/definition";
import { operationTable } from "#program/operations";

// Kernels for x86-64 are built there only.
describe.skipIf(process.arch !== "x64")("packages/tensor/docs/operations.md", () => {
  const committed = readFileSync(new URL("../docs/operations.md", import.meta.url), "utf8");

  it("is what the definitions and the kernels give (npm run generate -w @figment/tensor writes it)", () => {
    expect(committed).toBe(operationTable());
  });

  it.each([
    ["cumsum", "f32 [bf16 f16] (f64 i32)"],
    ["argmax", "f32 [bf16 f16] (f64 i32)"],
    ["sort", "f32 i32 [bf16 f16] (f64)"],
    ["gather", "f32 f64 bf16 f16 i32 u8 bool"],
  ])("says for %s which formats its kernels take, however many samples there are of one", (op, formats) => {
    const cells = committed
      .split("\n")
      .find((line) => line.startsWith(`| \`${op}\` |`))
      ?.split(" | ");
    expect(cells?.[3]).toBe(formats);
  });

  it("has a row for every operation", () => {
    const rows = committed.split("\n").filter((line) => line.startsWith("| `"));
    expect(rows).toHaveLength(definedOps().length);
  });

  it("names every kernel of every instruction set that serves an operation", () => {
    const native = loadBinding();
    const missing = native
      .ops()
      .flatMap((op) => native.builtVariants(op).map(({ name }) => name))
      .filter((name) => !committed.includes(name));
    expect(missing).toEqual([]);
  });
});
