// The training loop: batches in, one native call per step, losses read back without waiting for them.

import { showProgress } from "@figment/nn";
import { lossEvery } from "./defaults.js";
import type { FirstLightOptions } from "./options.js";
import type { Session } from "./session.js";

/** Steps that may be queued and not yet done: enough to keep the device busy, few enough to stop soon. */
const inFlight = 2;

/** Trains until the step asked for, or until the signal asks to stop between two steps; saves now and then. */
export async function train(
  session: Session,
  { steps, batch, saveEvery }: FirstLightOptions,
  save: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { step, loader } = session;
  if (step.count >= steps) return;
  const progress = await showProgress("Training", step.count, steps);
  const first = step.count;
  const began = performance.now();
  const pending: Promise<void>[] = [];
  let saving: Promise<void> | undefined;
  try {
    for await (const { image, label } of loader) {
      const { loss } = step({ image, label });
      const at = step.count;
      const read = loss.item().then((value) => {
        if (!Number.isFinite(value)) throw new RangeError(`the loss became ${value} at step ${at}`);
        if (at % lossEvery === 0 || at === 1 || at === steps) session.losses.push({ step: at, loss: value });
        const rate = ((at - first) * batch) / ((performance.now() - began) / 1000);
        progress.update(at, `loss ${value.toFixed(4)}  ${Math.round(rate)} images/s`);
      });
      pending.push(read.finally(() => loss.dispose()));
      if (pending.length >= inFlight) await pending.shift();
      if (signal.aborted) break;
      if (at % saveEvery === 0 && at < steps) {
        // The losses up to here belong to the checkpoint. Its state is that of this moment; writing it takes its time.
        await Promise.all([...pending.splice(0), saving]);
        saving = save();
        saving.catch(() => {});
      }
    }
    await Promise.all([...pending, saving]);
  } finally {
    session.trainingSeconds += (performance.now() - began) / 1000;
    session.stepsTimed += step.count - first;
    progress.stop();
  }
}
