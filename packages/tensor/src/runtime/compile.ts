// compile(fn): traces a function once per signature, turns the graph into one native program, and runs
// that program at every later call.

import { checkPrecision, type Precision, withPrecision } from "../core/precision.js";
import { tapeDepth } from "../core/tape.js";
import type { Tensor } from "../core/tensor.js";
import { currentTrace, withMode } from "../core/trace.js";
import { leavesOf } from "../core/tree.js";
import { UsageError } from "../errors.js";
import { printGraph } from "../ir/print.js";
import { checkOptions } from "../ops/checks.js";
import { show } from "../shape.js";
import { throwIfAborted } from "./abort.js";
import { Call, Routes } from "./call.js";
import { currentDevice } from "./devices.js";
import { explainProgram } from "./explain.js";
import { GuardedCache } from "./guardedCache.js";
import { CallOrigins } from "./origin.js";
import { type Profile, profileProgram } from "./profile.js";
import { type Arguments, flattenArguments, patternOf, whatChanged } from "./signature.js";
import { misfit, release, type Specialisation, specialise, statesOf } from "./specialise.js";
import { span } from "./timeline.js";

/** How a function is compiled. */
export interface CompileOptions {
  /** Fixes the mode of modules used inside; otherwise each module's own mode is guarded. */
  readonly mode?: "train" | "eval";
  /** Shown by explain() and in warnings; default: the function's name. */
  readonly name?: string;
  /**
   * How exactly convolutions, matrix products and attention compute, in derivatives too; see {@link Precision}. "bf16"
   * rounds their f32 factors to bf16 and sums in f32, "f16" likewise; everything else stays as it is. explain() shows the
   * formats of each kernel. Default: that of the function that this is called in, else "highest".
   */
  readonly precision?: Precision;
}

/** What a compiled function has done so far. */
export interface CompileStats {
  readonly calls: number;
  /** Times that the function was traced because no program fitted the arguments: the cache's misses. */
  readonly traces: number;
  /** Programs held. */
  readonly programs: number;
  /** Programs that have left, the least recently used first, because there were too many or they were too large. */
  readonly evictions: number;
}

/** How one call of a compiled function is run. */
export interface CallOptions {
  /**
   * Stops the work of this call, queued or running. Reading what it should have computed rejects with the signal's
   * reason; cells that it should have written are as they were; it counts as no error for `settled()`.
   */
  readonly signal?: AbortSignal;
}

/** A compiled function. */
export interface Compiled<A extends readonly unknown[], R> {
  (...args: A): R;
  /**
   * Calls the function with options of this call alone. Inside another compiled function they have no effect.
   *
   * @throws the signal's reason, when it has been aborted before.
   * @example
   * const double = compile((x: Tensor) => x.mul(2));
   * const stop = new AbortController();
   * double.run({ signal: stop.signal }, ones([3])).sum(); // 6
   */
  run(options: CallOptions, ...args: A): R;
  /** The program of the latest call: op, shapes, formats, kernel variant, FLOPs, bytes and module path of each record. */
  explain(): string;
  /**
   * Calls the function `runs` times (after once to warm up) with these arguments, as any call does: state moves on.
   * Times every record and holds it against what the device can do (see {@link ceilings}, measured at the first
   * profile). Results are disposed. `String(profile)` is the table of explain() with times.
   *
   * @throws UsageError when `runs` is no whole number from 1, or inside a trace.
   */
  profile(runs: number, ...args: A): Promise<Profile>;
  /** The optimised graph of the latest call, as text. */
  print(): string;
  readonly stats: CompileStats;
  /** Frees the programs and the tensors that they captured. */
  dispose(): void;
}

/** Most programs held by one compiled function, and the most bytes of their text and of the tensors that they captured. */
const cacheLimits = { count: 64, bytes: 256 << 20 };
/** Traces in a row, without a call that fits, after which a warning says that every call compiles anew. */
const warnAfter = 8;

/**
 * Compiles a function of tensors. It is traced once for each combination of shapes, dtypes, module
 * structures and static values (numbers, booleans, strings) that it is called with; later calls run one
 * native program. Cells that it writes are updated in place.
 *
 * @param fn synchronous; takes tensors, cells, Rngs, modules, plain objects and arrays of those, and
 *   static values; returns a tree of tensors.
 * @throws UsageError for something that is no function, an unknown option, or an unknown precision.
 * @example
 * const step = compile((x: Tensor) => x.mul(2).sum());
 */
