// @figment/native: loads the addon and describes its binding. Nothing here computes.

export type {
  CpuInfo,
  DeviceInfo,
  Isa,
  MemoryInfo,
  NativeBinding,
  NativeErrorCode,
  ProgramInfo,
  RecordTiming,
} from "./binding.js";
export { loadBinding, NativeLoadError } from "./load.js";
