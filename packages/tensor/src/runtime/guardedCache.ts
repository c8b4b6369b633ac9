// The programs of one compiled function: several for each signature, told apart by what they guard. Bounded by
// count and by bytes; the least recently used leave first.

/** What a cache may hold. */
export interface CacheLimits {
  readonly count: number;
  readonly bytes: number;
}

interface Entry<S> {
  readonly key: string;
  readonly value: S;
}

/** Values by key, any number for each key. */
export class GuardedCache<S extends { readonly bytes: number }> {
  private readonly byKey = new Map<string, Entry<S>[]>();
  /** In order of use. */
  private readonly entries = new Set<Entry<S>>();
  private readonly limits: CacheLimits;
  private readonly release: (value: S) => void;
  private held = 0;
  private gone = 0;

  constructor(limits: CacheLimits, release: (value: S) => void) {
    this.limits = limits;
    this.release = release;
  }

  get size(): number {
    return this.entries.size;
  }

  get bytes(): number {
    return this.held;
  }

  /** How many values have left because of the limits. */
  get evictions(): number {
    return this.gone;
  }

  find(key: string, fits: (value: S) => boolean): S | undefined {
    const found = this.byKey.get(key)?.find(({ value }) => fits(value));
    if (!found) return undefined;
    if (this.entries.size > 1) {
      this.entries.delete(found);
      this.entries.add(found);
    }
    return found.value;
  }

  /** Adds a value, which is kept even if it alone exceeds the limits. */
  add(key: string, value: S): void {
    const entry = { key, value };
    this.entries.add(entry);
    const list = this.byKey.get(key);
    if (list) list.push(entry);
    else this.byKey.set(key, [entry]);
    this.held += value.bytes;
    while (this.size > 1 && (this.size > this.limits.count || this.held > this.limits.bytes)) {
      this.remove(this.entries.values().next().value as Entry<S>);
      this.gone++;
    }
  }

  clear(): void {
    for (const entry of [...this.entries]) this.remove(entry);
  }

  private remove(entry: Entry<S>): void {
    this.entries.delete(entry);
    const list = (this.byKey.get(entry.key) as Entry<S>[]).filter((other) => other !== entry);
    if (list.length > 0) this.byKey.set(entry.key, list);
    else this.byKey.delete(entry.key);
    this.held -= entry.value.bytes;
    this.release(entry.value);
  }
}
