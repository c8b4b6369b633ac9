// A peer that is a program of its own, told by lines on its standard input what to do, so that it races in turns with the
// others: `prepare key=value …` is answered by `ready ID` or `unsupported WHY`, `run ID REPEATS` by `done`; `release ID`
// frees the work and is not answered. The first line that it prints says its version.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Contestant } from "../race.js";
import { lineOf } from "../work.js";

export class Program {
  private readonly lines: AsyncIterator<string>;
  private lastError = "";

  private constructor(
    readonly command: string,
    private readonly child: ChildProcess,
  ) {
    child.on("error", (error) => {
      this.lastError = error.message;
    });
    // A program that has ended takes no more lines; its silence says so.
    child.stdin!.on("error", () => {});
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.lastError = text.trim().split("\n").at(-1) ?? "";
    });
    this.lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  /** Starts a program; a string says why there is none. */
  static async start(command: string, args: readonly string[]): Promise<{ program: Program; hello: string } | string> {
    const program = new Program(command, spawn(command, args, { stdio: "pipe" }));
    const hello = await program.nextLine();
    return hello === undefined ? program.lastError || `${command} ended at once` : { program, hello };
  }

  private async nextLine(): Promise<string | undefined> {
    return (await this.lines.next()).value;
  }

  /** Sends a line and waits for the answer. */
  async ask(line: string): Promise<string> {
    this.child.stdin!.write(`${line}\n`);
    const answer = await this.nextLine();
    if (answer === undefined) throw new Error(`${this.command} ended at "${line}": ${this.lastError}`);
    return answer;
  }

  /** A contestant that does the work of a record; null where the program says that it cannot. */
  async contestant(name: string, record: Readonly<Record<string, string | number>>): Promise<Contestant | null> {
    const [answer, id] = (await this.ask(`prepare ${lineOf(record)}`)).split(" ") as [string, string];
    if (answer !== "ready") return null;
    return {
      name,
      run: async (repeats) => {
        const done = await this.ask(`run ${id} ${repeats}`);
        if (done !== "done") throw new Error(`${name}: ${done}`);
      },
      dispose: () => {
        this.child.stdin!.write(`release ${id}\n`);
      },
    };
  }

  dispose(): void {
    this.child.kill();
  }
}
