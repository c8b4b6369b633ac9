// Devices by name: what moves where, which device things are made on, and what is refused. The GPU is the emulated one, or a
// real one where FIGMENT_CUDA names it.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  add,
  assertNoLeaks,
  availableDevices,
  Cell,
  compile,
  conv2d,
  DeviceError,
  defaultDevice,
  deviceInfo,
  grad,
  matmul,
  memory,
  OutOfMemoryError,
  ones,
  readCells,
  repeat,
  rng,
  scalar,
  scope,
  setDevice,
  setMemoryLimit,
  settled,
  startTimeline,
  stopTimeline,
  type Tensor,
  tensor,
  tunableCalls,
  UsageError,
  valueAndGrad,
  withDevice,
  writeTimeline,
  zeros,
} from "@figment/tensor";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { cudaDevice } from "./support/cuda.ts";

const gpu = cudaDevice();
const start = defaultDevice();
afterEach(() => setDevice(start));
afterAll(assertNoLeaks);

describe("the names of devices", () => {
  it.each(["gpu", "cuda:", "cuda:x", "CUDA", 0, null, undefined])("are checked: %s", (name) => {
    expect(() => setDevice(name as "cpu")).toThrow(UsageError);
    expect(() => withDevice(name as "cpu", () => 0)).toThrow(UsageError);
    expect(() => scope(() => ones([1]).to(name as "cpu"))).toThrow(UsageError);
  });

  it("are refused with the reason where there is no such device", () => {
    expect(() => setDevice("cuda:77")).toThrow(DeviceError);
    expect(() => setDevice("cuda:77")).toThrow(/setDevice: "cuda:77" cannot be used: /);
  });

  it("begin with the CPU in the list of devices", () => {
    const [cpu, ...rest] = availableDevices();
    expect(cpu).toMatchObject({ device: "cpu", name: deviceInfo("cpu").name });
    for (const { device, name, reason } of rest)
      expect([device, name ?? reason]).toEqual([expect.stringMatching(/^cuda/), expect.any(String)]);
  });
});

