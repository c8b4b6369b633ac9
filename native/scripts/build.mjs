// Builds the addon: checks for the tools first and says, once and clearly, how to get those that are
// missing; then compiles the TypeScript here and of @figment/tensor, whose definitions of operations give the C++ structs
// of their parameters (src/kernels/params, not in git); then configures and builds with cmake-js, and puts the result
// where the loader looks for it.
//
// FIGMENT_BUILD_SANITIZE=address|undefined|thread (or several, joined by commas) builds an instrumented addon in its own folder.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, platform, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { forgetMoved } from "./cache.mjs";
import { lock } from "./lock.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const minimumCmake = [3, 18];
const sanitize = process.env.FIGMENT_BUILD_SANITIZE ?? "";
const suffix = sanitize ? `-${sanitize.replaceAll(",", "-")}` : "";

/** What a command prints, or null when it cannot run or fails. */
function output(command, args) {
  const result = spawnSync(command, args, { encoding: "utf8" });
  return result.status === 0 ? result.stdout : null;
}

function cmakeProblem() {
  const text = output("cmake", ["--version"]);
  const version = text?.match(/(\d+)\.(\d+)/);
  if (!version) return "CMake was not found";
  const [major, minor] = [Number(version[1]), Number(version[2])];
  const recent = major > minimumCmake[0] || (major === minimumCmake[0] && minor >= minimumCmake[1]);
  return recent ? null : `CMake ${major}.${minor} is too old (${minimumCmake.join(".")} is needed)`;
}

/** Compiles a few lines that need C++20 and its library: a compiler that is there may still be too old. */
function compilerProblem() {
  const folder = mkdtempSync(join(tmpdir(), "figment-probe-"));
  try {
    const source = join(folder, "probe.cpp");
    writeFileSync(
      source,
      "#include <atomic>\n#include <bit>\n#include <span>\nint main() { std::atomic<int> a{0}; a.notify_one(); return std::bit_width(0u); }\n",
    );
    const candidates = process.env.CXX ? [process.env.CXX] : ["c++", "g++", "clang++"];
    for (const compiler of candidates) {
      if (output(compiler, ["-std=c++20", "-fsyntax-only", source]) !== null) return null;
    }
    return `no C++20 compiler was found (tried ${candidates.join(", ")})`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The command that installs the tools on this system. */
function installCommand() {
  if (platform() === "darwin") return "xcode-select --install && brew install cmake";
  const managers = [
    ["apt-get", "sudo apt-get install -y cmake g++ make"],
    ["dnf", "sudo dnf install -y cmake gcc-c++ make"],
    ["pacman", "sudo pacman -S --needed cmake gcc make"],
    ["apk", "sudo apk add cmake g++ make"],
    ["zypper", "sudo zypper install -y cmake gcc-c++ make"],
  ];
  const found = managers.find(([manager]) => output(manager, ["--version"]) !== null);
  return found?.[1] ?? "install CMake 3.18 or newer, make, and g++ 11 or clang++ 14 or newer";
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

function node(what, ...args) {
  const result = spawnSync(process.execPath, args, { stdio: "inherit", cwd: root });
  if (result.status !== 0) fail(`@figment/native: ${what} failed; its messages are above.`);
}

/** The structs that the definitions give. The project of @figment/tensor refers to the one here, so both are compiled. */
function generateParams() {
  const typescript = dirname(createRequire(import.meta.url).resolve("typescript/package.json"));
  const tensor = join(dirname(root), "packages", "tensor");
  node("compiling TypeScript", join(typescript, "bin", "tsc"), "-b", tensor);
  node("generating structs", join(tensor, "scripts", "params.mjs"), join(root, "src", "kernels", "params"));
}

function cmakeJs(command, ...args) {
  const require = createRequire(import.meta.url);
  const script = require.resolve("cmake-js/bin/cmake-js");
  const folder = `build${suffix}`;
  const common = ["--directory", root, "--out", join(root, folder), "--config", "Release"];
  node(`cmake-js ${command}`, script, command, ...common, ...args);
  return join(root, folder, "Release", "figment.node");
}

const problems = [cmakeProblem(), compilerProblem()].filter((problem) => problem !== null);
if (problems.length > 0) {
  fail(
    `@figment/native cannot be built: ${problems.join("; ")}.\nInstall what is missing with\n\n    ${installCommand()}\n\nand run the build again.`,
  );
}

mkdirSync(join(root, "build"), { recursive: true });
lock(join(root, "build", "lock"));
generateParams();

forgetMoved(join(root, `build${suffix}`));

// `configure` first: `build` alone ignores changed options. Never `compile`: it deletes the tree on any error.
cmakeJs("configure", ...(sanitize ? [`--CDFIGMENT_SANITIZE=${sanitize}`] : []));
const built = cmakeJs("build", "--parallel", String(availableParallelism()));
if (!existsSync(built)) fail(`@figment/native: the build left no ${built}`);

// Renamed into place, because a running process may have the old file mapped.
const target = join(root, "lib", `figment${suffix}.node`);
mkdirSync(dirname(target), { recursive: true });
copyFileSync(built, `${target}.new`);
renameSync(`${target}.new`, target);
