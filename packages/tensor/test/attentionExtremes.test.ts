// Attention of numbers that are not finite and of scores that are large, on every kernel that the machine can run.

import { loadBinding } from "@figment/native";
import { assertNoLeaks } from "@figment/tensor";
import { afterAll, beforeAll } from "vitest";
import { benchOfCpu, testLargeScores, testNotFinite } from "./support/attentionExtremes.ts";

const binding = loadBinding();
beforeAll(() => binding.setPoison(true));
afterAll(() => {
  binding.setPoison(false);
  assertNoLeaks();
});

testNotFinite(benchOfCpu());
testLargeScores(benchOfCpu());
