// The package's page names what there is.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { recipes } from "figment";
import { expect, it } from "vitest";

const page = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** Names in code type in the first column of the table below a heading. */
const namesBelow = (heading: string): string[] =>
  [...(page.split(`## ${heading}\n`)[1]?.split("\n## ")[0] ?? "").matchAll(/^\| (`.*?) \|/gm)].flatMap(
    ([, cell = ""]) => [...cell.matchAll(/`([\w-]+)/g)].map(([, name = ""]) => name),
  );

it("has all recipes that are built in, and no others", () => {
  expect(namesBelow("Recipes").sort()).toEqual(Object.keys(recipes).sort());
});

it("has all commands, and no others", () => {
  const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
  const { stdout } = spawnSync(process.execPath, [cli, "--help"], { encoding: "utf8" });
  const commands = [...stdout.matchAll(/^ {2}(\w+) .*(?: {2,})\S/gm)].map(([, name]) => name);
  expect(namesBelow("The command").sort()).toEqual(commands.filter((name) => name !== "help").sort());
});
