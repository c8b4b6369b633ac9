// oneDNN through a small program of ours, compiled against each installation found: the system's, and those that DNNL_ROOT
// names (folders with include/ and lib/, several between colons). Direct and Winograd convolutions are two peers, where the
// version has the second.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Missing, Peer } from "./peer.js";
import { Program } from "./program.js";

const folder = fileURLToPath(new URL("../../peers/", import.meta.url));
const source = join(folder, "onednn_kernels.cpp");

/** A convolution that every version with Winograd has it for, on machines that it was written for. */
const trial = {
  kind: "conv",
  pass: "forward",
  n: 1,
  inChannels: 64,
  outChannels: 64,
  size: 32,
  outSize: 32,
  kernel: 3,
  stride: 1,
  padding: 1,
  format: "f32",
  threads: 1,
  algorithm: "winograd",
} as const;

/** Folders to look in; the empty one is wherever the compiler looks itself. */
const roots = (): readonly string[] => ["", ...(process.env.DNNL_ROOT ?? "").split(delimiter).filter(Boolean)];

/** Compiles the program for an installation, unless that is done; an object says why it cannot be. */
function compiled(root: string): string | { readonly reason: string } {
  const libraries = ["lib", "lib64"].map((name) => join(root, name)).filter(existsSync);
  const places = root === "" ? [] : [`-I${join(root, "include")}`, ...libraries.map((path) => `-L${path}`)];
  const rpaths = root === "" ? [] : libraries.map((path) => `-Wl,-rpath,${path}`);
  const args = ["-O2", "-std=c++17", "-fopenmp", source, ...places, ...rpaths, "-ldnnl"];
  const hash = createHash("sha256").update(readFileSync(source)).update(args.join("\n")).digest("hex");
  const program = join(folder, "build", `onednn-${hash.slice(0, 12)}`);
  if (existsSync(program)) return program;
  mkdirSync(join(folder, "build"), { recursive: true });
  process.stderr.write(`Compiling the peer oneDNN${root && ` of ${root}`} …\n`);
  const compiler = process.env.CXX ?? "c++";
  const { status, stderr, error } = spawnSync(compiler, [...args, "-o", program], { encoding: "utf8" });
  if (status === 0) return program;
  const message =
    error?.message ?? stderr.split("\n").find((line) => /error/.test(line)) ?? stderr.split("\n")[0] ?? "";
  return { reason: `${compiler}: ${message.trim()}` };
}

async function findAt(root: string): Promise<readonly (Peer | Missing)[]> {
  const name = root === "" ? "oneDNN" : `oneDNN of ${root}`;
  const command = compiled(root);
  if (typeof command !== "string") return [{ name, ...command }];
  const started = await Program.start(command, []);
  if (typeof started === "string") return [{ name, reason: started }];
  const { program, hello: version } = started;
  const short = version.split(".").slice(0, 2).join(".");
  const peer = (algorithm: "direct" | "winograd"): Peer => {
    const label = `oneDNN ${short}${algorithm === "winograd" ? " Winograd" : ""}`;
    return {
      name: label,
      version,
      async contestant({ work, format = "f32" }, threads) {
        const has = work?.kind === "conv" || (work?.kind === "matmul" && algorithm === "direct");
        return has ? program.contestant(label, { ...work, format, threads, algorithm }) : null;
      },
      dispose: () => program.dispose(),
    };
  };
  const winograd = await program.contestant("trial", trial);
  if (!winograd) {
    const reason = "no Winograd convolutions in this version on this processor";
    return [peer("direct"), { name: `oneDNN ${short} Winograd`, reason }];
  }
  await winograd.dispose();
  return [peer("direct"), peer("winograd")];
}

export async function findOneDnn(): Promise<readonly (Peer | Missing)[]> {
  const found: (Peer | Missing)[] = [];
  for (const root of roots()) found.push(...(await findAt(root)));
  return found;
}
