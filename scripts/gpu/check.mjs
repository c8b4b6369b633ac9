// ./gpu-check [STEP…] [--minutes N] [--out DIR]: builds the CUDA plug-in for this machine's GPU, tests it and measures it.
// Needs nvcc, CMake and a C++ compiler; PyTorch is compared with where python3 has it. Each step's log is in DIR; the
// results are DIR/gpu.json and a table at the end.

import { spawn, spawnSync } from "node:child_process";
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const plugin = join(root, "native", "lib", "figment_cuda.so");
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");

const steps = {
  build: { title: "builds the plug-in for this GPU, and the one on the emulator", run: buildPlugin },
  parity: {
    title: "compares every kernel with the specification, in every format",
    run: () => test("parity", ["packages/tensor/test/cuda"]),
  },
  packages: {
    title: "trains and samples small models on the GPU and on the CPU",
    run: () => test("packages", packagesTests),
  },
  emulator: {
    title: "compares the emulator's verdicts on planted bugs with compute-sanitizer's",
    run: compareVerdicts,
  },
  sanitizer: { title: "runs kernels under compute-sanitizer", run: sanitize },
  bench: { title: "measures kernels and models, beside PyTorch where python3 has it", run: bench },
};
const packagesTests = ["io", "nn", "vae", "gan", "diffusion", "figment"].map((name) => `packages/${name}/test/cuda`);

const { values: options, positionals } = readArguments({
  allowPositionals: true,
  options: {
    help: { type: "boolean", short: "h", default: false },
    minutes: { type: "string", default: "30" },
    out: { type: "string", default: join(root, "out", "gpu") },
    ops: { type: "string" },
    filter: { type: "string" },
    // Where the user is; the script runs in its own folder.
    from: { type: "string", default: "" },
  },
});
if (options.help) {
  console.log("./gpu-check [STEP…] [--minutes N] [--out DIR] [--ops OP,OP] [--filter TEXT]\n");
  for (const [name, { title }] of Object.entries(steps)) console.log(`  ${name.padEnd(10)} ${title}`);
  console.log("\nWithout a step: all of them. --minutes bounds each; --ops limits parity, --filter the benchmarks.");
  process.exit();
}
for (const name of positionals) {
  if (Object.hasOwn(steps, name)) continue;
  console.error(`There is no step ${name}; there are ${Object.keys(steps).join(", ")}`);
  process.exit(1);
}
const limit = Number(options.minutes) * 60_000;
if (!(limit > 0)) {
  console.error(`--minutes ${options.minutes}: expected a number above 0`);
  process.exit(1);
}
options.out = resolve(options.from, options.out);
try {
  mkdirSync(options.out, { recursive: true });
} catch (error) {
  console.error(`--out ${options.out}: ${error.message}`);
  process.exit(1);
}

const text = (command, args) => {
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
};

/** parseArgs, with a line in place of a stack for what it does not know. */
function readArguments(config) {
  try {
    return parseArgs(config);
  } catch (error) {
    console.error(error.message);
    return process.exit(1);
  }
}

/** Runs a command with its output in a log and on this terminal; answers its exit code, or null when it ran past the limit. */
function run(log, command, args, env = {}) {
  return new Promise((resolve) => {
    const file = createWriteStream(join(options.out, `${log}.log`));
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, FIGMENT_CUDA: plugin, NODE: process.execPath, ...env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      process.kill(-child.pid, "SIGKILL");
    }, limit);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        file.write(data);
        if (log !== "build") process.stdout.write(data);
      });
    }
    child.on("error", (error) => console.error(`${command}: ${error.message}`));
    child.on("close", (code) => {
      clearTimeout(timer);
      file.end();
      resolve(late ? null : code);
    });
  });
}

const ended = (code) => ({ passed: code === 0, ...(code === null && { problem: "ran past its time" }) });

async function buildPlugin() {
  const code = await run("build", process.execPath, ["cuda/scripts/build.mjs"], { CUDA: "ON" });
  if (code !== 0) console.log(readFileSync(join(options.out, "build.log"), "utf8").slice(-6000));
  return ended(code);
}

