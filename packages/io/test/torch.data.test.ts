// The public checkpoints hold what torch reads from them, bit for bit (fixtures/torch/real.py).

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { readTorch } from "@figment/io";
import { assertNoLeaks } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const data = process.env.FIGMENT_DATA;

interface Real {
  readonly part: string;
  readonly count: number;
  readonly sha256: string;
  readonly last: string;
  readonly sum: number;
}

const real = JSON.parse(readFileSync(new URL("./fixtures/torch/real.json", import.meta.url), "utf8")) as Record<
  string,
  Real
>;

describe.skipIf(!data)("a public checkpoint", () => {
  it.each(Object.entries(real))(
    "%s has the tensors that torch reads from it",
    async (name, { part, count, sha256, last, sum }) => {
      await using file = await readTorch(path.join(data as string, "checkpoints", name));
      const tensors = file.tensors(part);
      const hash = createHash("sha256");
      for (const [key, tensor] of tensors) {
        hash.update(`${key}[${tensor.shape.join(",")}]\n`);
        hash.update(new Uint8Array(await tensor.bytes()));
      }
      expect([tensors.size, hash.digest("hex")]).toEqual([count, sha256]);
      using loaded = await file.tensor(part === "" ? last : `${part}.${last}`).tensor();
      expect([...(await loaded.data())].reduce((total, value) => total + value, 0)).toBeCloseTo(sum, 6);
    },
  );
});
