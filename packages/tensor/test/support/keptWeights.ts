// Weights that a program keeps packed, beside the same ones given at each call.

import { Cell, compile, deviceInfo, scope, setThreads, type Tensor } from "@figment/tensor";
import { expect } from "vitest";

/** The bits of a tensor's numbers. */
export const bitsOf = (y: Tensor): string => Buffer.from(y.dataSync().buffer).toString("base64");

/** Expects the same bits by weights of a cell and by those given, on any number of threads; tells how the former ran. */
export function expectSameKept(layer: (x: Tensor, w: Tensor) => Tensor, x: Tensor, w: Tensor): string {
  const { threads: usual } = deviceInfo("cpu");
  const weights = new Cell({ shape: w.shape, dtype: w.dtype });
  scope(() => weights.set(w.mul(1)));
  const kept = compile((y: Tensor) => layer(y, weights.value));
  const each = compile((y: Tensor) => layer(y, w));
  const want = scope(() => bitsOf(each(x)));
  for (const threads of [1, 2, 3]) {
    setThreads(threads);
    for (let call = 0; call < 2; call++) expect(scope(() => bitsOf(kept(x)))).toBe(want);
    expect(scope(() => bitsOf(each(x)))).toBe(want);
  }
  setThreads(usual);
  const text = kept.explain();
  for (const owner of [kept, each, weights]) owner.dispose();
  return text;
}
