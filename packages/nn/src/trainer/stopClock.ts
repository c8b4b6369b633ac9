// Seconds of some work, interruptions not included.

/** Starts stopped, at zero. */
export class StopClock {
  private gathered = 0;
  private since: number | undefined;

  get seconds(): number {
    return this.gathered + (this.since === undefined ? 0 : (performance.now() - this.since) / 1000);
  }

  start(): void {
    this.since ??= performance.now();
  }

  /** Runs `work` without counting its time. */
  async without(work: () => Promise<void>): Promise<void> {
    const ran = this.since !== undefined;
    this.stop();
    try {
      await work();
    } finally {
      if (ran) this.start();
    }
  }

  stop(): void {
    this.gathered = this.seconds;
    this.since = undefined;
  }
}
