// npm run gpu:bundle [-- --node] [--out FILE]: one archive with all that a machine needs that has nvcc, CMake and a C++
// compiler but no network: sources, what is built already, the packages that tests load, and with --node a Node binary.
// There: unpack it and run ./gpu-check, which builds the plug-in for the GPU it finds, tests and measures it.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build, fail, root } from "../lib.mjs";

function readOptions() {
  try {
    return parseArgs({
      options: {
        node: { type: "boolean", default: false },
        out: { type: "string", default: join("out", "gpu-check.tar.xz") },
      },
    }).values;
  } catch (error) {
    return fail(error.message);
  }
}
const options = readOptions();
const mostBytes = 60e6;

/** What ends the script with a message, after its temporary files are gone. */
class Failure extends Error {}

function output(command, args, settings = {}) {
  const { status, stdout, error } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    cwd: root,
    ...settings,
  });
  if (error) throw new Failure(`${command} could not be started: ${error.message}`);
  if (status !== 0) throw new Failure(`${command} ${args.join(" ")} failed`);
  return stdout;
}

/** The folders of a package and of all that it needs, from the lock file. */
function foldersOf(names) {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const seen = new Set();
  const find = (name, from) => {
    for (let folder = from; ; ) {
      const path = folder ? `${folder}/node_modules/${name}` : `node_modules/${name}`;
      if (packages[path]) return path;
      if (!folder) return undefined;
      const cut = folder.lastIndexOf("/node_modules/");
      folder = cut < 0 ? "" : folder.slice(0, cut);
    }
  };
  const visit = (path) => {
    if (path === undefined || seen.has(path)) return;
    seen.add(path);
    const entry = packages[path];
    if (entry.link) return visit(entry.resolved);
    const { dependencies, optionalDependencies, peerDependencies } = entry;
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies }))
      visit(find(name, path));
  };
  for (const name of names) visit(find(name, ""));
  return [...seen].filter((path) => existsSync(join(root, path)));
}

await build();
const stage = mkdtempSync(join(tmpdir(), "figment-bundle-"));
const folder = join(stage, "figment-gpu");
try {
  const place = (path) => cpSync(join(root, path), join(folder, path), { recursive: true, verbatimSymlinks: true });
  const unwanted = /^(docs|\.ci|examples)\/|\.(png|jpg|gif|md)$/;
  const tracked = output("git", ["ls-files"])
    .split("\n")
    .filter((path) => path && !unwanted.test(path));
  for (const path of tracked) if (existsSync(join(root, path))) place(path);
  const workspaces = [
    "native",
    ...["tensor", "io", "nn", "vae", "gan", "diffusion", "metrics", "figment"].map((p) => `packages/${p}`),
    "benchmarks",
  ];
  for (const path of workspaces) if (existsSync(join(root, path, "dist"))) place(`${path}/dist`);
  place("native/src/kernels/params");
  mkdirSync(join(folder, "native", "lib"), { recursive: true });
  output("strip", ["-o", join(folder, "native", "lib", "figment.node"), join(root, "native", "lib", "figment.node")]);
  // Built already for its architecture, where it is: `gpu-check` without the step `build` uses it.
  const prebuilt = join(root, "native", "lib", "figment_cuda.so");
  if (existsSync(prebuilt)) output("strip", ["-o", join(folder, "native", "lib", "figment_cuda.so"), prebuilt]);
  // Whose verdicts the emulator gives, for the step that compares them with compute-sanitizer's.
  mkdirSync(join(folder, "cuda", "lib"), { recursive: true });
  output("strip", [
    "-o",
    join(folder, "cuda", "lib", "figment_cuda_faults"),
    join(root, "cuda", "lib", "figment_cuda_faults"),
  ]);
  // What tests and the packages load; nothing of the tools that only build or check the repository.
  const external = foldersOf(["vitest", "vite", "figment", "@figment/benchmarks"]).filter((path) =>
    path.startsWith("node_modules/"),
  );
  const tools = new Set(["node_modules/typescript", "node_modules/turbo", "node_modules/cmake-js"]);
  for (const path of external) {
    if (tools.has(path) || path.startsWith("node_modules/@typescript/") || !existsSync(join(root, path))) continue;
    place(path);
  }
  place("node_modules/@figment");
  if (existsSync(join(root, "node_modules", "figment"))) place("node_modules/figment");
  if (options.node) {
    mkdirSync(join(folder, "bin"), { recursive: true });
    output("strip", ["-o", join(folder, "bin", "node"), process.execPath]);
  }
  writeFileSync(
    join(folder, "gpu-check"),
    '#!/bin/sh\n# Builds, tests and measures the CUDA plug-in on this machine; --help lists the steps.\nfrom=$PWD\ncd "$(dirname "$0")" || exit 1\n' +
      'node=node\n[ -x bin/node ] && node=bin/node\nexec "$node" scripts/gpu/check.mjs --from "$from" "$@"\n',
    { mode: 0o755 },
  );
  const out = resolve(root, options.out);
  mkdirSync(dirname(out), { recursive: true });
  output("tar", ["-C", stage, "-cJf", out, "figment-gpu"], { env: { ...process.env, XZ_OPT: "-6 -T0" } });
  const { size } = statSync(out);
  console.log(
    `${options.out}: ${(size / 1e6).toFixed(1)} MB. On the machine with the GPU:\n\n    tar xf ${basename(out)} && figment-gpu/gpu-check\n`,
  );
  if (size > mostBytes) throw new Failure(`the archive is larger than ${mostBytes / 1e6} MB`);
} catch (error) {
  if (!(error instanceof Failure || error.code)) throw error;
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(stage, { recursive: true, force: true });
}
