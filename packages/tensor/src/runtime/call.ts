// A call of a specialisation, and the routes by which a call like one of the latest reaches it without its signature
// being written and looked up.

import { anyCellIsLent, cellMoves } from "../core/cell.js";
import { Tensor } from "../core/tensor.js";
import { isPlainObject } from "../core/tree.js";
import { cancelToken } from "./abort.js";
import type { Binding, StateHolder } from "./bindings.js";
import { currentDevice } from "./devices.js";
import { markOrigin } from "./eager.js";
import { runProgram } from "./program.js";
import { fits, type Pattern } from "./signature.js";
import { guardsHold, OutputSlot, type Specialisation } from "./specialise.js";

/** A specialisation together with what holds its states: all that calls with the same cells have in common. */
export class Call {
  readonly spec: Specialisation;
  private readonly states: readonly StateHolder[];
  private binding: Binding | undefined;

  constructor(spec: Specialisation, states: readonly StateHolder[]) {
    this.spec = spec;
    this.states = states;
  }

  /** Queues the program. */
  run(tensors: readonly Tensor[], signal?: AbortSignal): unknown {
    const { program, written, origins, result } = this.spec;
    const operands = tensors.map((tensor) => tensor.operand("compiled function"));
    // Tensors that share memory with a cell about to be overwritten keep what they saw.
    if (anyCellIsLent()) for (const state of written) this.states[state]?.beforeWrite?.();
    const outputs = runProgram(program, this.bound(), operands, cancelToken(signal));
    markOrigin(outputs, origins.next());
    if (signal) for (const storage of outputs) storage.signal = signal;
    const results = outputs.map((storage, i) => {
      const { shape, dtype } = program.outputs[i] as { shape: readonly number[]; dtype: Tensor["dtype"] };
      if (shape.length === 0) storage.leaveToCollector();
      return new Tensor(shape, dtype, { storage });
    });
    return fillResult(result, results);
  }

  /** The native binding of the states; 0 for none. */
  private bound(): number {
    if (this.states.length === 0) return 0;
    if (!this.binding?.handle) this.binding = this.spec.bindings.get(this.states);
    return this.binding.handle;
  }
}

function fillResult(tree: unknown, tensors: readonly Tensor[]): unknown {
  if (tree instanceof OutputSlot) return tensors[tree.index];
  if (Array.isArray(tree)) return tree.map((item) => fillResult(item, tensors));
  if (isPlainObject(tree))
    return Object.fromEntries(Object.entries(tree).map(([key, item]) => [key, fillResult(item, tensors)]));
  return tree;
}

/** Enough for a function that takes a model and its average, or a pair of shapes, in turn. */
const maxRoutes = 4;

interface Route {
  readonly pattern: Pattern;
  readonly call: Call;
  /** The device that things were made on, and the moves of cells so far, when it was found. */
  readonly device: number;
  readonly moves: number;
}

/** The latest calls that differ, the most recent first. */
export class Routes {
  private routes: Route[] = [];

  /** The call that these arguments come to, if it is one of the latest; their tensors are put into `tensors`. */
  find(args: readonly unknown[], tensors: Tensor[]): Call | undefined {
    const { routes } = this;
    const device = currentDevice();
    const moves = cellMoves();
    for (let i = 0; i < routes.length; i++) {
      const { pattern, call, device: before, moves: known } = routes[i] as Route;
      tensors.length = 0;
      if (
        before !== device ||
        known !== moves ||
        !fits(pattern, args, tensors, call.spec.program.device) ||
        !guardsHold(call.spec)
      )
        continue;
      if (i > 0) routes.unshift(...routes.splice(i, 1));
      return call;
    }
    return undefined;
  }

  add(pattern: Pattern, call: Call): void {
    this.routes.unshift({ pattern, call, device: currentDevice(), moves: cellMoves() });
    if (this.routes.length > maxRoutes) this.routes.pop();
  }

  /** Forgets the ways to a specialisation that goes. */
  forget(spec: Specialisation): void {
    this.routes = this.routes.filter(({ call }) => call.spec !== spec);
  }
}
