// Several environments in one process, and environments that end in the middle of their work.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { addProgram, slowProgram } from "./programs.ts";
import { buffer, expectError, floatsOf, native, run } from "./support.ts";

const count = 1 << 16;
/** Several seconds of work, in records of a few milliseconds, with the reference kernel. */
const endless = slowProgram(count, 3000);
/** How long the work above may hold up the end of its thread or process: far less than it would take. */
const promptly = process.env.FIGMENT_SANITIZED ? 60_000 : 1500;

const worker = (data: object): Worker => new Worker(new URL("worker.mjs", import.meta.url), { workerData: data });

/** Runs a module in a fresh process, with `program` bound to the long program; answers what became of it. */
async function process_(
  source: string,
): Promise<{ code: number | null; signal: string | null; output: string; elapsed: number }> {
  const prelude = `
    import { loadBinding } from "@figment/native";
    const native = loadBinding();
    const program = native.loadProgram(Buffer.from("${Buffer.from(endless).toString("base64")}", "base64"), "reference");
    const x = native.allocate(0, ${4 * count});
    native.write(x, 0, new Float32Array(${count}));
    const start = () => { const out = new Float64Array(1); native.run(program, 0, Float64Array.of(x), out, 0); return out[0]; };
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-"], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
  });
  let output = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (output += text));
  const from = performance.now();
  child.stdin.end(prelude + source);
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  return { code, signal, output, elapsed: performance.now() - from };
}

describe("worker threads", () => {
  it("four at once compute what they should and leak nothing", async () => {
    const program = addProgram(4096);
    const workers = [1, 2, 3, 4].map((seed) => worker({ task: "sums", program, count: 4096, seed }));
    const results = await Promise.all(
      workers.map(async (thread) => {
        const [[message], [code]] = await Promise.all([once(thread, "message"), once(thread, "exit")]);
        return { message, code };
      }),
    );
    for (const result of results) expect(result).toEqual({ message: { live: 0, liveBuffers: 0 }, code: 0 });
  });

  it("cannot use each other's handles", () => {
    const foreign = native.createCancel();
    native.releaseCancel(foreign);
    expectError(() => native.cancel(foreign), "ERR_FIGMENT_HANDLE");
  });

  it("end promptly when terminated in the middle of a job, and leave the others working", async () => {
    for (let round = 0; round < 3; round++) {
      const thread = worker({ task: "long", program: endless, count });
      expect(await once(thread, "message")).toEqual(["running"]);
      const from = performance.now();
      await thread.terminate();
      expect(performance.now() - from).toBeLessThan(promptly);
    }
    const program = native.loadProgram(addProgram(2));
    const input = buffer(new Float32Array([1, 2]));
    const [sum] = run(program, [input, input]);
    expect(await floatsOf(sum!)).toEqual(new Float32Array([2, 4]));
    native.release(input);
    native.release(sum!);
    native.releaseProgram(program);
  });

  it("may be the only ones that ever load the addon, one after another", async () => {
    const source = `
      import { Worker } from "node:worker_threads";
      for (let i = 0; i < 3; i++) {
        const thread = new Worker("import('@figment/native').then(({ loadBinding }) => loadBinding().settled())", { eval: true });
        await new Promise((resolve, reject) => thread.on("exit", resolve).on("error", reject));
      }
      console.log("three");
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
      cwd: fileURLToPath(new URL(".", import.meta.url)),
    });
    let output = "";
    child.stdout.on("data", (text) => (output += text));
    const [code] = await once(child, "close");
    expect({ code, output }).toEqual({ code: 0, output: "three\n" });
  });
});

describe("a process", () => {
  it("exits promptly in the middle of a job", async () => {
    const result = await process_(`start(); setTimeout(() => process.exit(7), 50);`);
    expect(result).toMatchObject({ code: 7, signal: null, output: "" });
    expect(result.elapsed).toBeLessThan(promptly + 1000);
  });

  it("exits by itself when nothing is pending, although work is queued", async () => {
    const result = await process_(`start(); console.log("end");`);
    expect(result).toMatchObject({ code: 0, output: "end\n" });
    expect(result.elapsed).toBeLessThan(promptly + 1000);
  });

  it("stays until a pending read is answered", async () => {
    const result = await process_(`
      const token = native.createCancel();
      const out = new Float64Array(1);
      native.run(program, 0, Float64Array.of(x), out, token);
      native.read(out[0], 0, 4).catch((error) => console.log(error.code));
      setTimeout(() => native.cancel(token), 100).unref();
      setTimeout(() => {}, 120);
    `);
    expect(result).toMatchObject({ code: 0, output: "ERR_FIGMENT_ABORTED\n" });
  });

  it("survives an exception thrown where a result arrives", async () => {
    const result = await process_(`
      process.on("uncaughtException", (error) => console.log(error.message));
      process.on("unhandledRejection", (error) => console.log(error.message));
      native.read(x, 0, ${4 * count}).then(() => { throw new Error("from a callback"); });
      native.settled().then(() => { throw new Error("from another"); });
    `);
    expect(result.code).toBe(0);
    expect(result.output.trim().split("\n").sort()).toEqual(["from a callback", "from another"]);
  });
});

describe("loading the addon twice", () => {
  it("gives two environments that share nothing but the device", () => {
    const require = createRequire(import.meta.url);
    const path = process.env.FIGMENT_BINDING ?? fileURLToPath(new URL("../lib/figment.node", import.meta.url));
    require(path);
    delete require.cache[path];
    const again = require(path) as typeof native;
    const mine = again.allocate(0, 16);
    expect(again.memory().liveBuffers).toBe(1);
    expect(again.byteLength(mine)).toBe(16);
    again.release(mine);
    expect(again.memory().liveBuffers).toBe(0);
  });
});
