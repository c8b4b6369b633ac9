// Fetching data sets, from a server of this machine that breaks off, lies and stalls.

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { DataError, defaultCache, getDataset, listDatasets } from "@figment/io";
import { UsageError } from "@figment/tensor";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { fetchFile } from "#data/download/fetchFile";
import type { RemoteFile } from "#data/download/sources";
import { seeded, temporaryFolder } from "./support.js";

const bytesOf = (count: number, seed: number): Buffer => {
  const random = seeded(seed);
  return Buffer.from(Uint8Array.from({ length: count }, () => random.below(256)));
};

const contents = bytesOf(300_000, 901);
const fileOf = (bytes: Buffer, algorithm: "md5" | "sha256" = "sha256"): RemoteFile => ({
  name: "file.gz",
  bytes: bytes.length,
  checksum: { algorithm, hex: createHash(algorithm).update(bytes).digest("hex") },
});

/** A server; its address, and the ranges that it was asked for. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse, count: number) => void) {
  const ranges: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    answer(request, response, ranges.length);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { place: `http://127.0.0.1:${(server.address() as AddressInfo).port}/sets/`, ranges };
}

/** Answers as servers do: all of it, or the rest that was asked for. */
function send(request: IncomingMessage, response: ServerResponse, bytes: Buffer, cutAt = Infinity): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const range = { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
  response.writeHead(start > 0 ? 206 : 200, { "content-length": bytes.length - start, ...(start > 0 ? range : {}) });
  if (cutAt === Infinity) response.end(bytes.subarray(start));
  else response.write(bytes.subarray(start, cutAt), () => setTimeout(() => response.destroy(), 50));
}

describe("a file", () => {
  it.each(["md5", "sha256"] as const)("is fetched, checked by %s, and leaves nothing beside it", async (algorithm) => {
    const { place } = await serve((request, response) => send(request, response, contents));
    const folder = join(await temporaryFolder(), "new");
    const seen: number[] = [];
    await fetchFile([place], fileOf(contents, algorithm), folder, {
      onProgress: ({ received, total }) => seen.push(received / total),
    });
    expect((await readFile(join(folder, "file.gz"))).equals(contents)).toBe(true);
    expect(await readdir(folder)).toEqual(["file.gz"]);
    expect([seen.at(-1), [...seen].sort((a, b) => a - b)]).toEqual([1, seen]);
  });

  it("that breaks off is gone on with at once, from the byte where it broke off", async () => {
    const { place, ranges } = await serve((request, response, count) =>
      send(request, response, contents, count === 1 ? 100_000 : Infinity),
    );
    const folder = await temporaryFolder();
    await fetchFile([place], fileOf(contents), folder);
    expect(ranges[0]).toBeUndefined();
    expect(ranges[1]).toMatch(/^bytes=\d+-$/);
    expect((await readFile(join(folder, "file.gz"))).equals(contents)).toBe(true);
  });

  it("that was stopped is gone on with the next time", async () => {
    const folder = await temporaryFolder();
    const stop = new AbortController();
    const first = await serve((request, response) => {
      response.writeHead(200, { "content-length": contents.length });
      response.write(contents.subarray(0, 120_000));
      request.on("close", () => response.destroy());
    });
    const onProgress = ({ received }: { received: number }) => {
      if (received >= 120_000) stop.abort();
    };
    await expect(
      fetchFile([first.place], fileOf(contents), folder, { signal: stop.signal, onProgress }),
    ).rejects.toThrow(/abort/i);
    expect(await readdir(folder)).toEqual([".file.gz.part"]);
    const second = await serve((request, response) => send(request, response, contents));
    await fetchFile([second.place], fileOf(contents), folder);
    expect(second.ranges).toEqual(["bytes=120000-"]);
    expect((await readFile(join(folder, "file.gz"))).equals(contents)).toBe(true);
  });

  it("is begun anew where a server sends all of it again, or what was there is of another file", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, ".file.gz.part"), contents.subarray(0, 1000));
    const whole = await serve((_request, response) => response.end(contents));
    await fetchFile([whole.place], fileOf(contents), folder);
    expect(whole.ranges).toEqual(["bytes=1000-"]);
    const other = await temporaryFolder();
    await writeFile(join(other, ".file.gz.part"), bytesOf(5000, 902));
    const ranged = await serve((request, response) => send(request, response, contents));
    await fetchFile([ranged.place], fileOf(contents), other);
    expect(ranged.ranges).toEqual(["bytes=5000-", undefined]);
    for (const place of [folder, other]) expect((await readFile(join(place, "file.gz"))).equals(contents)).toBe(true);
  });

  it("is fetched from the next place where the first one fails", async () => {
    const missing = await serve((_request, response) => response.writeHead(404).end());
    const good = await serve((request, response) => send(request, response, contents));
    const folder = await temporaryFolder();
    await fetchFile(["http://127.0.0.1:1/", missing.place, good.place], fileOf(contents), folder);
    expect(await readdir(folder)).toEqual(["file.gz"]);
  });

  it.each([
    [
      "with another checksum",
      (bytes: Buffer) => Buffer.concat([bytes.subarray(0, -1), Buffer.of((bytes.at(-1) as number) ^ 1)]),
      /what came is not this file: its sha256 is not/,
    ],
    [
      "that is longer than it should be",
      (bytes: Buffer) => Buffer.concat([bytes, Buffer.of(0)]),
      /more than the 300000 bytes of this file came/,
    ],
    [
      "that is shorter than it should be",
      (bytes: Buffer) => bytes.subarray(0, -1),
      /ended after 299999 of 300000 bytes|416/,
    ],
  ])("%s is refused and does not take its name", async (_claim, change, message) => {
    const wrong = change(contents);
    const { place } = await serve((request, response) => send(request, response, wrong));
    const folder = await temporaryFolder();
    const error = await fetchFile([place], fileOf(contents), folder).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(DataError);
    expect((error as Error).message).toMatch(message);
    expect(await readdir(folder)).not.toContain("file.gz");
  });

  it("to which nothing comes is given up after a while, saying so", async () => {
    const { place } = await serve(() => {});
    const fetching = fetchFile([place], fileOf(contents), await temporaryFolder(), { patience: 200 });
    await expect(fetching).rejects.toThrow(/nothing came for 0\.2 s/);
  });
});

