// @figment/native: loads the addon and describes its binding. Nothing here computes.

export type {
  BuildInfo,
  Ceilings,
  ChoiceReason,
  CpuInfo,
  DeviceInfo,
  Isa,
  MemoryInfo,
  NativeBinding,
  NativeErrorCode,
  ProfileChunk,
  ProgramInfo,
  RecordChoice,
} from "./binding.js";
export { bindingPath, loadBinding, NativeLoadError } from "./load.js";
export { type ProfileEvent, profileEvents } from "./profile.js";
export { nativeVersion, shippedTuning } from "./shipped.js";
