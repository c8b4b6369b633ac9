// The API reference (npm run docs) has everything that packages export, says something of each, and links to what is there.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const out = mkdtempSync(path.join(os.tmpdir(), "figment-reference-"));
afterAll(() => rmSync(out, { recursive: true, force: true }));
const { status, stderr } = spawnSync(process.execPath, ["scripts/docs.mjs", "--out", out], {
  cwd: root,
  encoding: "utf8",
});

const packages = readdirSync(path.join(root, "packages"));
const pages = new Map(readdirSync(out).map((page) => [page, readFileSync(path.join(out, page), "utf8")]));
const pageOf = (name: string): string => pages.get(`${name}.md`) ?? "";
const anchors = (page: string): Set<string> =>
  new Set([...page.matchAll(/<a id="(\w+)">/g)].map(([, id]) => id as string));

/** Names of types that an index file exports by name. */
function typesOf(name: string): string[] {
  const source = readFileSync(path.join(root, "packages", name, "src", "index.ts"), "utf8");
  return [...source.matchAll(/export (type )?\{([^}]*)\}/g)].flatMap(([, all, list = ""]) =>
    list
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "" && (all || item.startsWith("type ")))
      .map((item) => item.replace(/^type /, "").replace(/.* as /, "")),
  );
}

describe("the API reference", () => {
  it("is written, with a page for each package", () => {
    expect(status, stderr).toBe(0);
    expect([...pages.keys()].sort()).toEqual([...packages.map((name) => `${name}.md`), "README.md"].sort());
  });

  it.each(packages.filter((name) => name !== "figment"))("has every export of %s", async (name) => {
    const exported = [...Object.keys(await import(`@figment/${name}`)), ...typesOf(name)];
    const found = anchors(pageOf(name));
    expect(exported.length).toBeGreaterThan(20);
    expect(exported.filter((one) => !found.has(one))).toEqual([]);
  });

  it("says for the umbrella what it passes on", () => {
    for (const name of packages.filter((one) => one !== "figment"))
      expect(pageOf("figment")).toContain(`@figment/${name}`);
  });

  it("says something of every entry", () => {
    const silent = [...pages].flatMap(([page, text]) =>
      text
        .split('<a id="')
        .slice(1)
        .filter((entry) => !/```\n\n(?!```|- `|<a id|## |$)/.test(entry))
        .map((entry) => `${page} ${entry.slice(0, entry.indexOf('"'))}`),
    );
    expect(silent).toEqual([]);
  });

  it("links to what is there", () => {
    const broken = [...pages].flatMap(([page, text]) =>
      [...text.matchAll(/\]\(([\w-]+\.md)?#(\w+)\)/g)].flatMap(([, target = page, id]) =>
        anchors(pages.get(target) ?? "").has(id as string) ? [] : [`${page}: ${target}#${id}`],
      ),
    );
    expect(broken).toEqual([]);
  });

  it("leaves out what is internal or private", () => {
    expect(pageOf("tensor")).not.toMatch(/@internal|private |tracedValue/);
  });
});