describe("a data set", () => {
  it("has a name, places, and files with checksums", () => {
    const sets = listDatasets();
    expect(sets.map(({ name }) => name)).toEqual(["mnist", "fashion-mnist", "cifar10"]);
    for (const { places, files } of sets) {
      for (const place of places) expect(place).toMatch(/^https?:.*\/$/);
      for (const { bytes, checksum } of files) {
        expect(bytes).toBeGreaterThan(0);
        expect(checksum.hex).toMatch(checksum.algorithm === "md5" ? /^[0-9a-f]{32}$/ : /^[0-9a-f]{64}$/);
      }
    }
  });

  it("that cannot be reached says what was tried, and what to do without a network", async () => {
    const cache = await temporaryFolder();
    const error = await getDataset("mnist", { cache, from: "http://127.0.0.1:1/sets" }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(DataError);
    const { message } = error as Error;
    expect(message).toMatch(
      /train-images-idx3-ubyte\.gz could not be fetched:\n {2}http:\/\/127\.0\.0\.1:1\/sets\/train-images/,
    );
    expect(message).toMatch(/Without a network: fetch train-images.*t10k-labels-idx1-ubyte\.gz from https:/);
    expect(message).toContain(join(cache, "mnist"));
  });

  it("whose file in the folder is not the published one is fetched again, and refused where the place has another", async () => {
    const cache = await temporaryFolder();
    await mkdir(join(cache, "mnist"));
    await writeFile(join(cache, "mnist/train-images-idx3-ubyte.gz"), "not MNIST");
    const { place, ranges } = await serve((_request, response) => response.end(Buffer.alloc(9912422)));
    await expect(getDataset("mnist", { cache, from: place })).rejects.toThrow(
      /its md5 is not f68b3c2dcbeaaa9fbdd348bbdeb94873/,
    );
    expect(ranges).toHaveLength(1);
  });

  it("of an unknown name, or from no address, is refused; one that is stopped stops", async () => {
    await expect(getDataset("imagenet")).rejects.toThrow(
      /no data set "imagenet"; known are mnist, fashion-mnist, cifar10/,
    );
    await expect(getDataset("mnist", { from: "/etc" })).rejects.toThrow(UsageError);
    await expect(getDataset("mnist", { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });

  it("is kept in the user's cache folder when nothing is said", () => {
    vi.stubEnv("XDG_CACHE_HOME", "/somewhere");
    expect(defaultCache()).toBe("/somewhere/figment/data");
    vi.stubEnv("XDG_CACHE_HOME", "");
    expect(defaultCache()).toMatch(/\.cache\/figment\/data$/);
    vi.unstubAllEnvs();
  });
});
