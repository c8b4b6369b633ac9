// A least-recently-used cache of programs, limited by count and by bytes of program text.

/** Programs by key; the least recently used leave first. */
export class ProgramCache<P extends { readonly bytes: number }> {
  private readonly entries = new Map<string, P>();
  private readonly limits: { readonly count: number; readonly bytes: number };
  private readonly evict: (program: P) => void;
  private bytes = 0;
  private hits = 0;
  private misses = 0;

  constructor(limits: { readonly count: number; readonly bytes: number }, evict: (program: P) => void) {
    this.limits = limits;
    this.evict = evict;
  }

  get(key: string): P | undefined {
    const program = this.entries.get(key);
    if (!program) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    // Re-inserting keeps the map in order of use; only needed once eviction is near.
    if (this.entries.size * 2 > this.limits.count || this.bytes * 2 > this.limits.bytes) {
      this.entries.delete(key);
      this.entries.set(key, program);
    }
    return program;
  }

  add(key: string, program: P): P {
    this.entries.set(key, program);
    this.bytes += program.bytes;
    while (this.entries.size > 1 && (this.entries.size > this.limits.count || this.bytes > this.limits.bytes)) {
      const [oldest, old] = this.entries.entries().next().value as [string, P];
      this.entries.delete(oldest);
      this.bytes -= old.bytes;
      this.evict(old);
    }
    return program;
  }

  clear(): void {
    for (const program of this.entries.values()) this.evict(program);
    this.entries.clear();
    this.bytes = 0;
  }

  stats(): { hits: number; misses: number; programs: number } {
    return { hits: this.hits, misses: this.misses, programs: this.entries.size };
  }
}
