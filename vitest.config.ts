// Tests of all packages: <package>/test/*.test.ts. Slow ones (*.slow.test.ts) run with FIGMENT_TEST_ALL=1
// (npm run test:all).

import { availableParallelism } from "node:os";
import { configDefaults, defineConfig } from "vitest/config";

const slow = process.env.FIGMENT_TEST_ALL === "1" ? [] : ["**/*.slow.test.ts"];

export default defineConfig({
  test: {
    include: ["{native,benchmarks,packages/*}/test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...slow],
    pool: "forks",
    maxWorkers: availableParallelism(),
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Built packages are loaded by Node itself: tests run what users run.
    server: { deps: { external: [/\/dist\//] } },
  },
});
