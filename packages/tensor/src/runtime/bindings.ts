// Native bindings of a program to the memory of cells. A binding keeps that memory alive, so there are few of
// them, and those of memory that is freed go with it.

import { native, type Storage } from "./device.js";

/** Most bindings kept for one program; the least recently used leave first. */
const maxBindings = 32;

interface Binding {
  readonly handle: number;
  release(): void;
}

/** The bindings of one program, by the buffers that they bind. */
export class Bindings {
  /** The binding asked for last; 0 when it has gone. */
  latest = 0;
  private readonly program: number;
  private readonly bound = new Map<string, Binding>();

  constructor(program: number) {
    this.program = program;
  }

  /** The binding to this memory, one storage for each state of the program. */
  get(storages: readonly Storage[]): number {
    let key = "";
    for (const { handle } of storages) key += `${handle},`;
    const known = this.bound.get(key);
    if (known) {
      if (this.bound.size > 1) {
        this.bound.delete(key);
        this.bound.set(key, known);
      }
      this.latest = known.handle;
      return known.handle;
    }
    const handle = native().bind(
      this.program,
      Float64Array.from(storages, (storage) => storage.handle),
    );
    const release = (): void => {
      for (const forget of watched) forget();
      this.bound.delete(key);
      if (this.latest === handle) this.latest = 0;
      native().releaseBinding(handle);
    };
    const watched = storages.map((storage) => storage.onRelease(release));
    this.bound.set(key, { handle, release });
    this.latest = handle;
    if (this.bound.size > maxBindings) (this.bound.values().next().value as Binding).release();
    return handle;
  }

  /** Releases them all. */
  clear(): void {
    for (const binding of [...this.bound.values()]) binding.release();
  }
}
