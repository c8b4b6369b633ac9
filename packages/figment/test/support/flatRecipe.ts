// The text of a recipe that trains in a moment and can do everything, as a user would write it.

/** As TypeScript or, without its types, as JavaScript. */
export const flatRecipe = (language: "ts" | "mjs"): string => {
  const type = (text: string): string => (language === "ts" ? `: ${text}` : "");
  return `
import { AdamW, compileStep, concat, defineRecipe, digits, Linear, mse, scope, Tensor } from "figment";

export default defineRecipe({
  name: "flat",
  summary: "one layer that gives small digits back",
  config: { steps: 6, batch: 4, saveEvery: 2, logEvery: 1, optimizer: { lr: 1e-2 } },
  rules: { batch: { type: "integer", least: 1 }, "optimizer.lr": { least: 0 } },
  dataset: (config, split) => digits({ size: 8, count: split === "train" ? 32 : 8, split }),
  build: ({ steps, batch, optimizer }, { shape: [height, width] }) => {
    const model = new Linear(height * width, height * width);
    const flat = (image${type("Tensor")}) => image.reshape([image.shape[0] ?? 0, height * width]);
    const through = (images${type("Tensor")}) => scope(() => model.forward(flat(images)).reshape(images.shape));
    return {
      models: { model },
      range: [0, 1],
      sample: async (n, { rng, label }) => {
        if (label && !(label instanceof Tensor)) throw new Error("labels of another copy of the toolkit");
        return scope(() => through(rng.uniform([n, height, width, 1])));
      },
      reconstruct: async (images) => through(images),
      interpolate: async ({ frames, count, rng, images }) => scope(() => {
        const ends = images ?? rng.uniform([2 * count, height, width, 1]);
        const rows = [];
        for (let i = 0; i < count; i++)
          for (let k = 0; k < frames; k++)
            rows.push(ends.slice([2 * i, 0, 0, 0], [1, height, width, 1]).mul(1 - k / (frames - 1))
              .add(ends.slice([2 * i + 1, 0, 0, 0], [1, height, width, 1]).mul(k / (frames - 1))));
        return concat(rows, 0);
      }),
      evaluate: async (dataset) => {
        for await (const { image } of dataset.loader({ batchSize: dataset.length, steps: 1, shuffle: false, prefetch: 0, range: [0, 1] }))
          return { meanSquaredError: scope(() => mse(through(image), image).itemSync()) };
        throw new Error("no images");
      },
      train: ({ dataset, random }) => {
        model.init(random.fork("weights"));
        const adam = new AdamW(model, optimizer);
        const loss = (net${type("Linear")}, { image }${type("{ image: Tensor }")}) => mse(net.forward(flat(image)), flat(image));
        const step = compileStep(model, adam, loss);
        const data = dataset.loader({ batchSize: batch, steps, rng: random.fork("data"), range: [0, 1] });
        return { step, data, imagesPerStep: batch, dispose: () => [step, adam].forEach((part) => part.dispose()) };
      },
    };
  },
});
`;
};