/** Test files by the beginning of their paths; counts from vitest's own report. */
async function test(name, paths, env = {}) {
  const report = join(options.out, `${name}.json`);
  rmSync(report, { force: true });
  const args = [vitest, "run", ...paths, "--reporter=json", `--outputFile.json=${report}`];
  const code = await run(name, process.execPath, args, {
    FIGMENT_TEST_CUDA: "1",
    ...(options.ops && { FIGMENT_TEST_OPS: options.ops }),
    ...env,
  });
  if (!existsSync(report)) return { ...ended(code), problem: "no report" };
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
  const failures = testResults.flatMap(({ assertionResults }) =>
    assertionResults.flatMap(({ status, fullName, failureMessages }) =>
      status === "failed" ? [{ name: fullName, message: failureMessages[0]?.split("\n")[0] }] : [],
    ),
  );
  return {
    passed: code === 0 && numPassedTests > 0,
    ...(code === null && { problem: "ran past its time" }),
    tests: { passed: numPassedTests, failed: numFailedTests, skipped: numPendingTests },
    failures,
  };
}

async function compareVerdicts() {
  if (!text("which", ["compute-sanitizer"])) return { passed: true, skipped: "compute-sanitizer is not on the PATH" };
  return ended(await run("emulator", "sh", ["cuda/test/sanitizer.sh"]));
}

async function sanitize() {
  if (!text("which", ["compute-sanitizer"])) return { passed: true, skipped: "compute-sanitizer is not on the PATH" };
  const args = [
    "--tool",
    "memcheck",
    "--error-exitcode",
    "9",
    "--target-processes",
    "all",
    "--kernel-regex",
    "kns=figment",
  ];
  return ended(
    await run("sanitizer", "compute-sanitizer", [
      ...args,
      process.execPath,
      vitest,
      "run",
      "packages/tensor/test/cudaParity",
      "--pool=forks",
      "--maxWorkers=1",
    ]),
  );
}

async function bench() {
  const json = join(options.out, "bench.json");
  rmSync(json, { force: true });
  const args = ["benchmarks/dist/main.js", "--suite", "gpu", "--json", json];
  const code = await run("bench", process.execPath, [...args, ...(options.filter ? ["--filter", options.filter] : [])]);
  return { ...ended(code), ...(existsSync(json) && { results: JSON.parse(readFileSync(json, "utf8")) }) };
}

const query = text("nvidia-smi", ["--query-gpu=name,driver_version,memory.total,compute_cap", "--format=csv,noheader"]);
const machine = {
  gpus: query?.split("\n"),
  nvcc:
    text("nvcc", ["--version"])?.split("\n").at(-1) ??
    text("/usr/local/cuda/bin/nvcc", ["--version"])?.split("\n").at(-1),
  torch: text("python3", ["-c", "import torch; print(torch.__version__)"]),
  cpu: `${cpus()[0]?.model}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
  node: process.version,
  commit: text("git", ["-C", root, "rev-parse", "HEAD"]),
};
console.log(JSON.stringify(machine, null, 1));

const results = {};
const lines = [];
for (const name of positionals.length > 0 ? positionals : Object.keys(steps)) {
  console.log(`\n== ${name}: ${steps[name].title}`);
  const start = performance.now();
  const result = await steps[name].run();
  const seconds = (performance.now() - start) / 1000;
  results[name] = { seconds, ...result };
  const { tests, skipped, problem, passed, failures } = result;
  const counts = tests ? `${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped` : (skipped ?? "");
  lines.push(
    `${name.padEnd(10)} ${passed ? "ok    " : "FAILED"} ${seconds.toFixed(1).padStart(7)} s  ${[counts, problem].filter(Boolean).join("; ")}`,
  );
  for (const failure of failures?.slice(0, 40) ?? []) lines.push(`    ${failure.name}\n        ${failure.message}`);
  writeFileSync(join(options.out, "gpu.json"), `${JSON.stringify({ machine, results }, null, 1)}\n`);
  if (name === "build" && !passed) break;
}
console.log(`\n${lines.join("\n")}\nResults: ${join(options.out, "gpu.json")}`);
process.exitCode = Object.values(results).every(({ passed }) => passed) ? 0 : 1;
