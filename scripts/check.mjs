// npm run check: format and lint of TypeScript and JSON (Biome), format of C++ (clang-format), types of sources and
// tests. Before the types it deletes what was compiled from files that are gone, which imports would still find. `npm run format` (--write) mends what can be mended.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, run, tool } from "./lib.mjs";

const write = process.argv.includes("--write");

/** C++ and CUDA sources of the repository. */
function nativeSources() {
  const patterns = ["*.cpp", "*.h", "*.cu", "*.cuh"];
  const listed = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "--", ...patterns], {
    cwd: root,
    encoding: "utf8",
  });
  return listed.split("\n").filter((path) => path.length > 0);
}

function clangFormat() {
  if (spawnSync("clang-format", ["--version"]).status !== 0) {
    console.log("clang-format is not installed, C++ formatting not checked. Debian: apt-get install clang-format");
    return 0;
  }
  const files = nativeSources();
  return files.length === 0 ? 0 : run("clang-format", [...(write ? ["-i"] : ["--dry-run", "-Werror"]), ...files]);
}

/** Deletes what was compiled from TypeScript files that are gone. Bundles are made of all modules, of no file alone. */
function deleteStale() {
  const packages = readdirSync(join(root, "packages")).map((name) => [`packages/${name}`, "src"]);
  for (const [folder, sources] of [["native", "ts"], ["benchmarks", "src"], ...packages]) {
    const dist = join(root, folder, "dist");
    if (!existsSync(dist)) continue;
    for (const output of readdirSync(dist, { recursive: true })) {
      const [, module] = /^(.*?)(?:\.d\.ts|\.js)(?:\.map)?$/.exec(output) ?? [];
      if (module === undefined || module === "bundle") continue;
      if (!existsSync(join(root, folder, sources, `${module}.ts`))) rmSync(join(dist, output));
    }
  }
  return 0;
}

const steps = [
  ["Biome", () => run(tool("biome"), ["check", "--error-on-warnings", ...(write ? ["--write"] : []), "."])],
  ["clang-format", clangFormat],
  ["stale outputs", deleteStale],
  ["types", () => run(tool("tsc"), ["-b"])],
  ["types of tests", () => run(tool("tsc"), ["-p", "tsconfig.test.json"])],
];

const failed = steps.filter(([, step]) => step() !== 0).map(([name]) => name);
if (failed.length > 0) {
  console.error(`Check failed: ${failed.join(", ")}${write ? "" : " (npm run format mends formatting)"}`);
  process.exit(1);
}
console.log("Format, lint and types are in order");