export function compile<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  if (typeof fn !== "function") throw new UsageError(`compile: expected a function, got ${show(fn)}`);
  checkOptions("compile", options, ["mode", "name", "precision"]);
  const name = options.name ?? (fn.name || "compiled");
  const { precision } = options;
  checkPrecision(name, precision);
  const routes = new Routes();
  const cache = new GuardedCache<string, Specialisation>(cacheLimits, (spec) => {
    routes.forget(spec);
    release(spec);
  });
  let previous: string | undefined;
  let latest: Specialisation | undefined;
  let calls = 0;
  let traces = 0;
  let streak = 0;
  let warned = false;
  let disposed = false;

  const find = ({ key, trees }: Arguments): Specialisation | undefined =>
    cache.find(key, (spec) => misfit(spec, trees) === undefined);

  const add = (args: Arguments, raw: A): Specialisation => {
    const made = span(`compile ${name}`, () => specialise(name, fn, raw, args, options, new CallOrigins(name, queue)));
    traces++;
    if (++streak >= warnAfter && !warned && previous !== undefined) {
      warned = true;
      const reason = whatChanged(previous, args.key) ?? (latest && misfit(latest, args.trees));
      process.emitWarning(
        `${name} was compiled anew at ${streak} calls in a row: ${reason ?? "its programs were dropped"}. Values that vary should be tensors: scalar(x) for a number`,
        "FigmentRecompileWarning",
      );
    }
    cache.add(args.key, made);
    previous = args.key;
    return made;
  };

  /** The way of a call that is like none of the latest. */
  const route = (raw: A): { call: Call; tensors: readonly Tensor[]; pattern: ReturnType<typeof patternOf> } => {
    const args = flattenArguments(name, raw, options.mode !== undefined);
    let spec = find(args);
    if (spec) streak = 0;
    spec ??= add(args, raw);
    const call = new Call(spec, statesOf(spec, args.trees));
    return { call, tensors: args.tensors, pattern: patternOf(raw) };
  };

  const queue = (raw: A, signal: AbortSignal | undefined): R => {
    if (disposed) throw new UsageError(`${name}: this compiled function has been disposed`);
    // Inside a trace the function becomes part of it; under a derivative its operations must be seen one by one.
    if (currentTrace() || tapeDepth() > 0)
      return withMode(options.mode, () => withPrecision(precision, () => fn(...raw)));
    throwIfAborted(signal);
    calls++;
    const tensors: Tensor[] = [];
    const known = routes.find(raw, tensors);
    if (known) {
      streak = 0;
      latest = known.spec;
      return known.run(tensors, signal) as R;
    }
    const { call, tensors: found, pattern } = route(raw);
    latest = call.spec;
    const result = call.run(found, signal) as R;
    // Known from now on: a call that threw has shown no way.
    if (pattern) routes.add(pattern, call);
    return result;
  };
  const call = (...raw: A): R => queue(raw, undefined);
  const run = ({ signal }: CallOptions, ...raw: A): R => queue(raw, signal);
  const stats = (): CompileStats => ({ calls, traces, programs: cache.size, evictions: cache.evictions });

  const members = {
    run: { value: run },
    explain: {
      value: () => {
        if (!latest) throw new UsageError(`${name}: call it once before asking for its program`);
        const { programs, evictions } = stats();
        return `${explainProgram(name, latest.program)}\n${calls} calls, ${traces} compilations; ${programs} of at most ${cacheLimits.count} programs held, ${evictions} dropped`;
      },
    },
    profile: {
      value: (runs: number, ...args: A): Promise<Profile> => {
        if (!Number.isInteger(runs) || runs < 1)
          throw new UsageError(`${name}: profile takes the number of runs, at least 1, got ${show(runs)}`);
        if (currentTrace()) throw new UsageError(`${name}: profile cannot be asked for inside a traced function`);
        const device = flattenArguments(name, args, options.mode !== undefined).device ?? currentDevice();
        return profileProgram(name, runs, device, () => {
          for (const tensor of leavesOf(call(...args))) tensor.dispose();
          return (latest as Specialisation).program;
        });
      },
    },
    print: {
      value: () => {
        if (!latest) throw new UsageError(`${name}: call it once before asking for its graph`);
        return printGraph(latest.graph);
      },
    },
    stats: { get: stats },
    dispose: {
      value: () => {
        disposed = true;
        cache.clear();
        latest = undefined;
      },
    },
  };
  return Object.defineProperties(call, members) as Compiled<A, R>;
}
