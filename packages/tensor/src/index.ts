// @figment/tensor: tensors, derivatives and compiled programs on native kernels.
//
//   core/     tensors, cells, random streams, scopes; tracing and differentiation
//   ops/      one file per family of operations: shape rule, derivative, lowering, reference
//   ir/       the graph, its text and its validity
//   passes/   graph → graph
//   program/  graph → native program: regions, memory plan, bytes
//   runtime/  the device, eager execution, compile

import "./core/methods.js";
import { startFromEnvironment } from "./runtime/timeline.js";

export { apply, applyOne } from "./core/apply.js";
export { Cell, type CellOptions, type CellTree, readCells } from "./core/cell.js";
export { withCellValues } from "./core/cellOverlay.js";
export {
  arange,
  fromBits,
  fromImage,
  full,
  type ImageBytes,
  ones,
  scalar,
  type TensorData,
  type TensorOptions,
  tensor,
  toImage,
  zeros,
} from "./core/create.js";
export { customVjp, Grads, grad, remat, stopGradient, valueAndGrad, type Wrt } from "./core/grad.js";
export { currentPath, withPath } from "./core/path.js";
export { currentPrecision, type Precision } from "./core/precision.js";
export { repeat } from "./core/repeat.js";
export { Rng, rng } from "./core/rng.js";
export { type OpenScope, openScope, scope } from "./core/scope.js";
export { type Json, restoreCells, type SavedState, type Stateful, type StateToRestore } from "./core/stateful.js";
export { type NestedArray, Tensor } from "./core/tensor.js";
export { guardCells, isTracing, traceGuard, traceMode } from "./core/trace.js";
export { isPlainObject, leavesOf, mapTree } from "./core/tree.js";
export { bytesOf, type DataArray, type DType, type HalfType, isDType, isFloat } from "./dtype.js";
export * from "./errors.js";
export type { Attrs, Aval, Node } from "./ir/graph.js";
export type { Field, Fields, FieldType, Schema } from "./ir/schema.js";
export { checkArray, checkFunction, checkObject, checkOptions, checkTensor } from "./ops/checks.js";
export {
  type AssemblePlan,
  definedOps,
  defineOp,
  type KernelCall,
  type KernelOperand,
  type Lowering,
  nativeSchema,
  type OpDef,
  type Sample,
  type SampleInput,
  type View,
  type VjpArgs,
} from "./ops/definition.js";
export type { TensorLike } from "./ops/elementwise.js";
export * from "./ops/functions.js";
export * from "./ops/methods.js";
export { throwIfAborted } from "./runtime/abort.js";
export { cacheFolder } from "./runtime/cacheFolder.js";
export { type Ceilings, ceilings, copyCeiling, fmaCeiling, measureCeilings } from "./runtime/ceilings.js";
export { type CallOptions, type Compiled, type CompileOptions, type CompileStats, compile } from "./runtime/compile.js";
export {
  type AvailableDevice,
  availableDevices,
  type CpuDeviceInfo,
  type Device,
  type DeviceInfo,
  defaultDevice,
  deviceInfo,
  type GpuDeviceInfo,
  setDevice,
  withDevice,
} from "./runtime/devices.js";
export { eagerCacheStats } from "./runtime/eagerPrograms.js";
export { environmentProblems } from "./runtime/environment.js";
export { type KernelLibrary, loadKernels } from "./runtime/library.js";
export {
  assertNoLeaks,
  type MemoryStats,
  markNoLeaks,
  memory,
  setMemoryLimit,
  setThreads,
  settled,
} from "./runtime/memory.js";
export type { Profile, ProfiledRecord } from "./runtime/profile.js";
export { startTimeline, stopTimeline, type TimelineFile, writeTimeline } from "./runtime/timeline.js";
export {
  checkTuningFile,
  type TunableCall,
  type TunedCall,
  tunableCalls,
  tunableCallsOf,
} from "./runtime/tuning/index.js";
export { checkRange, type Shape, show, showShape, sizeOf } from "./shape.js";

startFromEnvironment();
