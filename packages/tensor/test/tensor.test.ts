import {
  add,
  arange,
  assertNoLeaks,
  Cell,
  cast,
  concat,
  DeviceError,
  type DType,
  DTypeError,
  fromBits,
  fromImage,
  full,
  memory,
  ones,
  openScope,
  reshape,
  rng,
  type Shape,
  ShapeError,
  scalar,
  scope,
  settled,
  type Tensor,
  tensor,
  toImage,
  transpose,
  UsageError,
  zeros,
} from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";

afterAll(() => assertNoLeaks());

describe("making tensors", () => {
  it("takes nested arrays, typed arrays, numbers and booleans", async () => {
    using a = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect([a.shape, a.dtype]).toEqual([[2, 3], "f32"]);
    expect(await a.array()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    using b = tensor(new Int32Array([7, 8]));
    expect([b.dtype, await b.data()]).toEqual(["i32", new Int32Array([7, 8])]);
    using c = tensor([true, false]);
    expect([c.dtype, [...(await c.data())]]).toEqual(["bool", [1, 0]]);
    using d = tensor(2.5);
    expect([d.shape, await d.item()]).toEqual([[], 2.5]);
    using e = tensor(new Float32Array(6), { shape: [3, 2] });
    expect(e.shape).toEqual([3, 2]);
    using f = arange(4, "i32");
    expect([...(await f.data())]).toEqual([0, 1, 2, 3]);
  });

  it("keeps its own copy of the data", async () => {
    const data = new Float32Array([1, 2]);
    using x = tensor(data);
    data[0] = 99;
    expect([...(await x.data())]).toEqual([1, 2]);
  });

  it("stores bf16 and f16 rounded to nearest even", async () => {
    using b = tensor([1.00390625, Math.PI, -0.1], { dtype: "bf16" });
    expect([...(await b.data())]).toEqual([1, 3.140625, -0.10009765625]);
    using h = tensor([0.1, 65504, 1e-7, 70000], { dtype: "f16" });
    expect([...(await h.data())]).toEqual([0.0999755859375, 65504, 1.1920928955078125e-7, Number.POSITIVE_INFINITY]);
  });

  it("refuses arrays within themselves and deeper than tensors", () => {
    const itself: unknown[] = [];
    itself.push(itself);
    const deep = Array.from({ length: 1e5 }).reduce((within) => [within], 1);
    for (const data of [itself, deep])
      expect(() => tensor(data as never)).toThrow(/tensor: the arrays nest more than 8 deep; at most 8 dimensions/);
  });

  it("refuses ragged arrays, wrong sizes, fractions in integers and unknown types, saying what was given", () => {
    expect(() => tensor([[1, 2], [3]])).toThrow(ShapeError);
    expect(() => tensor([1, 2, 3], { shape: [2, 2] })).toThrow(/holds 4 elements, got 3/);
    expect(() => tensor([1.5], { dtype: "i32" })).toThrow(DTypeError);
    expect(() => tensor([1], { dtype: "f8" as "f32" })).toThrow(/unknown dtype "f8"/);
    expect(() => tensor({} as never)).toThrow(DTypeError);
    expect(() => zeros([-1])).toThrow(ShapeError);
    expect(() => zeros([1, 1, 1, 1, 1, 1, 1, 1, 1])).toThrow(/at most 8/);
  });

  const wrong = { dtype: "bogus" } as unknown as DType;
  const random = rng(0);
  afterAll(() => random.dispose());
  it.each<[string, () => unknown, () => unknown]>([
    ["tensor", () => tensor([1], { dtype: wrong }), () => tensor([1], { shape: [-1] })],
    ["scalar", () => scalar(1, wrong), () => scalar(0.5, "i32")],
    ["full", () => full([2], 1, wrong), () => full([-1], 1)],
    ["zeros", () => zeros([2], wrong), () => zeros([-1])],
    ["ones", () => ones([2], wrong), () => ones([-1])],
    ["arange", () => arange(3, wrong), () => arange(300, "u8")],
    [
      "fromBits",
      () => fromBits(new Uint16Array(1), [1], wrong as "f16"),
      () => fromBits(new Uint16Array(1), [2], "f16"),
    ],
    ["cast", () => ones([2]).cast(wrong), () => cast("x" as unknown as Tensor, "f32")],
    ["normal", () => random.normal("x" as unknown as Shape), () => random.normal([-1])],
    ["uniform", () => random.uniform("x" as unknown as Shape), () => random.uniform([-1])],
    ["bernoulli", () => random.bernoulli("x" as unknown as Shape, 0.5), () => random.bernoulli([-1], 0.5)],
    ["randint", () => random.randint("x" as unknown as Shape, 0, 5), () => random.randint([2], 5, 5)],
    ["permutation", () => random.permutation(0.5), () => random.permutation(-1)],
    ["categorical", () => random.categorical(ones([2]), "x" as unknown as Shape), () => random.categorical(ones([]))],
  ])("names %s where it was called wrongly", (name, ...calls) => {
    for (const call of calls)
      expect(() => scope(call)).toThrow(
        expect.objectContaining({ message: expect.stringMatching(new RegExp(`^${name}: `)) }),
      );
  });

  it("maps image bytes to a range and back", async () => {
    const image = { width: 2, height: 1, channels: 3, data: Uint8Array.of(0, 128, 255, 10, 20, 30) };
    using x = fromImage(image);
    expect(x.shape).toEqual([1, 2, 3]);
    expect((await toImage(x)).data).toEqual(image.data);
  });
});

describe("looking at tensors", () => {
  it("prints type, shape and elements, abbreviating long axes", () => {
    using x = tensor([
      [1, 2.5],
      [-3, 4],
    ]);
    expect(String(x)).toBe("Tensor f32 [2, 2]\n[[1, 2.5],\n [-3, 4]]");
    using long = arange(100);
    expect(String(long)).toBe("Tensor f32 [100]\n[0, 1, 2, …, 97, 98, 99]");
  });

  it("prints integers whole and bools as words", () => {
    scope(() => {
      expect(String(tensor([2147483647, 16777217], { dtype: "i32" }))).toContain("[2147483647, 16777217]");
      expect(String(tensor([true, false]))).toContain("[true, false]");
      expect(String(tensor([-0]))).toContain("[-0]");
    });
  });

  it("says which index is out of range, and which extent is too large", () => {
    scope(() => {
      expect(() => zeros([3, 4]).at(3)).toThrow("index 3 is out of range for axis 0, which has extent 3");
      expect(() => zeros([1e12])).toThrow("below 2³¹");
    });
  });

  it("indexes leading axes, from either end", async () => {
    using x = arange(24);
    const part = scope(() => reshape(x, [2, 3, 4]).at(1, -1));
    expect([part.shape, [...(await part.data())]]).toEqual([[4], [20, 21, 22, 23]]);
    part.dispose();
    expect(() => x.at(24)).toThrow(/out of range/);
  });

  it("checks the number of dimensions where it is claimed", () => {
    using x = zeros([2, 3]);
    expect(x.dims(2)).toEqual([2, 3]);
    expect(() => x.dims(4)).toThrow(/expected 4 dimensions/);
    expect(x.dim(-1)).toBe(3);
  });
});

describe("operands", () => {
  it("give numbers the tensor's type", async () => {
    using i = tensor([1, 2], { dtype: "i32" });
    using sum = i.add(1);
    expect(sum.dtype).toBe("i32");
    expect(() => i.add(0.5)).toThrow(/0.5 cannot join a tensor of i32/);
  });

  it("let integers and bools join floats, but not two float types", () => {
    using f = tensor([1.5, 2]);
    using i = tensor([1, 2], { dtype: "i32" });
    using d = tensor([1, 2], { dtype: "f64" });
    using s = scope(() => f.add(i));
    expect(s.dtype).toBe("f32");
    expect(() => f.add(d)).toThrow(/f32 and f64/);
  });

  it("name op, shapes and axis when they do not broadcast", () => {
    using a = zeros([2, 3]);
    using b = zeros([4]);
    expect(() => add(a, b)).toThrow(
      "add: shapes [2, 3] and [4] do not broadcast: axis -1 has extents 3 and 4, expected equal or 1",
    );
  });

  it("never wrap: small integers meet numbers in i32, and numbers that no type holds are refused", () => {
    scope(() => {
      const byte = tensor([5], { dtype: "u8" });
      const yes = tensor([true]);
      const results = [byte.add(300), byte.add(-1), byte.gt(-1), byte.maximum(-1), byte.eq(261), yes.add(2), yes.eq(2)];
      expect(results.map((x) => x.dataSync()[0])).toEqual([305, 4, 1, 5, 0, 3, 0]);
      for (const make of [
        () => tensor([5], { dtype: "i32" }).lt(2 ** 31),
        () => tensor([300], { dtype: "u8" }),
        () => tensor([2 ** 31], { dtype: "i32" }),
        () => full([2], 256, "u8"),
        () => full([2], 1, "f99" as never),
        () => scalar("x" as never),
        () => tensor([true, 2] as never),
      ])
        expect(make).toThrow(DTypeError);
    });
  });

  it("must be tensors or numbers", () => {
    expect(() => add("x" as never, 1)).toThrow(DTypeError);
    expect(() => concat([])).toThrow(ShapeError);
    expect(() => transpose(undefined as never)).toThrow(DTypeError);
  });
});

describe("ownership", () => {
  it("throws on use after dispose, naming op and shape", async () => {
    const x = tensor([1, 2]);
    x.dispose();
    x.dispose();
    expect(() => x.add(1)).toThrow(DeviceError);
    expect(() => x.add(1)).toThrow(/add: the tensor \(f32 \[2\]\) has been disposed/);
    await expect(x.data()).rejects.toThrow(DeviceError);
  });

  it("shares memory between clones and frees it with the last", () => {
    const before = memory().liveBuffers;
    const x = ones([10]);
    const y = x.clone();
    const z = reshape(y, [2, 5]);
    x.dispose();
    expect(memory().liveBuffers).toBe(before + 1);
    expect(z.dataSync()[9]).toBe(1);
    y.dispose();
    z.dispose();
    expect(memory().liveBuffers).toBe(before);
  });

  it("scope frees all but what it returns, and refuses a Promise", () => {
    const before = memory().liveBuffers;
    const kept = scope(() => ({ total: tensor([1, 2]).mul(3).sum(), n: 5 }));
    expect(memory().liveBuffers).toBe(before + 1);
    expect(kept.total.itemSync()).toBe(9);
    kept.total.dispose();
    expect(() => scope(async () => tensor([1]))).toThrow(UsageError);
    expect(memory().liveBuffers).toBe(before);
  });

  it("an open scope closes at the end of its block, even across awaits", async () => {
    const before = memory().liveBuffers;
    {
      await using s = openScope();
      const x = s.run(() => tensor([1, 2]).mul(2));
      await x.data();
      s.own(tensor([5]));
      expect(memory().liveBuffers).toBeGreaterThan(before);
    }
    expect(memory().liveBuffers).toBe(before);
  });
});

describe("cells", () => {
  it("read what was set, and readers keep what they saw", () => {
    const cell = new Cell({ shape: [2], name: "w" });
    expect(() => cell.value).toThrow(/w has no value yet/);
    cell.setData([1, 2]);
    using old = cell.value;
    using view = reshape(old, [2, 1]);
    cell.setData([3, 4]);
    expect([...old.dataSync(), ...view.dataSync()]).toEqual([1, 2, 1, 2]);
    using now = cell.value;
    expect([...now.dataSync()]).toEqual([3, 4]);
    expect(() => cell.setData([1])).toThrow(ShapeError);
    cell.dispose();
    expect([...now.dataSync()]).toEqual([3, 4]);
  });
});

describe("random streams", () => {
  it("fork as the stream whose state they took over", () => {
    scope(() => {
      const [saved, other] = [rng(0), rng(1)];
      const state = saved.cell.value;
      other.restoreState({ tensors: { state }, json: null });
      expect(other.fork("a").key).toEqual(saved.fork("a").key);
      saved.dispose();
      other.dispose();
    });
  });

  it("repeat for the same seed, differ between forks, and do not depend on when they are forked", async () => {
    const draws = async (r: ReturnType<typeof rng>): Promise<number[]> => {
      using x = r.normal([8]);
      return [...(await x.data())];
    };
    const [a, b] = [rng(3), rng(3)];
    expect(await draws(a)).toEqual(await draws(b));
    const [early, late] = [b.fork("x"), a.fork("x")];
    expect(await draws(early)).toEqual(await draws(late));
    const other = a.fork("x", 1);
    expect(await draws(other)).not.toEqual(await draws(late));
    for (const r of [a, b, early, late, other]) r.dispose();
  });

  it("have the moments of their distributions", async () => {
    const r = rng(11);
    using n = r.normal([200000]);
    using u = r.uniform([200000]);
    const moments = (x: ArrayLike<number>): [number, number] => {
      let [sum, squares] = [0, 0];
      for (let i = 0; i < x.length; i++) {
        sum += x[i] as number;
        squares += (x[i] as number) ** 2;
      }
      return [sum / x.length, squares / x.length - (sum / x.length) ** 2];
    };
    const [mean, variance] = moments(await n.data());
    expect(Math.abs(mean)).toBeLessThan(0.01);
    expect(Math.abs(variance - 1)).toBeLessThan(0.02);
    const [mid, spread] = moments(await u.data());
    expect(Math.abs(mid - 0.5)).toBeLessThan(0.005);
    expect(Math.abs(spread - 1 / 12)).toBeLessThan(0.002);
    r.dispose();
  });
});

describe("data-dependent failures", () => {
  it("reject the read and leave the device usable", async () => {
    using table = tensor([
      [1, 2],
      [3, 4],
    ]);
    using bad = tensor([0, 7], { dtype: "i32" });
    const rows = table.gather(bad);
    await expect(rows.data()).rejects.toThrow(/7/);
    rows.dispose();
    await settled().catch(() => {});
    using good = scope(() => table.gather(tensor([1], { dtype: "i32" })));
    expect([...(await good.data())]).toEqual([3, 4]);
    expect(
      new Set(
        [scalar(1)].map((x) => {
          x.dispose();
          return x.disposed;
        }),
      ),
    ).toEqual(new Set([true]));
  });
});
