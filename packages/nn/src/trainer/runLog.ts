// What a run tells of itself, in its folder: log.jsonl, one JSON object a line, and events/, which TensorBoard reads. A mark
// says how long the files are; a run that goes on from a checkpoint cuts them back to its mark, so that no line is there twice.

import { type FileHandle, mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { checkPath, DataError } from "@figment/io";
import { type EncodedImage, imageEvent, restartEvent, scalarsEvent, versionEvent } from "./events/events.js";

/** One line of log.jsonl. */
export type LogRecord = { readonly step: number } & Readonly<Record<string, number>>;

/** Bytes of each file of the log, by its name in the run's folder. */
export type LogMark = Readonly<Record<string, number>>;

const logName = "log.jsonl";
const eventFolder = "events";
/** TensorBoard takes files with this in their name for event files, and reads them in the order of their names. */
const eventPrefix = "events.out.tfevents.";

const unwritable = (file: string, cause: Error): DataError =>
  new DataError(`${file}: cannot be written: ${cause.message}`, { path: file, cause });

/** A file that only grows, by pieces in the order of the calls. */
class GrowingFile {
  private written: Promise<void> = Promise.resolve();

  private constructor(
    readonly name: string,
    private readonly file: string,
    private readonly handle: FileHandle,
    private length: number,
  ) {}

  static async open(folder: string, name: string): Promise<GrowingFile> {
    const file = path.join(folder, name);
    const handle = await open(file, "a").catch((cause) => {
      throw unwritable(file, cause);
    });
    return new GrowingFile(name, file, handle, (await handle.stat()).size);
  }

  get bytes(): number {
    return this.length;
  }

  append(data: Uint8Array): Promise<void> {
    this.length += data.length;
    this.written = this.written.then(async () => {
      await this.handle.appendFile(data).catch((cause) => {
        throw unwritable(this.file, cause);
      });
    });
    return this.written;
  }

  async sync(): Promise<void> {
    await this.written;
    await this.handle.datasync();
  }

  async close(): Promise<void> {
    await this.written.finally(() => this.handle.close());
  }
}

/** The log of one run in its folder. */
export class RunLog {
  private constructor(
    private readonly lines: GrowingFile,
    private readonly events: GrowingFile,
    private readonly earlier: LogMark,
  ) {}

  /** Starts a log, in place of one that is there. The folder must exist. */
  static async begin(folder: string): Promise<RunLog> {
    await cutBack(folder, {});
    return RunLog.open(folder, {});
  }

  /** Goes on with a log as it was at a mark; the next record will be one after `step`. */
  static async resume(folder: string, mark: LogMark, step: number): Promise<RunLog> {
    await cutBack(folder, mark);
    const { [logName]: _, ...earlier } = mark;
    const log = await RunLog.open(folder, earlier);
    await log.events.append(restartEvent(now(), step + 1));
    return log;
  }

  private static async open(folder: string, earlier: LogMark): Promise<RunLog> {
    await mkdir(path.join(folder, eventFolder), { recursive: true });
    const serial = Object.keys(earlier).length;
    const eventName = `${eventFolder}/${eventPrefix}${Math.floor(now())}.figment.${serial}`;
    const log = new RunLog(await GrowingFile.open(folder, logName), await GrowingFile.open(folder, eventName), earlier);
    await log.events.append(versionEvent(now()));
    return log;
  }

  /** Numbers by name; in log.jsonl `more` stands beside them. */
  async scalars(step: number, values: Readonly<Record<string, number>>, more: Readonly<Record<string, number>> = {}) {
    await this.lines.append(new TextEncoder().encode(`${JSON.stringify({ step, ...values, ...more })}\n`));
    await this.events.append(scalarsEvent(now(), step, values));
  }

  /** A picture, for TensorBoard alone. */
  async picture(step: number, tag: string, image: EncodedImage): Promise<void> {
    await this.events.append(imageEvent(now(), step, tag, image));
  }

  mark(): LogMark {
    return { ...this.earlier, [this.lines.name]: this.lines.bytes, [this.events.name]: this.events.bytes };
  }

  /** Resolves when all of it is on disk. */
  async sync(): Promise<void> {
    await Promise.all([this.lines.sync(), this.events.sync()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.lines.close(), this.events.close()]);
  }
}

const now = (): number => Date.now() / 1000;

/** Brings the files of a log back to a mark, and removes those that it does not know. */
async function cutBack(folder: string, mark: LogMark): Promise<void> {
  const names = (await readdir(path.join(folder, eventFolder)).catch((): string[] => [])).filter((name) =>
    name.startsWith(eventPrefix),
  );
  for (const name of [logName, ...names.map((event) => `${eventFolder}/${event}`)]) {
    const file = path.join(folder, name);
    const length = Object.hasOwn(mark, name) ? mark[name] : undefined;
    if (length === undefined) await rm(file, { force: true });
    else await shorten(file, length);
  }
}

async function shorten(file: string, length: number): Promise<void> {
  const handle = await open(file, "r+").catch(() => undefined);
  // A log that somebody removed or shortened is not missed: the run goes on from its end, or that of its last whole line.
  if (!handle) return;
  try {
    const { size } = await handle.stat();
    if (size > length) await handle.truncate(length);
    else if (size < length && path.basename(file) === logName)
      await handle.truncate((await handle.readFile()).lastIndexOf("\n") + 1);
  } finally {
    await handle.close();
  }
}

/**
 * The lines of a run's log.jsonl, in order. A last line that was cut off by the end of its process is left out.
 *
 * @param folder the run's folder.
 * @throws DataError when there is no log, or a line is not JSON.
 * @example
 * await new Trainer({ step, data: batches, steps: 4, out: "run", logEvery: 2, progress: false }).run();
 * const losses = (await readLog("run")).map(({ step, loss }) => [step, loss]);
 * losses.length; // 3
 */
export async function readLog(folder: string): Promise<LogRecord[]> {
  checkPath("readLog", "folder", folder);
  const file = path.join(folder, logName);
  const text = await readFile(file, "utf8").catch((cause) => {
    throw new DataError(`${file}: there is no log here: ${cause.message}`, { path: file, cause });
  });
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  return whole
    .split("\n")
    .slice(0, -1)
    .map((line, i) => {
      try {
        return JSON.parse(line) as LogRecord;
      } catch (cause) {
        throw new DataError(`${file}: line ${i + 1} is not JSON`, { path: file, cause });
      }
    });
}
