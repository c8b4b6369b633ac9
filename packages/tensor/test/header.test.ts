import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { generatedHeaders } from "#program/header";

const folder = new URL("../../../native/src/kernels/params/", import.meta.url);

it("the C++ headers that the addon was built with are those that the schemas give (npm run build writes them)", () => {
  const built = readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), "utf8")] as const);
  expect(new Map(built)).toEqual(generatedHeaders());
});