describe.skipIf(gpu.index === undefined)("a GPU", () => {
  it("holds what is made while it is the default", () => {
    setDevice("cuda");
    scope(() => {
      expect(defaultDevice()).toBe("cuda:0");
      expect(ones([2]).device).toBe("cuda:0");
      expect(tensor([1, 2]).add(1).device).toBe("cuda:0");
      expect([...tensor([1, 2]).add(1).dataSync()]).toEqual([2, 3]);
    });
  });

  it("is chosen by auto", () => {
    setDevice("auto");
    expect(defaultDevice()).toBe("cuda:0");
  });

  it("runs the operations of what lies on it, whatever the default", () => {
    setDevice("cpu");
    scope(() => {
      const x = tensor([1, 2]).to("cuda");
      expect(x.device).toBe("cuda:0");
      const y = x
        .mul(3)
        .add(scalar(1))
        .sub(zeros([2]));
      expect(y.device).toBe("cuda:0");
      expect([...y.dataSync()]).toEqual([4, 7]);
      expect(y.to("cpu").device).toBe("cpu");
      expect([...y.to("cpu").dataSync()]).toEqual([4, 7]);
    });
  });

  it("does not mix with the CPU, and says what to do", () => {
    scope(() => {
      const [here, there] = [tensor([1]).to("cpu"), tensor([1]).to("cuda")];
      expect(() => here.add(there)).toThrow(DeviceError);
      expect(() => here.add(there)).toThrow(
        /add: operands are on two devices, cpu and cuda:0; move one .*\.to\("cpu"\)/,
      );
      const sum = compile(add);
      expect(() => sum(here, there)).toThrow(/argument 0 is on cpu, argument 1 on cuda:0; .*\.to\("cpu"\)/);
      const capturing = compile((x: Tensor) => x.add(here));
      expect(() => capturing(there)).toThrow(/runs on cuda:0.* a captured tensor \[1\] is on cpu/);
    });
  });

  it("is the device of asynchronous work to its end, and of nothing beside it", async () => {
    setDevice("cpu");
    const inside = withDevice("cuda", async () => {
      const before = defaultDevice();
      await settled();
      return [before, defaultDevice()];
    });
    expect(defaultDevice()).toBe("cpu");
    expect(await inside).toEqual(["cuda:0", "cuda:0"]);
    expect(() => withDevice("cuda", () => setDevice("cpu"))).toThrow(UsageError);
  });

  it("runs compiled functions on what lies on it, with programs of its own", () => {
    setDevice("cpu");
    const double = compile((x: Tensor) => x.mul(2).add(tensor([1, 2])));
    scope(() => {
      const x = tensor([1, 2]);
      expect([double(x).device, double(x.to("cuda")).device, double(x).device]).toEqual(["cpu", "cuda:0", "cpu"]);
      expect([...double(x.to("cuda")).dataSync()]).toEqual([3, 6]);
      expect(double.stats.traces).toBe(2);
      expect(double.explain()).toMatch(/^compiled on cuda:0: /);
    });
    double.dispose();
  });

  it("keeps cells, which move and bring what stands beside them", async () => {
    setDevice("cpu");
    const weight = new Cell({ shape: [2], name: "weight", initial: () => [1, 2] });
    const moment = new Cell({ shape: [2], name: "moment", initial: () => [5, 6], beside: weight });
    const step = compile(() => {
      weight.set(weight.value.add(moment.value));
      moment.set(moment.value.mul(2));
    });
    step();
    scope(() => {
      const before = weight.value;
      weight.to("cuda");
      expect([weight.device, moment.device, before.device]).toEqual(["cuda:0", "cuda:0", "cpu"]);
      step();
      expect(step.stats.traces).toBe(2);
      expect([...before.dataSync()]).toEqual([6, 8]);
    });
    expect((await readCells([weight, moment])).map((data) => [...data])).toEqual([
      [16, 20],
      [20, 24],
    ]);
    expect(() => moment.to("cpu")).toThrow(UsageError);
    scope(() => weight.set(tensor([1, 1])));
    expect(weight.device).toBe("cuda:0");
    step.dispose();
    for (const cell of [weight, moment]) cell.dispose();
  });

  it("makes initial contents where the program runs that reads them first", () => {
    setDevice("cpu");
    const count = new Cell({ shape: [], initial: () => [3] });
    const f = compile((x: Tensor) => x.mul(count.value));
    scope(() => expect(f(tensor([2]).to("cuda")).device).toBe("cuda:0"));
    expect(count.device).toBe("cuda:0");
    scope(() => expect(() => f(tensor([2]))).toThrow(/runs on cpu.*cell is on cuda:0/));
    f.dispose();
    count.dispose();
  });

  it("is where values of a compiled function without arguments are moved to, when the cells that it reads are there", () => {
    setDevice("cpu");
    const cell = new Cell({ shape: [2], initial: () => [1, 2] }).to("cuda");
    const there = compile(() => {
      const product = tensor([3, 4]).add(1).to("cuda").mul(cell.value);
      repeat(2, () => cell.set(cell.value.to("cuda").mul(2)));
      return product;
    });
    scope(() => expect([...there().dataSync()]).toEqual([4, 10]));
    const back = compile(() => cell.value.to("cpu").mul(2), { name: "back" });
    expect(back).toThrow(UsageError);
    expect(back).toThrow(/^back: it runs on cuda:0, but moves a value to cpu; move its arguments and cells there/);
    cell.to("cpu");
    expect(there).toThrow(/it runs on cpu, but moves a value to cuda:0/);
    scope(() => expect([...back().dataSync()]).toEqual([8, 16]));
    for (const item of [there, back, cell]) item.dispose();
  });

  it("runs a function whose first call failed for want of a value that is there now", () => {
    setDevice("cpu");
    const scale = new Cell({ shape: [2], name: "scale", initial: () => [3, 4] });
    const weight = new Cell({ shape: [2], name: "weight" });
    const random = rng(1);
    const captured = compile(() => random.uniform([2]).mul(0).add(scale.value).mul(weight.value));
    const given = compile((owned: Cell) => owned.value.add(weight.value));
    for (const call of [captured, () => given(scale)]) expect(call).toThrow(/weight has no value yet/);
    scope(() => weight.set(withDevice("cuda", () => tensor([1, 2]))));
    scope(() => {
      expect([...captured().dataSync()]).toEqual([3, 8]);
      expect([...given(scale).dataSync()]).toEqual([4, 6]);
    });
    expect([scale.device, random.device]).toEqual(["cuda:0", "cuda:0"]);
    for (const item of [captured, given, scale, weight, random]) item.dispose();
  });

  it("lets derivatives flow back over moves", () => {
    scope(() => {
      const slope = grad((x: Tensor) => x.to("cuda").square().sum())(tensor([1, 2]).to("cpu"));
      expect(slope.device).toBe("cpu");
      expect([...slope.dataSync()]).toEqual([2, 4]);
      const cell = new Cell({ shape: [1], initial: () => [3] });
      const { grads } = withDevice("cuda", () => valueAndGrad(() => cell.value.square().sum(), { wrt: [cell] })());
      expect(grads.get(cell).device).toBe("cuda:0");
      cell.dispose();
    });
  });

  it("draws the numbers that the CPU draws", () => {
    const draw = (device: "cpu" | "cuda"): number[] =>
      withDevice(device, () =>
        scope(() => {
          const random = rng(7);
          const numbers = [...random.normal([5]).dataSync(), ...random.uniform([5]).dataSync()];
          random.dispose();
          return numbers;
        }),
      );
    expect(draw("cuda")).toEqual(draw("cpu"));
  });

  it("has memory of its own, a limit, and a list of what is live", () => {
    const [cpu, before] = [memory("cpu").live, memory("cuda").live];
    setMemoryLimit(4 << 20, "cuda");
    try {
      const held = withDevice("cuda", () => zeros([1 << 18]));
      expect([memory("cpu").live, memory("cuda").live - before]).toEqual([cpu, 4 << 18]);
      const much = (): Tensor => withDevice("cuda", () => zeros([1 << 20]));
      expect(much).toThrow(OutOfMemoryError);
      expect(much).toThrow(/Live on this thread on cuda:0, largest first:\n {2}1\.0 MiB {2}f32 \[262144\]/);
      held.dispose();
    } finally {
      setMemoryLimit(0, "cuda");
    }
  });

  it("is profiled against its own ceilings", async () => {
    const f = compile((x: Tensor) => x.mul(2).sum(), { name: "doubled" });
    const x = withDevice("cuda", () => ones([64]));
    const profile = await f.profile(2, x);
    expect(String(profile)).toMatch(/^doubled on cuda:0: .*median of 2/);
    expect(profile.records.every(({ micros }) => micros > 0)).toBe(true);
    expect(Object.keys(profile.ceilings.fma)).toEqual([deviceInfo("cuda").isa]);
    x.dispose();
    f.dispose();
  });
});

