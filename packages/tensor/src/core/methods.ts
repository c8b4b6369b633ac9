// Every op that is about one tensor, as a method: x.add(y) is add(x, y). The types follow from the functions; the
// functions are installed on the prototype when the package is loaded.

import * as ops from "../ops/methods.js";
import { Tensor } from "./tensor.js";

type Functions = typeof ops;

/** A function of a tensor and more as a method of the tensor. The first parameter is not looked at: it is the tensor. */
type Method<F> = F extends (x: never, ...rest: infer Rest) => infer Result ? (...rest: Rest) => Result : never;

/** The ops as methods; each does what the function of the same name does. */
export type TensorMethods = { [K in keyof Functions]: Method<Functions[K]> };

for (const [name, op] of Object.entries(ops)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...args: never[]): unknown {
      return (op as (x: Tensor, ...rest: never[]) => unknown)(this, ...args);
    },
    configurable: true,
    writable: true,
  });
}
