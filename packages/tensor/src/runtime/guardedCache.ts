// A cache of programs by key, several for each key, told apart by what they fit. Bounded by count and by bytes; the least
// recently used leave first.

/** What a cache may hold. */
export interface CacheLimits {
  readonly count: number;
  readonly bytes: number;
}

interface Entry<K, S> {
  readonly key: K;
  readonly value: S;
}

/** Values by key, any number for each key. */
export class GuardedCache<K, S extends { readonly bytes: number }> {
  private readonly byKey = new Map<K, Entry<K, S>[]>();
  /** In order of use, once there are many. */
  private readonly entries = new Set<Entry<K, S>>();
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

  find(key: K, fits: (value: S) => boolean): S | undefined {
    const entries = this.byKey.get(key);
    if (!entries) return undefined;
    for (const entry of entries) {
      if (!fits(entry.value)) continue;
      this.use(entry);
      return entry.value;
    }
    return undefined;
  }

  /** Notes a use; the order is only kept once some are near to leaving. */
  private use(entry: Entry<K, S>): void {
    if (this.size * 2 <= this.limits.count && this.held * 2 <= this.limits.bytes) return;
    this.entries.delete(entry);
    this.entries.add(entry);
  }

  /** Adds a value, which is kept even if it alone exceeds the limits. */
  add(key: K, value: S): S {
    const entry = { key, value };
    this.entries.add(entry);
    const list = this.byKey.get(key);
    if (list) list.push(entry);
    else this.byKey.set(key, [entry]);
    this.held += value.bytes;
    while (this.size > 1 && (this.size > this.limits.count || this.held > this.limits.bytes)) {
      this.remove(this.entries.values().next().value as Entry<K, S>);
      this.gone++;
    }
    return value;
  }

  clear(): void {
    for (const entry of [...this.entries]) this.remove(entry);
  }

  private remove(entry: Entry<K, S>): void {
    this.entries.delete(entry);
    const list = (this.byKey.get(entry.key) as Entry<K, S>[]).filter((other) => other !== entry);
    if (list.length > 0) this.byKey.set(entry.key, list);
    else this.byKey.delete(entry.key);
    this.held -= entry.value.bytes;
    this.release(entry.value);
  }
}
