// Gradients of several small batches added up where a loop of a program can leave them: in cells.

import { Cell, type DType, Grads, repeat, type Shape, scope, sizeOf, type Tensor, zeros } from "@figment/tensor";
import type { Parameter } from "../parameter.js";

interface Named {
  readonly path: string;
  readonly parameter: Parameter;
}

const zeroCell = (shape: Shape, dtype: DType, name: string, beside: Parameter): Cell =>
  new Cell({ shape, dtype, name, initial: () => new Float32Array(sizeOf(shape)), beside });

/** Room for the sums of a loss and of the gradients of parameters. Holds nothing between two updates. */
export class GradientSums {
  private readonly loss: Cell;
  private readonly byParameter: ReadonlyMap<Parameter, Cell>;

  constructor(owner: string, parameters: readonly Named[]) {
    const { parameter: first } = parameters[0] as Named;
    this.loss = zeroCell([], first.dtype, `${owner}.lossSum`, first);
    this.byParameter = new Map(
      parameters.map(({ path, parameter }) => {
        const { shape, dtype } = parameter;
        return [parameter, zeroCell(shape, dtype, `${path}.gradientSum`, parameter)];
      }),
    );
  }

  /** The means over `differentiated(0)` … `differentiated(count − 1)`. */
  meanOf(
    count: number,
    differentiated: (i: Tensor) => { readonly value: Tensor; readonly grads: Grads },
  ): { value: Tensor; grads: Grads } {
    scope(() => {
      for (const sum of this.cells()) sum.set(zeros(sum.shape, sum.dtype));
    });
    repeat(count, (i) => {
      const { value, grads } = differentiated(i);
      // Each share is divided before it is added, as in the mean over one batch of all.
      this.loss.set(this.loss.value.add(value.reshape([]).cast(this.loss.dtype).div(count)));
      for (const [parameter, sum] of this.byParameter) sum.set(sum.value.add(grads.get(parameter).div(count)));
    });
    const means = [...this.byParameter].map(([parameter, sum]) => [parameter, sum.value] as const);
    return { value: this.loss.value, grads: new Grads(new Map(means)) };
  }

  dispose(): void {
    for (const cell of this.cells()) cell.dispose();
  }

  private cells(): Cell[] {
    return [this.loss, ...this.byParameter.values()];
  }
}
