// onnxruntime-node, run on models that onnx.ts writes.

import type { KernelCase } from "../case.js";
import { type OnnxType, onnxModel } from "../onnx.js";
import type { Contestant } from "../race.js";
import { loadPackage, packageVersion } from "./packages.js";
import type { Missing, Peer } from "./peer.js";

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
  readonly Tensor: new (type: string, data: ArrayBufferView, dims: readonly number[]) => OrtTensor;
  readonly InferenceSession: { create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession> };
}

const name = "onnxruntime";
const ortTypes: Record<OnnxType, string> = { f32: "float32", i32: "int32", i64: "int64" };

/** A contestant that runs the case's graph once per call, on the data given by input name. */
async function contestant(ort: OrtModule, work: KernelCase, threads: number): Promise<Contestant | null> {
  if (!work.onnx) return null;
  const { graph, data } = work.onnx();
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
    name,
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

export async function findOrt(): Promise<readonly (Peer | Missing)[]> {
  try {
    const ort = loadPackage("onnxruntime-node") as OrtModule;
    const version = packageVersion("onnxruntime-node");
    return [{ name, version, contestant: (work, threads) => contestant(ort, work, threads), dispose() {} }];
  } catch (error) {
    return [{ name, reason: (error as Error).message.split("\n")[0]! }];
  }
}
