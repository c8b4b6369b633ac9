// More elements than 32 bits count, in the smallest type that there is.

import { assertNoLeaks, deviceInfo, full, memory, scope, type Tensor } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

const [rows, columns] = [2 ** 11 + 1, 2 ** 20];
/** Two tensors of a byte for each element, and a margin. */
const needed = 6 * 2 ** 30;

describe.skipIf(memory().limit < needed)("a tensor of 2^31 + 2^20 elements", () => {
  it(`is computed to its last element, on ${deviceInfo("cpu").name}`, () => {
    const tail = scope(() => {
      const x = full([rows, columns], 7, "u8");
      const y: Tensor = x.eq(7);
      return y.slice([rows - 1, columns - 5], [1, 5]);
    });
    expect([...tail.dataSync()]).toEqual([1, 1, 1, 1, 1]);
    tail.dispose();
  });
});
