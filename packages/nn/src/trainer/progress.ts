// Progress of long work: a bar with figures and the time left on a terminal, a line now and then elsewhere.

import type { Options } from "cli-progress";

/** Seconds between lines where there is no terminal. */
const lineEvery = 10;

/** Shows how far some work has come. */
export interface Progress {
  update(done: number, figures: string): void;
  stop(): void;
}

const clock = (seconds: number): string =>
  seconds >= 3600
    ? `${Math.floor(seconds / 3600)}h${String(Math.floor((seconds % 3600) / 60)).padStart(2, "0")}m`
    : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/**
 * Starts showing `title` going from `start` to `total`, on standard error.
 *
 * @example
 * const progress = await showProgress("Counting", 0, 3);
 * progress.update(3, "three");
 * progress.stop();
 */
export async function showProgress(title: string, start: number, total: number): Promise<Progress> {
  const began = performance.now();
  let now = start;
  const timeLeft = (): string => {
    const rate = (now - start) / ((performance.now() - began) / 1000);
    return rate > 0 ? clock((total - now) / rate) : "…";
  };
  if (!process.stderr.isTTY) {
    let spoke = began;
    return {
      update(done, figures) {
        now = done;
        if (performance.now() - spoke < lineEvery * 1000 && done < total) return;
        spoke = performance.now();
        console.error(
          `${title} ${done}/${total}  ${figures}  ${done < total ? `${timeLeft()} left` : clock((spoke - began) / 1000)}`,
        );
      },
      stop() {},
    };
  }
  const options: Options = {
    format: `${title} {bar} {value}/{total}  {figures}  {left} left`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
    hideCursor: true,
    fps: 8,
  };
  // Loaded where there is a terminal only: nobody else pays for its import.
  const { SingleBar } = (await import("cli-progress")).default;
  const bar = new SingleBar(options);
  bar.start(total, start, { figures: "", left: "…" });
  return {
    update(done, figures) {
      now = done;
      bar.update(done, { figures, left: timeLeft() });
    },
    stop: () => bar.stop(),
  };
}
