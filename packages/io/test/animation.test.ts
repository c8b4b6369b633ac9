import { join } from "node:path";
import { saveAnimation } from "@figment/io";
import { assertNoLeaks, ShapeError, type Tensor, tensor, UsageError } from "@figment/tensor";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

/** A frame [1,4,6,C] of one grey value, 0 to 255. */
const frame = (value: number, channels = 1): Tensor =>
  tensor(new Float32Array(24 * channels).fill(value), { shape: [1, 4, 6, channels] });

const range = [0, 255] as const;

describe("a moving picture", () => {
  it.each([
    ["gif", 1],
    ["gif", 3],
    ["webp", 3],
  ] as const)("as %s with %i channels has all frames, their times and their colours", async (ending, channels) => {
    const path = join(await temporaryFolder(), `x.${ending}`);
    const values = [0, 100, 255];
    const frames = values.map((value) => frame(value, channels));
    await saveAnimation(path, frames, { fps: 10, hold: 1, loop: 3, padding: 0, range });
    for (const each of frames) each.dispose();
    const meta = await sharp(path, { animated: true }).metadata();
    expect([meta.pages, meta.width, meta.pageHeight, meta.delay, meta.loop]).toEqual([3, 6, 4, [100, 100, 1000], 3]);
    for (const [page, value] of values.entries()) {
      const { data } = await sharp(path, { page }).removeAlpha().raw().toBuffer({ resolveWithObject: true });
      expect(Math.abs((data[0] as number) - value)).toBeLessThanOrEqual(4);
    }
  });

  it("takes frames that are only lent", async () => {
    const path = join(await temporaryFolder(), "x.gif");
    async function* lend() {
      for (const value of [10, 20, 30, 40]) {
        using lent = frame(value);
        yield lent;
      }
    }
    await saveAnimation(path, lend(), { range });
    expect((await sharp(path, { animated: true }).metadata()).pages).toBe(4);
  });

  it("is refused without frames, with frames that do not fit, as another format, or at another pace", async () => {
    await expect(saveAnimation("x.gif", [])).rejects.toThrow(/there are no frames/);
    using small = frame(0);
    using coloured = frame(0, 3);
    await expect(saveAnimation("x.gif", [small, coloured])).rejects.toThrow(ShapeError);
    await expect(saveAnimation("x.png", [small])).rejects.toThrow(/must end in one of \.gif \.webp/);
    for (const options of [{ fps: 0 }, { fps: 51 }, { fps: Number.NaN }, { fps: 0.001 }, { hold: -1 }, { loop: 0.5 }]) {
      await expect(saveAnimation("x.gif", [small], options)).rejects.toThrow(UsageError);
    }
    await expect(saveAnimation("x.gif", null as unknown as [])).rejects.toThrow(/expected frames one after the other/);
  });
});
