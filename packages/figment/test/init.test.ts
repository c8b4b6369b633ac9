// figment init: the project that it writes is typed, learns, and passes its own test, with the packages as users import them.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { figment } from "./support/command.js";

const modules = fileURLToPath(new URL("../../../node_modules/", import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "figment-init-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What `npm install` would bring, linked from this repository. */
async function install(project: string): Promise<void> {
  await mkdir(path.join(project, "node_modules/@types"), { recursive: true });
  await mkdir(path.join(project, "node_modules/.bin"), { recursive: true });
  for (const name of ["figment", "typescript", "@types/node", ".bin/tsc", ".bin/figment"])
    await symlink(path.join(modules, name), path.join(project, "node_modules", name));
}

async function npm(project: string, ...args: string[]): Promise<string> {
  const { NODE_OPTIONS: _conditions, NODE_TEST_CONTEXT: _context, ...env } = process.env;
  const { stdout } = await promisify(execFile)("npm", args, { cwd: project, env });
  return stdout;
}

describe("figment init", () => {
  it("writes a project that passes its own test and trains by its own script", async () => {
    const project = path.join(folder, "My Model");
    const { code, stdout } = await figment(["init", project, "--json"]);
    expect(code).toBe(0);
    const { name, files } = JSON.parse(stdout);
    expect(name).toBe("my-model");
    expect((await readdir(project)).sort()).toEqual([
      ".gitignore",
      "README.md",
      "package.json",
      "src",
      "test",
      "tsconfig.json",
    ]);
    for (const file of files) expect(await readFile(path.join(project, file), "utf8")).not.toMatch(/NAME|VERSION/);
    await install(project);
    expect(await npm(project, "test")).toMatch(/pass 1\n.*fail 0/);
    await npm(project, "run", "train", "--", "--steps", "5", "--batch", "4");
    expect(await readdir(path.join(project, "out/my-model"))).toContain("model.safetensors");
  });

  it("fails its test when its model does not learn, and its build when a type is wrong", async () => {
    const project = path.join(folder, "broken");
    expect((await figment(["init", project])).code).toBe(0);
    await install(project);
    const recipe = path.join(project, "src/recipe.ts");
    const text = await readFile(recipe, "utf8");
    await writeFile(recipe, text.replace("lr: 2e-3", "lr: 0"));
    await expect(npm(project, "test")).rejects.toThrow();
    await writeFile(recipe, text.replace("range: [0, 1],", 'range: "0 to 1",'));
    await expect(npm(project, "run", "build")).rejects.toMatchObject({ stdout: expect.stringContaining("recipe.ts") });
  });

  it("writes over nothing, and refuses names that are none", async () => {
    const project = path.join(folder, "taken");
    await mkdir(project);
    await writeFile(path.join(project, "mine.txt"), "");
    const taken = await figment(["init", project]);
    expect([taken.code, taken.stderr]).toEqual([2, expect.stringMatching(/not empty: it has mine\.txt/)]);
    const named = await figment(["init", path.join(folder, "new"), "--name", "No Name"]);
    expect([named.code, named.stderr]).toEqual([2, expect.stringMatching(/--name: expected small letters/)]);
  });
});
