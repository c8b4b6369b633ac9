import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const data = process.env.FIGMENT_DATA;
const here = path.dirname(fileURLToPath(import.meta.url));
const program = await readFile(path.join(here, "api", "program1.ts"), "utf8");
const code = program.slice(program.indexOf("import"));

describe("program 1 of the public surface", () => {
  it("stands in the README to the letter", async () => {
    const readme = await readFile(path.join(here, "..", "..", "..", "README.md"), "utf8");
    expect(readme).toContain(code.trim());
  });

  it.skipIf(!data)("runs on MNIST, with fewer steps", async () => {
    // Inside the package, so that its imports are found as a user's would be.
    const folder = await mkdtemp(path.join(here, "program1-"));
    try {
      await symlink(data as string, path.join(folder, "data"));
      const shorter = code
        .replace("steps: 3000", "steps: 3")
        .replace("% 100 ===", "% 1 ===")
        .replace("steps: 50", "steps: 3");
      await writeFile(path.join(folder, "program.mjs"), shorter);
      const { status, stdout, stderr } = spawnSync(process.execPath, ["program.mjs"], {
        cwd: folder,
        encoding: "utf8",
      });
      expect(status, stderr).toBe(0);
      expect(stdout.trim().split("\n")).toHaveLength(3);
      expect((await readFile(path.join(folder, "samples.png"))).subarray(1, 4).toString()).toBe("PNG");
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