describe.skipIf(gpu.index === undefined)("measurements of a GPU's kernels", () => {
  const file = path.join(mkdtempSync(path.join(tmpdir(), "figment-tuning-")), "tuning.json");
  const kept = process.env.FIGMENT_TUNE_FILE;
  afterAll(() => {
    if (kept === undefined) delete process.env.FIGMENT_TUNE_FILE;
    else process.env.FIGMENT_TUNE_FILE = kept;
    rmSync(path.dirname(file), { recursive: true });
  });

  it("are kept under its name, apart from the CPU's, and decide its programs alone", async () => {
    process.env.FIGMENT_TUNE_FILE = file;
    const shape = [64, 64] as const;
    const work = {
      cpu: () => conv2d(ones([1, 8, 8, 4]), ones([4, 3, 3, 4])),
      cuda: () => matmul(ones(shape, "bf16"), ones(shape, "bf16")),
    };
    const tuned: string[] = [];
    for (const device of ["cpu", "cuda"] as const) {
      const calls = await tunableCalls(() => withDevice(device, () => scope(() => void work[device]())));
      tuned.push(...calls.flatMap((call) => call.measure() ?? []).map(({ winner }) => winner));
    }
    const { machines } = JSON.parse(readFileSync(file, "utf8"));
    const about = deviceInfo("cuda");
    const entry = machines.find(({ machine }: { machine: { isa: string } }) => machine.isa === about.isa);
    expect(entry.machine).toMatchObject({
      cpu: about.name,
      family: expect.stringMatching(/^CUDA \d+\.\d$/),
      cores: about.cores,
    });
    expect(machines.filter(({ machine }: { machine: { isa: string } }) => machine.isa.startsWith("sm"))).toHaveLength(
      1,
    );
    expect(tuned).toContain((Object.values(entry.calls)[0] as { variant: string }).variant);
    const f = compile((x: Tensor) => matmul(x, x));
    scope(() => void f(ones(shape, "bf16").to("cuda")));
    expect(f.explain()).toContain("measured here");
    f.dispose();
  });
});

it.skipIf(gpu.index === undefined)("a timeline has a lane for each device", () => {
  const file = path.join(mkdtempSync(path.join(tmpdir(), "figment-timeline-")), "trace.json");
  startTimeline();
  scope(() => {
    for (const device of ["cpu", "cuda"] as const) withDevice(device, () => tensor([1, 2]).square().dataSync());
  });
  writeTimeline(file);
  stopTimeline();
  const { traceEvents } = JSON.parse(readFileSync(file, "utf8")) as {
    traceEvents: { name: string; tid: number; cat?: string; args: { name?: string } }[];
  };
  const lane = (name: string) => traceEvents.find(({ args }) => args?.name === name)?.tid;
  const [cpu, cuda] = [lane("queue of cpu:0"), lane("queue of cuda:0")];
  for (const tid of [cpu, cuda]) {
    expect(tid).toBeDefined();
    expect(traceEvents.filter((event) => event.tid === tid && event.cat === "record").length).toBeGreaterThan(0);
  }
  rmSync(path.dirname(file), { recursive: true });
});
