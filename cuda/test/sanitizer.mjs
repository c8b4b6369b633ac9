// Compares the emulator's verdicts on planted faults with those of NVIDIA's compute-sanitizer on a real GPU.
//
//   node cuda/test/sanitizer.mjs GPU_FAULTS [VERDICTS.json]
//
// GPU_FAULTS is figment_cuda_faults built by nvcc (sanitizer.sh does it). Each case runs under the tool that it is for; those
// whose launch must be refused run alone. A case may take so many seconds, and one that hangs counts as found, because only
// faults hang. Faults marked strict are refused by the emulator although the hardware's tools may let them pass: their
// verdicts are shown and need not agree. Ends with 1 when any others differ.

import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const secondsEach = 40;
/** Cases that run at the same time: each is one small launch, of which starting the tool takes most. */
const atOnce = 6;
/** The exit status that compute-sanitizer is asked for. */
const foundStatus = 33;

const [gpu, json] = process.argv.slice(2);
if (!gpu) {
  console.error("usage: node cuda/test/sanitizer.mjs GPU_FAULTS [VERDICTS.json]");
  process.exit(2);
}

/** Runs a program to its end, however it ends. */
function run(program, ...args) {
  const limits = { timeout: secondsEach * 1000, killSignal: "SIGKILL", maxBuffer: 1 << 26 };
  return new Promise((resolve) => {
    execFile(program, args, limits, (error, stdout) => {
      const lines = stdout.split("\n");
      const verdicts = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
      resolve({ status: error ? error.code : 0, late: error?.killed === true, error, lines, verdicts });
    });
  });
}

/** Whether something was found in a case, and what was said first. */
async function judge({ name, tool }) {
  const options = ["--tool", tool, "--error-exitcode", String(foundStatus), "--print-limit", "1"];
  if (tool === "racecheck") options.push("--racecheck-report", "all");
  const { status, late, error, lines, verdicts } = await (tool === "launch"
    ? run(gpu, name)
    : run("compute-sanitizer", ...options, gpu, name));
  if (late) return { found: true, message: `did not end in ${secondsEach} s` };
  if (typeof status === "string") throw error;
  if (status !== foundStatus) {
    if (verdicts.length === 0) return { found: true, message: `ended with status ${status}` };
    // Where the tool found nothing, a launch that failed or a wrong result is not what was planted.
    return tool === "launch" ? verdicts[0] : { found: false, message: verdicts[0].message };
  }
  const said = lines.filter((line) => line.startsWith("=========")).map((line) => line.slice(9).trim());
  return { found: true, message: said.find((line) => line !== "" && line !== "COMPUTE-SANITIZER") ?? "" };
}

const [{ verdicts: emulated }, { verdicts: listed }] = await Promise.all([
  run(fileURLToPath(new URL("../lib/figment_cuda_faults", import.meta.url))),
  run(gpu, "--list"),
]);
const results = [];
const waiting = [...listed];

async function work() {
  for (let one = waiting.shift(); one; one = waiting.shift()) {
    const { found, message } = await judge(one);
    const emulator = emulated.find(({ name }) => name === one.name)?.found;
    const agree = found === emulator;
    const mark = agree ? "same" : one.strict && emulator ? "stricter" : "DIFFERS";
    const word = (is) => (is ? "found" : "-").padEnd(6);
    console.log(
      `${mark.padEnd(9)}${one.tool.padEnd(10)}${one.name.padEnd(34)}gpu ${word(found)} emulator ${word(emulator)} ${message.slice(0, 90)}`,
    );
    results.push({ ...one, gpu: found, emulator, agree, message });
  }
}

await Promise.all(Array.from({ length: atOnce }, work));
if (json) writeFileSync(json, `${JSON.stringify(results, null, 1)}\n`);
const differ = results.filter(({ agree, strict }) => !agree && !strict).map(({ name }) => name);
const alike = results.filter(({ agree }) => agree).length;
console.log(
  `${results.length} cases, ${alike} alike, ${differ.length} that differ${differ.length ? `: ${differ.join(", ")}` : ""}`,
);
process.exit(differ.length > 0 || results.length === 0 ? 1 : 0);
