import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { generatedHeaders } from "#program/header";

const folder = new URL("../../../native/src/kernels/params/", import.meta.url);

it("the committed C++ headers are those that the schemas give (npm run generate -w @figment/tensor writes them)", () => {
  const committed = readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), "utf8")] as const);
  expect(new Map(committed)).toEqual(generatedHeaders());
});
