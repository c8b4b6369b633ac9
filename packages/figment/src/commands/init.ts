// figment init: a project to start from, typed, with a model, a recipe and a test of its own.

import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { checkPath, makeFolder, writeFileAtomic } from "@figment/io";
import { UsageError } from "@figment/tensor";
import { Command } from "commander";
import { version } from "../version.js";

const template = fileURLToPath(new URL("../../templates/starter/", import.meta.url));

/** Files whose names npm would take for its own inside a package. */
const renamed: Readonly<Record<string, string>> = { gitignore: ".gitignore" };

/** Writes the starter project into a folder; gives the files, by their names in it. */
async function writeStarter(folder: string, name: string): Promise<string[]> {
  const entries = await readdir(template, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const written: string[] = [];
  for (const file of files.sort()) {
    const inside = path.relative(template, file);
    const target = renamed[inside] ?? inside;
    const text = await readFile(file, "utf8");
    await writeFileAtomic(path.join(folder, target), text.replaceAll("NAME", name).replaceAll("VERSION", version));
    written.push(target);
  }
  return written;
}

/** A name for packages and recipes from that of a folder. */
function nameOf(folder: string): string {
  const name = path
    .basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return name || "my-model";
}

/** The `init` subcommand. */
export const initCommand = (): Command =>
  new Command("init")
    .description("write a typed project to start from: a model, a recipe and a test")
    .argument("[folder]", "a new or empty folder", ".")
    .option("--name <name>", "of the package and the recipe (default: the folder's)")
    .option("--json", "print the files as JSON")
    .action(async (target: string, { name, json }: { name?: string; json?: boolean }) => {
      checkPath("init", "folder", target);
      const folder = path.resolve(target);
      await makeFolder(folder);
      const there = await readdir(folder);
      if (there.length > 0)
        throw new UsageError(
          `${target}: the folder is not empty: it has ${there.slice(0, 3).join(", ")}; name a new one`,
        );
      const chosen = name ?? nameOf(folder);
      if (chosen !== nameOf(chosen))
        throw new UsageError(`--name: expected small letters, digits and dashes, got ${JSON.stringify(chosen)}`);
      const files = await writeStarter(folder, chosen);
      if (json) console.log(JSON.stringify({ folder, name: chosen, files }, null, 2));
      else console.log(`Wrote ${files.join(", ")}.\n\n    cd ${target} && npm install && npm test && npm run train`);
    });
