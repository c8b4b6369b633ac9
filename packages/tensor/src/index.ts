// @figment/tensor: tensors, derivatives and compiled programs on native kernels.
//
//   core/     tensors, cells, random streams, scopes; tracing and differentiation
//   ops/      one file per family of operations: shape rule, derivative, lowering, reference
//   ir/       the graph, its text and its validity
//   passes/   graph → graph
//   program/  graph → native program: regions, memory plan, bytes
//   runtime/  the device, eager execution, compile

import "./core/methods.js";

export { type DType, type DataArray, bytesOf, isDType, isFloat } from "./dtype.js";
export * from "./errors.js";
export { type Shape, showShape, sizeOf } from "./shape.js";
export { type NestedArray, Tensor } from "./core/tensor.js";
export {
  type ImageBytes,
  type TensorData,
  type TensorOptions,
  arange,
  fromImage,
  full,
  ones,
  scalar,
  tensor,
  toImage,
  zeros,
} from "./core/create.js";
export { Cell, type CellOptions, type CellTree, readCells } from "./core/cell.js";
export { Rng, rng } from "./core/rng.js";
export { type Json, type SavedState, type StateToRestore, type Stateful, restoreCells } from "./core/stateful.js";
export { type OpenScope, openScope, scope } from "./core/scope.js";
export { Grads, type Wrt, customVjp, grad, remat, stopGradient, valueAndGrad } from "./core/grad.js";
export { isTracing, traceGuard, traceMode } from "./core/trace.js";
export { currentPath, withPath } from "./core/path.js";
export { isPlainObject, leavesOf, mapTree } from "./core/tree.js";
export { type CompileOptions, type CompileStats, type Compiled, compile } from "./runtime/compile.js";
export { throwIfAborted } from "./runtime/abort.js";
export {
  type MemoryStats,
  assertNoLeaks,
  deviceInfo,
  markNoLeaks,
  memory,
  setMemoryLimit,
  setThreads,
  settled,
} from "./runtime/memory.js";
export type { TensorLike } from "./ops/elementwise.js";
export * from "./ops/public.js";
