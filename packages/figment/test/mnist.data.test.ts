// The embedded digits look like those that people write: what was trained on nothing else reads MNIST.

import path from "node:path";
import { assertNoLeaks, mnist } from "figment";
import { afterAll, describe, expect, it } from "vitest";
import { trainJudge } from "./support/classifier.js";

afterAll(() => assertNoLeaks());

const data = process.env.FIGMENT_DATA;

describe.skipIf(!data)("a classifier trained on embedded digits alone", () => {
  it("reads three quarters of MNIST's test images", { timeout: 300_000 }, async () => {
    const judge = await trainJudge({ steps: 2000 });
    const accuracy = await judge.accuracy(await mnist(path.join(data as string, "mnist"), { split: "test" }), 10_000);
    console.log(`MNIST test images read: ${(100 * accuracy).toFixed(1)} %`);
    judge.dispose();
    expect(accuracy).toBeGreaterThanOrEqual(0.75);
  });
});
