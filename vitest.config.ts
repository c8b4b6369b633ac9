// Tests of all packages: <package>/test/*.test.ts. Slow ones (*.slow.test.ts) run with FIGMENT_TEST_ALL=1
// (npm run test:all).

import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { defaultServerConditions } from "vite";
import { configDefaults, defineConfig } from "vitest/config";

const all = process.env.FIGMENT_TEST_ALL === "1";
const slow = all ? [] : ["**/*.slow.test.ts"];
/** In milliseconds: ends what hangs, and is no claim about speed. */
const longest = all ? 1_200_000 : 300_000;

// Tests look inside packages, so the packages that they import, also in processes of their own, are made of the same
// modules; users get these joined in one file (scripts/bundle.mjs), which bundle.test.ts tries.
const condition = "figment-modules";
process.env.NODE_OPTIONS = [process.env.NODE_OPTIONS, `--conditions=${condition}`].filter(Boolean).join(" ");

export default defineConfig({
  ssr: { resolve: { conditions: [condition, ...defaultServerConditions] } },
  test: {
    include: ["{native,cuda,benchmarks,packages/*}/test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...slow],
    pool: "forks",
    maxWorkers: availableParallelism(),
    // Measurements of whoever runs the tests would change which kernels they try.
    env: { FIGMENT_TUNE_FILE: join(tmpdir(), "figment-tests", "no-tuning.json") },
    testTimeout: longest,
    hookTimeout: longest,
    // Built packages are loaded by Node itself: tests run what users run.
    server: { deps: { external: [/\/dist\//] } },
  },
});
