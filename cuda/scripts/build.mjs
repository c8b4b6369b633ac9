// Builds the plug-in on the emulator, which tests need on every machine, and the plug-in itself where there are nvcc and a
// GPU. Results: lib/figment_cuda_emulated.so with lib/figment_cuda_faults, on which the emulator itself is tested; and
// figment_cuda.so beside the addon (native/lib), which looks for it there.
//
//   CUDA=AUTO             (default) the plug-in, for this machine's GPUs, where nvcc and a GPU are found
//   CUDA=ON               the plug-in in any case; an error without nvcc
//   CUDA=ONLY             the same without the emulated one: the shortest way to a kernel on a GPU
//   CUDA=QUICK            as ONLY, in some 70 % of the time: nvcc 13 optimises less, so kernels are right but slower
//   CUDA=OFF              the emulated one only
//   CUDAARCHS=90a-real    architectures as CMake lists them, in place of this machine's GPUs; with CUDA=ON, ONLY
//                         or QUICK and no GPU, the default is all of them
//   CUDACXX=…             the nvcc to use, in place of the first of CUDA_PATH, PATH and /usr/local/cuda

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, renameSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { forgetMoved } from "../../native/scripts/cache.mjs";
import { lock } from "../../native/scripts/lock.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const native = join(dirname(root), "native");

function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Whether this is an nvcc that says so. */
const isNvcc = (path) =>
  /Cuda compilation tools/.test(spawnSync(path, ["--version"], { encoding: "utf8" }).stdout ?? "");

function findNvcc() {
  const { CUDACXX, CUDA_PATH } = process.env;
  if (CUDACXX) {
    if (!isNvcc(CUDACXX)) fail(`@figment/cuda: CUDACXX names ${CUDACXX}, which is no nvcc that runs`);
    return CUDACXX;
  }
  const candidates = [CUDA_PATH && join(CUDA_PATH, "bin", "nvcc"), "nvcc", "/usr/local/cuda/bin/nvcc"];
  return candidates.find((path) => path && isNvcc(path));
}

/** Compute capabilities of this machine's GPUs, for example "90a-real". */
function ownArchitectures() {
  const { status, stdout } = spawnSync("nvidia-smi", ["--query-gpu=compute_cap", "--format=csv,noheader"], {
    encoding: "utf8",
  });
  if (status !== 0) return [];
  const capabilities = stdout.split("\n").flatMap((line) => line.match(/^(\d+)\.(\d+)/)?.[0].replace(".", "") ?? []);
  return [...new Set(capabilities)].map((capability) => `${capability}${capability === "90" ? "a" : ""}-real`);
}

function cmake(...args) {
  const { status, error } = spawnSync("cmake", args, { stdio: "inherit", cwd: root });
  if (error) fail(`@figment/cuda: CMake could not be started: ${error.message}`);
  if (status !== 0) fail("@figment/cuda: cmake failed; its messages are above.");
}

function install(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, `${to}.new`);
  renameSync(`${to}.new`, to);
}

const wish = process.env.CUDA ?? "AUTO";
if (!["AUTO", "ON", "ONLY", "QUICK", "OFF"].includes(wish))
  fail(`CUDA is "${wish}"; expected AUTO, ON, ONLY, QUICK or OFF`);
const wanted = ["ON", "ONLY", "QUICK"].includes(wish);
const nvcc = wish === "OFF" ? undefined : findNvcc();
if (wanted && !nvcc)
  fail(`@figment/cuda: CUDA=${wish}, but nvcc was not found (CUDACXX, CUDA_PATH or PATH may name it)`);
const architectures = process.env.CUDAARCHS ?? ownArchitectures().join(";");
const plugin = nvcc !== undefined && (wanted || architectures !== "");
const emulator = wish !== "ONLY" && wish !== "QUICK";
// The variable is CMake's, so it may be set for other projects: it counts where the plug-in is built.
const list = /^\d+[a-z]?(-real|-virtual)?(;\d+[a-z]?(-real|-virtual)?)*$/;
if (plugin && architectures && !list.test(architectures) && !["all", "all-major", "native"].includes(architectures))
  fail(
    `@figment/cuda: CUDAARCHS is "${architectures}"; expected architectures such as 80-real;90a-real, or all, all-major or native`,
  );

const build = join(root, "build");
mkdirSync(build, { recursive: true });
lock(join(build, "lock"));
forgetMoved(build);
cmake(
  "-S",
  root,
  "-B",
  build,
  "-DCMAKE_BUILD_TYPE=Release",
  `-DFIGMENT_CUDA=${plugin ? "ON" : "OFF"}`,
  `-DFIGMENT_EMULATOR=${emulator ? "ON" : "OFF"}`,
  `-DFIGMENT_QUICK=${wish === "QUICK" ? "ON" : "OFF"}`,
  ...(plugin ? [`-DCMAKE_CUDA_COMPILER=${nvcc}`, `-DFIGMENT_ARCHITECTURES=${architectures}`] : []),
);
cmake("--build", build, "--parallel", String(availableParallelism()));
for (const name of emulator ? ["figment_cuda_emulated.so", "figment_cuda_faults"] : [])
  install(join(build, "emulator", name), join(root, "lib", name));
const built = join(build, "figment_cuda.so");
if (plugin && existsSync(built)) install(built, join(native, "lib", "figment_cuda.so"));
