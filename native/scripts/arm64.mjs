// npm run test:arm64 -w @figment/native [-- FILTER…]: whether the kernels give on arm64 what they give here. Runs tests that call
// every kernel, notes all calls with what they gave (test/replay/record.cjs), compiles the kernels and the runtime for arm64
// together with a program that repeats the calls (test/replay), and runs it in an emulator. Ends with one line for each
// call that differs, and a summary. Filters choose among the test files.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, availableParallelism, platform, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const repository = dirname(root);
const folder = join(root, "build-arm64");
const compiler = process.env.FIGMENT_ARM64_CXX ?? "aarch64-linux-gnu-g++";
const emulator = process.env.FIGMENT_ARM64_EMULATOR ?? "qemu-aarch64";

/** They call every kernel. */
const tests = ["parity", "halfKernels", "winograd", "fuzz", "repeat", "updates", "draws", "randomPrograms.slow"].map(
  (name) => `packages/tensor/test/${name}.test.ts`,
);
/** How many random programs, and mutated ones in all. */
const counts = { FIGMENT_FUZZ_COUNT: "300", FIGMENT_FUZZ_TOTAL: "2500" };

function fail(message) {
  console.error(message);
  process.exit(1);
}

function run(what, command, args, env = {}) {
  const result = spawnSync(command, args, { cwd: repository, stdio: "inherit", env: { ...process.env, ...env } });
  if (result.status !== 0) fail(`test:arm64: ${what} failed; its messages are above.`);
}

const works = (command) => spawnSync(command, ["--version"]).status === 0;

if (platform() === "linux" && arch() === "arm64")
  fail("test:arm64: this machine is arm64; npm test runs the kernels on it.");
const missing = [
  ["cmake", "cmake", "CMake"],
  [compiler, "g++-aarch64-linux-gnu", "a compiler for arm64 (FIGMENT_ARM64_CXX names another)"],
  [emulator, "qemu-user", "an emulator of Linux on arm64 (FIGMENT_ARM64_EMULATOR names another)"],
].filter(([command]) => !works(command));
if (missing.length > 0) {
  const list = missing.map(([command, , what]) => `${what}: ${command}`).join("; ");
  const packages = missing.map(([, name]) => name).join(" ");
  fail(`test:arm64 needs what was not found: ${list}.\nOn Debian and Ubuntu: sudo apt-get install -y ${packages}`);
}
const filters = process.argv.slice(2);
const chosen = tests.filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)));
if (chosen.length === 0)
  fail(`test:arm64: no test's name contains ${filters.join(" or ")}; there are ${tests.join(", ")}`);

// The addon here first: its build writes the structs of parameters that both need, and calls are noted with it.
run("building the addon", process.execPath, [join(root, "scripts", "build.mjs")]);

mkdirSync(folder, { recursive: true });
const configuration = {
  FIGMENT_REPLAY: "ON",
  CMAKE_BUILD_TYPE: "Release",
  CMAKE_SYSTEM_NAME: "Linux",
  CMAKE_SYSTEM_PROCESSOR: "aarch64",
  CMAKE_CXX_COMPILER: compiler,
  // Nothing of the target's libraries has to be found where it runs.
  CMAKE_EXE_LINKER_FLAGS: "-static",
};
const definitions = Object.entries(configuration).map(([name, value]) => `-D${name}=${value}`);
run("configuring for arm64", "cmake", ["-S", root, "-B", folder, ...definitions]);
run("compiling for arm64", "cmake", ["--build", folder, "--parallel", String(availableParallelism())]);

const calls = mkdtempSync(join(tmpdir(), "figment-arm64-"));
try {
  const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
  // The program repeats each call on several threads by itself.
  const once = ["--testNamePattern", "^(?!.*any number of threads)"];
  run("running the tests here", process.execPath, [vitest, "run", "--testTimeout=1200000", ...once, ...chosen], {
    ...counts,
    ...process.env,
    FIGMENT_BINDING: join(root, "test", "replay", "record.cjs"),
    FIGMENT_RECORD: calls,
    FIGMENT_TEST_ALL: "1",
  });
  const files = readdirSync(calls).map((file) => join(calls, file));
  run("repeating the calls on arm64", emulator, [join(folder, "replay"), ...files]);
} finally {
  rmSync(calls, { recursive: true, force: true });
}
