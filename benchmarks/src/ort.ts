// The peer onnxruntime-node: installed on demand into benchmarks/peers, which has its own lockfile, and run on models
// that onnx.ts writes. Its install step would download GPU libraries; it is skipped, since the CPU one is in the package.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { type OnnxGraph, type OnnxType, onnxModel } from "./onnx.js";
import type { Contestant } from "./race.js";

const folder = fileURLToPath(new URL("../peers/", import.meta.url));

// The part of onnxruntime-node's interface that is used here; its own types are not on the root's path.
interface OrtTensor {
  readonly data: ArrayLike<number>;
  dispose(): void;
}
interface OrtSession {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}
interface OrtModule {
  readonly env: { readonly versions: { readonly node?: string } };
  readonly Tensor: new (type: string, data: ArrayBufferView, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: { create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession> };
}

const ortTypes: Record<OnnxType, string> = { f32: "float32", i32: "int32", i64: "int64" };

/** The peer's module, installed first where it is missing; a string says why there is none. */
export function loadOrt(): OrtModule | string {
  const require = createRequire(`${folder}package.json`);
  if (!existsSync(`${folder}node_modules/onnxruntime-node`)) {
    process.stderr.write("Installing the peers into benchmarks/peers …\n");
    const npm = spawnSync("npm", ["ci"], {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" },
      shell: process.platform === "win32",
    });
    if (npm.status !== 0) return `npm ci in benchmarks/peers failed: ${(npm.stderr ?? "").split("\n")[0]}`;
  }
  try {
    return require("onnxruntime-node") as OrtModule;
  } catch (error) {
    return `onnxruntime-node does not load: ${(error as Error).message}`;
  }
}

/** Version of the installed peer. */
export function ortVersion(): string {
  return (createRequire(`${folder}package.json`)("onnxruntime-node/package.json") as { version: string }).version;
}

/** A contestant that runs the graph once per call, on the data given by input name. */
export async function ortContestant(
  ort: OrtModule,
  threads: number,
  graph: OnnxGraph,
  data: Readonly<Record<string, Float32Array | Int32Array>>,
): Promise<Contestant> {
  const session = await ort.InferenceSession.create(onnxModel(graph), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
  });
  const feeds: Record<string, OrtTensor> = {};
  for (const { name, shape, type = "f32" } of graph.inputs) {
    feeds[name] = new ort.Tensor(ortTypes[type], data[name]!, shape);
  }
  return {
    name: "onnxruntime",
    async run(repeats) {
      for (let i = 0; i < repeats; i++) {
        const results = await session.run(feeds);
        for (const result of Object.values(results)) result.dispose();
      }
    },
    async dispose() {
      await session.release();
    },
  };
}

export type { OrtModule };
