// The trainer: one for all families.
//   trainer.ts      the loop; options.ts, results.ts and hooks.ts what goes in, comes out and happens beside it
//   checkpoints.ts  the rolling set of checkpoints
//   runLog.ts       log.jsonl and events/, the latter in TensorBoard's format
//   progress.ts, interrupt.ts  the progress bar and Ctrl-C, for other long work too

export { type CheckpointFile, listCheckpoints } from "./checkpoints.js";
export type { HookContext, TrainerHook } from "./hooks.js";
export { type Interrupt, interruptedCode, onInterrupt } from "./interrupt.js";
export type { TrainerOptions, TrainerSummary, TrainingData } from "./options.js";
export { type Progress, showProgress } from "./progress.js";
export { type LogRecord, readLog } from "./runLog.js";
export { Trainer } from "./trainer.js";
