import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, readlink, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError, writeAtomically, writeFileAtomic, writeJson } from "@figment/io";
import { assertNoLeaks } from "@figment/tensor";
import { afterAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "./support.js";

afterAll(() => assertNoLeaks());

const atomicModule = new URL("../dist/files/atomic.js", import.meta.url).href;

/** Writes "new " for ever, and says so after the first megabyte. */
const endlessWriter = (path: string) => `
  import { writeAtomically } from ${JSON.stringify(atomicModule)};
  const piece = new TextEncoder().encode("new ".repeat(65536));
  await writeAtomically(${JSON.stringify(path)}, async (write) => {
    for (let i = 0; ; i++) {
      await write(piece);
      if (i === 4) console.log("under way");
      if (i > 4) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
`;

describe("writing a file", () => {
  it("goes where a symbolic link leads, and leaves the link", async () => {
    const folder = await temporaryFolder();
    const [file, link, early] = ["file.txt", "link.txt", "early.txt"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    await writeFile(file, "old");
    await symlink("file.txt", link);
    await writeFileAtomic(link, "new");
    expect(await readFile(file, "utf8")).toBe("new");
    expect(await readlink(link)).toBe("file.txt");
    await symlink("later.txt", early);
    await writeFileAtomic(early, "here");
    expect(await readFile(join(folder, "later.txt"), "utf8")).toBe("here");
    expect(await readlink(early)).toBe("later.txt");
    expect((await readdir(folder)).sort()).toEqual(["early.txt", "file.txt", "later.txt", "link.txt"]);
  });

  it.skipIf(process.platform === "win32")("never takes the place of what is no file", async () => {
    const pipe = join(await temporaryFolder(), "pipe");
    spawnSync("mkfifo", [pipe]);
    await expect(writeFileAtomic(pipe, "new")).rejects.toThrow(/pipe: cannot be written: it is not a file/);
    expect((await stat(pipe)).isFIFO()).toBe(true);
  });

  it("leaves the old file whole when the process is killed in the middle", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "file.txt");
    await writeFile(path, "old");
    const child = spawn(process.execPath, ["--input-type=module", "-e", endlessWriter(path)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(await readFile(path, "utf8")).toBe("old");
    const half = (await readdir(folder)).filter((name) => name !== "file.txt");
    expect(half).toHaveLength(1);
    await writeFileAtomic(path, "new");
    expect(await readFile(path, "utf8")).toBe("new");
    expect(await readdir(folder), "what a writer left that may yet go on").toHaveLength(2);
    const longAgo = new Date(Date.now() - 3_600_000);
    await utimes(join(folder, half[0] as string), longAgo, longAgo);
    await writeFileAtomic(path, "newer");
    expect(await readdir(folder), "what a writer left that is gone").toEqual(["file.txt"]);
  });

  it("says which file the operating system would not write, and leaves nothing else", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "file.txt");
    await mkdir(join(path, "within"), { recursive: true });
    const failure = await writeFileAtomic(path, "new").catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(DataError);
    expect(String(failure)).toMatch(/file\.txt: cannot be written: E\w+: /);
    expect(await readdir(folder)).toEqual(["file.txt"]);
  });

  it("leaves the old file and no other when producing the new one fails", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "file.txt");
    await writeFile(path, "old");
    const failing = writeAtomically(path, async (write) => {
      await write(Uint8Array.of(1, 2, 3));
      throw new Error("no more");
    });
    await expect(failing).rejects.toThrow("no more");
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["file.txt"]);
  });

  it.each(["n".repeat(255), "ж".repeat(127), "𝄞".repeat(63)])("takes names as long as there may be", async (name) => {
    const folder = await temporaryFolder();
    for (const content of ["old", "new"]) await writeFileAtomic(join(folder, name), content);
    expect(await readFile(join(folder, name), "utf8")).toBe("new");
    expect(await readdir(folder)).toEqual([name]);
  });

  it("makes the folders on the way", async () => {
    const path = join(await temporaryFolder(), "a", "b", "value.json");
    await writeJson(path, { x: [1, 2] });
    expect(JSON.parse(await readFile(path, "utf8"))).toEqual({ x: [1, 2] });
  });

  it("by several writers at once ends with one of their files, whole", async () => {
    const path = join(await temporaryFolder(), "file");
    const contents = Array.from({ length: 8 }, (_, i) => String(i).repeat(100_000));
    await Promise.all(contents.map((content) => writeFileAtomic(path, content)));
    expect(contents).toContain(await readFile(path, "utf8"));
  });
});
