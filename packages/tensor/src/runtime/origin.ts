// Where queued work comes from: the JavaScript stack of the call that queued it, for errors that surface when its results
// are read.

/** Where work was queued. */
export interface Origin {
  /** The stack of that place. */
  readonly place: Error;
  /** A line for above the stack, where it is not that of the very call. */
  readonly note?: string;
  /** Told that the work has failed. */
  failed?(): void;
}

/** Frames of the stack that is kept with queued work: modules and composed operations lie between it and the caller's code. */
const originFrames = 100;

/** An error whose stack begins below `entry`, a function on it. */
function stackBelow(entry: (...args: never) => unknown): Error {
  const { stackTraceLimit } = Error;
  // The constructor would note a stack of its own.
  Error.stackTraceLimit = 0;
  const place = new Error("queued here");
  Error.stackTraceLimit = Math.max(stackTraceLimit, originFrames);
  Error.captureStackTrace(place, entry);
  Error.stackTraceLimit = stackTraceLimit;
  return place;
}

/** The place where this is called. */
export const here = (): Origin => ({ place: stackBelow(here) });

/**
 * The origins of the calls of one compiled program. To note a stack takes V8 longer than the rest of a call (ARCHITECTURE.md
 * has the figures), so calls share that of the call that compiled the program; once one has failed, each notes its own.
 */
export class CallOrigins implements Origin {
  readonly place: Error;
  readonly note: string;
  private hasFailed = false;

  /** To be made in the call that compiles; the stack begins below `entry`, a function on it. */
  constructor(name: string, entry: (...args: never) => unknown) {
    this.place = stackBelow(entry);
    this.note = `    in a call of ${name}, whose program this call compiled (after a failure each call notes its own place):`;
  }

  failed(): void {
    this.hasFailed = true;
  }

  /** The origin of one more call. */
  next(): Origin {
    return this.hasFailed ? here() : this;
  }
}

/** Gives an error of queued work the stack of the call that queued it. */
export function showOrigin(error: Error, origin: Origin): void {
  const { place, note } = origin;
  origin.failed?.();
  const frames = place.stack?.split("\n").slice(1) ?? [];
  if (frames.length > 0)
    error.stack = [`${error.name}: ${error.message}`, ...(note === undefined ? [] : [note]), ...frames].join("\n");
}
