// Native bindings of a program to the memory of cells. A binding keeps that memory alive, so there are few of
// them, and those of memory that is freed go with it.

import { guarded, native, type Storage } from "./device.js";

/** Most bindings kept for one program; the least recently asked for leave first. */
const maxBindings = 32;

/** What a state of a program is: a cell, or a captured tensor, which nobody overwrites. */
export interface StateHolder {
  /** Throws what `storage` would for want of a value. */
  requireValue?(): void;
  /** Its memory; if it has none yet, made on that device. */
  storage(device: number): Storage;
  beforeWrite?(): void;
}

/** One native binding. */
export interface Binding {
  /** 0 once it has gone. */
  readonly handle: number;
  release(): void;
}

/** The bindings of one program, by the buffers that they bind. */
export class Bindings {
  private readonly program: { readonly handle: number; readonly device: number };
  private readonly bound = new Map<string, Binding>();

  constructor(program: { readonly handle: number; readonly device: number }) {
    this.program = program;
  }

  /** The binding to the memory of these, one for each state of the program. */
  get(states: readonly StateHolder[]): Binding {
    // Before any memory is made, which would keep its cell on this device although the call fails.
    for (const state of states) state.requireValue?.();
    const storages = states.map((state) => state.storage(this.program.device));
    const key = storages.map(({ handle }) => handle).join();
    const known = this.bound.get(key);
    if (known) {
      this.bound.delete(key);
      this.bound.set(key, known);
      return known;
    }
    const made = this.bind(key, storages);
    this.bound.set(key, made);
    if (this.bound.size > maxBindings) (this.bound.values().next().value as Binding).release();
    return made;
  }

  /** Releases them all. */
  clear(): void {
    for (const binding of [...this.bound.values()]) binding.release();
  }

  private bind(key: string, storages: readonly Storage[]): Binding {
    const handle = guarded(() =>
      native().bind(
        this.program.handle,
        Float64Array.from(storages, (storage) => storage.handle),
      ),
    );
    const binding = {
      handle,
      release: (): void => {
        for (const forget of watched) forget();
        this.bound.delete(key);
        binding.handle = 0;
        native().releaseBinding(handle);
      },
    };
    const watched = storages.map((storage) => storage.onRelease(binding.release));
    return binding;
  }
}
