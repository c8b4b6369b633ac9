// What a package holds when it is published: its README speaks of files that come with it.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const packages = fileURLToPath(new URL("../../", import.meta.url));

/** Targets of links and pictures that are no addresses and no headings. */
const filesLinked = (markdown: string): readonly string[] =>
  [...markdown.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
    .map(([, target]) => target as string)
    .filter((to) => !/^\w+:/.test(to));

describe.each(readdirSync(packages))("the package of packages/%s", (name) => {
  const folder = `${packages}${name}/`;
  const { files } = JSON.parse(readFileSync(`${folder}package.json`, "utf8")) as { files: readonly string[] };

  it("holds every file that its README links to", () => {
    for (const target of filesLinked(readFileSync(`${folder}README.md`, "utf8"))) {
      expect(files, target).toContain(target.split("/")[0]);
      expect(existsSync(folder + target), target).toBe(true);
    }
  });
});
