// Tests of all packages: <package>/test/*.test.ts. Slow ones (*.slow.test.ts) run with FIGMENT_TEST_ALL=1
// (npm run test:all).

import { availableParallelism } from "node:os";
import { defaultServerConditions } from "vite";
import { configDefaults, defineConfig } from "vitest/config";

const slow = process.env.FIGMENT_TEST_ALL === "1" ? [] : ["**/*.slow.test.ts"];

// Tests look inside packages, so the packages that they import, also in processes of their own, are made of the same
// modules; users get these joined in one file (scripts/bundle.mjs), which bundle.test.ts tries.
const condition = "figment-modules";
process.env.NODE_OPTIONS = [process.env.NODE_OPTIONS, `--conditions=${condition}`].filter(Boolean).join(" ");

export default defineConfig({
  ssr: { resolve: { conditions: [condition, ...defaultServerConditions] } },
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
