// PyTorch, eager, in a Python process: images in its default layout and channels-last are two peers of one process.

import { fileURLToPath } from "node:url";
import { torchFormat } from "./format.js";
import type { Missing, Peer } from "./peer.js";
import { Program } from "./program.js";

const script = fileURLToPath(new URL("../../peers/torch_kernels.py", import.meta.url));

// Work on images, which may lie channels-last.
const imageKinds = new Set(["conv", "groupNorm"]);

/** On the CPU, or on the GPU. */
export async function findTorch(device: "cpu" | "cuda" = "cpu"): Promise<readonly (Peer | Missing)[]> {
  const started = await Program.start("python3", [script, device]);
  if (typeof started === "string") return [{ name: "torch", reason: started }];
  const { program, hello: version } = started;
  const peer = (name: string, layout: "first" | "last"): Peer => ({
    name,
    version,
    async contestant({ work, format = "f32" }, threads) {
      if (!work || (layout === "last" && !imageKinds.has(work.kind))) return null;
      const given = device === "cpu" ? torchFormat(format) : format;
      return program.contestant(name, { ...work, format: given, threads, layout });
    },
    dispose: () => program.dispose(),
  });
  return [peer("torch", "first"), peer("torch channels-last", "last")];
}
