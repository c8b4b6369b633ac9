// Program 2 of the public surface: a WGAN-GP step (Gulrajani et al. 2017), five critic updates to one
// generator update, one native call.

import { type AdamW, type EMA, type Module, type Rng, type Tensor, compile, grad, lerp, mean, neg, norm, repeat, square, sub, sum } from "figment";

/** A network of one input. */
type Network = Module & { forward(x: Tensor): Tensor };

/** The step. */
export function wganGpStep(G: Network, D: Network, optG: AdamW, optD: AdamW, ema: EMA<Network>, random: Rng) {
  const criticLoss = (real: Tensor) => {
    const fake = G.forward(random.normal([64, 128]));
    const mix = lerp(fake, real, random.uniform([64, 1, 1, 1]));
    const slope = norm(grad((x: Tensor) => sum(D.forward(x)))(mix), [1, 2, 3]);
    const penalty = mean(square(sub(slope, 1)));
    return mean(D.forward(fake)).sub(mean(D.forward(real))).add(penalty.mul(10));
  };
  return compile((reals: Tensor) => {             // [5, 64, 28, 28, 1] from loader({ stack: 5 })
    repeat(5, (i) => optD.minimize(() => criticLoss(reals.at(i))));
    const loss = optG.minimize(() => neg(mean(D.forward(G.forward(random.normal([64, 128]))))));
    ema.update();
    return { loss };
  });
}
