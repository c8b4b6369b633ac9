// npm test [-- FILTER…]: builds, then runs the tests; `--all` (npm run test:all) adds the slow ones, *.slow.test.ts, and,
// without a filter, a bounded part of the sanitizers' (scripts/sanitize.mjs). Closes with one line: `N passed, N failed, N skipped`.
//
// Tests on real data are in *.data.test.ts (or *.data.slow.test.ts) and run when FIGMENT_DATA names the data folder.
// FIGMENT_REQUIRE_DATA=1 turns a skipped one into a failure.

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build, root, run, tool } from "./lib.mjs";

const report = join(root, "test-results", "vitest.json");

/** Counts of vitest's JSON report; a file that failed to load counts as one failed test. */
function summarise(code) {
  const counts = { passed: 0, failed: 0, skipped: 0, skippedOnData: [] };
  let files = [];
  try {
    files = JSON.parse(readFileSync(report, "utf8")).testResults;
  } catch {
    // No report: vitest itself ended early, which its exit code says below.
  }
  for (const file of files) {
    if (file.status === "failed" && file.assertionResults.length === 0) counts.failed++;
    for (const test of file.assertionResults) {
      if (test.status === "passed" || test.status === "failed") counts[test.status]++;
      else {
        counts.skipped++;
        if (file.name.includes(".data.")) counts.skippedOnData.push(test.fullName);
      }
    }
  }
  // An error outside any test (a crashed worker, an unhandled rejection) fails the run without failing a test.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

const args = process.argv.slice(2);
const all = args.includes("--all");
await build();
rmSync(report, { force: true });
const code = run(
  tool("vitest"),
  ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...args.filter((a) => a !== "--all")],
  all ? { FIGMENT_TEST_ALL: "1" } : {},
);
const counts = summarise(code);
if (process.env.FIGMENT_REQUIRE_DATA === "1" && counts.skippedOnData.length > 0) {
  console.log(`Skipped although the data is required:\n  ${counts.skippedOnData.join("\n  ")}`);
  counts.failed += counts.skippedOnData.length;
  counts.skipped -= counts.skippedOnData.length;
}
if (all && args.length === 1 && run(process.execPath, [join(root, "scripts", "sanitize.mjs"), "--count", "2000"]) !== 0)
  counts.failed++;
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed > 0 ? 1 : code);
