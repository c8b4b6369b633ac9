// figment data.

import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import type { RemoteDataset } from "@figment/io";
import { afterAll, describe, expect, it } from "vitest";
import { figment } from "./support/command.js";

const folder = mkdtempSync(path.join(os.tmpdir(), "figment-data-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("figment data", () => {
  it("lists what can be fetched, as text and as JSON", async () => {
    const { code, stdout } = await figment(["data", "list"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^mnist +MNIST: 70,000 handwritten digits.*; 11 MB$/m);
    expect(stdout).toMatch(/^cifar10 +CIFAR-10.*; 162 MB$/m);
    const { stdout: json } = await figment(["data", "list", "--json"]);
    expect((JSON.parse(json) as RemoteDataset[]).map(({ name }) => name)).toEqual([
      "mnist",
      "fashion-mnist",
      "cifar10",
    ]);
  });

  it("exits with 3 where a set cannot be had, saying what to do", async () => {
    const { code, stderr } = await figment([
      "data",
      "get",
      "mnist",
      "--cache",
      folder,
      "--from",
      "http://127.0.0.1:1/",
    ]);
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /DataError: train-images-idx3-ubyte\.gz could not be fetched:\n {2}http:\/\/127\.0\.0\.1:1\//,
    );
    expect(stderr).toMatch(/Without a network: fetch .* and put them into .*mnist/);
    const unknown = await figment(["data", "get", "imagenet"]);
    expect([unknown.code, unknown.stderr]).toEqual([
      2,
      expect.stringMatching(/no data set "imagenet"; known are mnist/),
    ]);
  });

  it("exits with 2 where it is used wrongly", async () => {
    expect((await figment(["data", "get"])).code).toBe(2);
    expect((await figment(["data", "list", "--bogus"])).code).toBe(2);
  });

  it("refuses what a place gives under the name of a file", async () => {
    const server = createServer((_request, response) => response.end("not MNIST"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const from = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const { code, stderr } = await figment(["data", "get", "mnist", "--cache", folder, "--from", from]);
    server.close();
    expect(code).toBe(3);
    expect(stderr).toMatch(/the connection ended after 9 of 9912422 bytes/);
  });
});
