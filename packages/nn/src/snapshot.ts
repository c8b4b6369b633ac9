// What a module looked like at one moment, so that a later look tells quickly whether anything was exchanged. A compiled
// function that takes the module looks at every call.

import { entriesOf } from "./members.js";

/** An object, array or module with what its own properties held. */
interface Owner {
  readonly object: object;
  readonly keys: readonly string[];
  readonly values: readonly unknown[];
}

/** The members of a module and of all that lies below it, by identity. */
export class Snapshot {
  private readonly owners: Owner[] = [];
  private readonly flags: { readonly read: () => unknown; readonly value: unknown }[] = [];

  /** @param flagOf how to read what a module's behaviour depends on besides its members; null for what is no module. */
  constructor(root: object, flagOf: (x: object) => (() => unknown) | null) {
    const seen = new Set<object>();
    const visit = (x: unknown): void => {
      if (x === null || typeof x !== "object" || seen.has(x)) return;
      const read = flagOf(x);
      if (!read && !entriesOf(x)) return;
      seen.add(x);
      if (read) this.flags.push({ read, value: read() });
      const keys = Object.keys(x);
      const values = keys.map((key) => Reflect.get(x, key));
      this.owners.push({ object: x, keys, values });
      values.forEach(visit);
    };
    visit(root);
  }

  /** Whether every member is still there, and none has joined. */
  holds(): boolean {
    for (const { read, value } of this.flags) if (read() !== value) return false;
    for (const { object, keys, values } of this.owners) {
      let i = 0;
      for (const key in object) {
        if (key !== keys[i] || !Object.is((object as Record<string, unknown>)[key], values[i])) return false;
        i++;
      }
      if (i !== keys.length) return false;
    }
    return true;
  }
}
