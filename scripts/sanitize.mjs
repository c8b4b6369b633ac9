// npm run test:sanitize [-- address|thread] [--count N]: builds instrumented addons and runs the tests that put the raw
// addon under stress on them. Address: random calls and mutated programs, N of each (default 100,000), under
// AddressSanitizer and UndefinedBehaviorSanitizer. Thread: four workers training at once, under ThreadSanitizer.
// Closes with one line for each; a report of a sanitizer fails it.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { build, fail, root, run, tool } from "./lib.mjs";

const kinds = {
  address: {
    sanitize: "address,undefined",
    libraries: ["libasan.so", "libubsan.so"],
    tests: [
      "native/test/fuzz.test.ts",
      "native/test/queue.test.ts",
      "native/test/program.test.ts",
      "packages/tensor/test/fuzz.test.ts",
    ],
    // Node frees little at its end; what the addon leaks is told by the tests' own counts.
    options: { ASAN_OPTIONS: "detect_leaks=0:abort_on_error=0:exitcode=99", UBSAN_OPTIONS: "print_stacktrace=1" },
  },
  thread: {
    sanitize: "thread",
    libraries: ["libtsan.so"],
    tests: ["packages/figment/test/threads.test.ts", "native/test/workers.test.ts"],
    // Node itself is not instrumented: its own synchronisation would look like none.
    options: { TSAN_OPTIONS: "exitcode=99:ignore_noninstrumented_modules=1" },
  },
};

/** Where the compiler keeps a library; null when it has none. */
function libraryPath(name) {
  const { stdout } = spawnSync(process.env.CXX ?? "c++", [`-print-file-name=${name}`], { encoding: "utf8" });
  const path = stdout?.trim() ?? "";
  return isAbsolute(path) ? path : null;
}

/** Builds and tests one kind; answers whether nothing was found. */
function check(name, count) {
  const { sanitize, libraries, tests, options } = kinds[name];
  const paths = libraries.map(libraryPath);
  if (paths.includes(null) || process.platform !== "linux") {
    console.log(`${name}: left out, because the compiler has no ${libraries.join(" and ")} here`);
    return true;
  }
  console.log(`${name}: building the instrumented addon (several minutes the first time) …`);
  const built = spawnSync(process.execPath, [join(root, "native", "scripts", "build.mjs")], {
    env: { ...process.env, FIGMENT_BUILD_SANITIZE: sanitize },
    encoding: "utf8",
  });
  if (built.status !== 0) fail(`${built.stdout}${built.stderr}`);
  const reports = mkdtempSync(join(tmpdir(), "figment-sanitize-"));
  const [variable, value] = Object.entries(options)[0];
  const code = run(tool("vitest"), ["run", "--no-file-parallelism", "--testTimeout=3600000", ...tests], {
    ...options,
    [variable]: `${value}:log_path=${join(reports, "report")}`,
    LD_PRELOAD: paths.join(":"),
    FIGMENT_BINDING: join(root, "native", "lib", `figment-${sanitize.replaceAll(",", "-")}.node`),
    FIGMENT_FUZZ_TOTAL: String(count),
    FIGMENT_SANITIZED: name,
  });
  const found = readdirSync(reports).map((file) => readFileSync(join(reports, file), "utf8"));
  for (const report of found) console.log(report);
  console.log(`${name}: ${found.length} reports, tests ${code === 0 ? "passed" : "failed"}`);
  return code === 0 && found.length === 0;
}

const args = process.argv.slice(2);
const at = args.indexOf("--count");
const count = at < 0 ? 100_000 : Number(args[at + 1]);
if (!(count >= 1)) fail(`--count: expected a number of at least 1, got ${args[at + 1]}`);
const chosen = args.filter((_arg, i) => at < 0 || (i !== at && i !== at + 1));
for (const name of chosen) if (!kinds[name]) fail(`expected address or thread, got ${name}`);
await build();
const results = (chosen.length > 0 ? chosen : Object.keys(kinds)).map((name) => check(name, count));
process.exit(results.every(Boolean) ? 0 : 1);
