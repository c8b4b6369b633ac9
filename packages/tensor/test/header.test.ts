import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { generatedHeader } from "#program/header";

it("the committed C++ header is the one that the schemas give (npm run generate -w @figment/tensor writes it)", () => {
  const committed = new URL("../../../native/src/kernels/params.generated.h", import.meta.url);
  expect(readFileSync(committed, "utf8")).toBe(generatedHeader());
});
