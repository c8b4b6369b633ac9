// Training on several threads of one process, and threads and processes that end in the middle of it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { assertNoLeaks } from "figment";
import { afterAll, describe, expect, it } from "vitest";
import { train } from "./support/trainWorker.mjs";

afterAll(() => assertNoLeaks());

const module_ = new URL("support/trainWorker.mjs", import.meta.url);
const steps = process.env.FIGMENT_SANITIZED ? 20 : 60;
/** More steps than any test waits for. */
const endless = 1_000_000;
const seeds = [1, 2, 3, 4];

interface Ended {
  readonly digest: string;
  readonly leaks: string;
}

const start = (seed: number, count: number): Worker => new Worker(module_, { workerData: { seed, steps: count } });

/** What a worker reports at its end. */
function report(worker: Worker): Promise<Ended> {
  return new Promise((resolve, reject) => {
    worker.on("message", (message) => message !== "training" && resolve(message));
    worker.on("error", reject);
  });
}

const training = (worker: Worker): Promise<unknown> => once(worker, "message");

/** Runs a module in a process of its own, with `train` in scope. */
async function run(source: string, signal?: NodeJS.Signals): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, ["--input-type=module", "-"], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      output += text;
      if (signal && output.includes("training")) child.kill(signal);
    });
  }
  child.stdin.end(`import { train } from ${JSON.stringify(module_.href)};\n${source}`);
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

describe("four worker threads that train at once", () => {
  it("each get, bit for bit, what a thread alone gets, and leak nothing", async () => {
    const alone: string[] = [];
    for (const seed of seeds) alone.push(await train(seed, steps));
    const together = await Promise.all(seeds.map((seed) => report(start(seed, steps))));
    expect(together).toEqual(alone.map((digest) => ({ digest, leaks: "" })));
    expect(new Set(alone).size).toBe(seeds.length);
  });

  it("go on undisturbed when others are terminated in the middle of a step", async () => {
    const expected = await train(7, steps);
    const doomed = [1, 2, 3].map((seed) => start(seed, endless));
    const survivor = report(start(7, steps));
    await Promise.all(doomed.map(training));
    for (const worker of doomed) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      await worker.terminate();
    }
    expect((await survivor).digest).toBe(expected);
    // The device that they left in the middle of their work works on.
    expect(await train(7, steps)).toBe(expected);
  });
});

describe("a process", () => {
  it("may exit in the middle of a step", async () => {
    const { code, output } = await run(`await train(1, ${endless}, (i) => { if (i === 20) process.exit(7); });`);
    expect({ code, output }).toEqual({ code: 7, output: "" });
  });

  it("may exit while its workers train", async () => {
    const { code, output } = await run(`
      import { Worker } from "node:worker_threads";
      let running = 0;
      for (let seed = 1; seed <= 3; seed++) {
        const worker = new Worker(new URL(${JSON.stringify(module_.href)}), { workerData: { seed, steps: ${endless} }, execArgv: [] });
        worker.on("message", () => { if (++running === 3) setTimeout(() => process.exit(8), 20); });
      }
    `);
    expect({ code, output }).toEqual({ code: 8, output: "" });
  });

  it("ends at once by a signal that nobody handles, in the middle of a step", async () => {
    const source = `await train(1, ${endless}, (i) => { if (i === 5) console.log("training"); });`;
    expect((await run(source, "SIGINT")).output).toBe("training\n");
    expect((await run(source, "SIGTERM")).output).toBe("training\n");
  });

  // A processor for each thread is only had where there are as many, and taken away again by an administrator.
  it.runIf(process.platform === "linux" && availableParallelism() > 1)(
    "keeps to the processors it is left with",
    async () => {
      const { code, output } = await run(`
      import { execFileSync } from "node:child_process";
      import { readdirSync, readFileSync } from "node:fs";
      const allowed = (task) => /Cpus_allowed_list:\\s*(\\S+)/.exec(readFileSync(\`/proc/self/task/\${task}/status\`, "utf8"))[1];
      const [first, second] = execFileSync("taskset", ["-cp", String(process.pid)], { encoding: "utf8" })
        .split(":")[1].trim().split(/[-,]/);
      const strays = [];
      await train(1, 20);
      for (const processor of [first, second, first]) {
        execFileSync("taskset", ["-acp", processor, String(process.pid)]);
        await train(1, 20);
        strays.push(...readdirSync("/proc/self/task").map(allowed).filter((list) => list !== processor));
      }
      console.log(JSON.stringify(strays));`);
      expect({ code, output: output.trim() }).toEqual({ code: 0, output: "[]" });
    },
  );
});
