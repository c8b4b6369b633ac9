// The networks of the models' suite: their sizes, and that a tiny one of each runs in either format.

import { describe, expect, it } from "vitest";
import { networks, smallConfigs } from "#networks/configs";
import { build, parametersOf } from "#networks/ours";
import { formats } from "#work";

describe("networks", () => {
  it.each(networks.map((network) => [network.name, network] as const))(
    "%s: has as many parameters as the published one",
    (_name, { kind, config, parameters }) => expect(parametersOf(kind, config)).toBe(parameters),
  );

  const small = (["vae", "dcgan", "ddpm", "stable"] as const).flatMap((kind) =>
    formats.map((format) => [kind, format] as const),
  );
  it.each(small)("a tiny %s runs in %s, and says what it costs", async (kind, format) => {
    const { parameters, flops, run } = build(kind, smallConfigs[kind], format);
    await run(1);
    expect(parameters).toBe(parametersOf(kind, smallConfigs[kind]));
    // Each weight but those of norms and embeddings takes part once at least.
    expect(flops).toBeGreaterThan(parameters);
  });
});
