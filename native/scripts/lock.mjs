// One build of a tree at a time: two linkers that write the same file leave a mixture of both, which the caches then keep.
// A symbolic link names the process that builds, since making one is a single step, with its content; the link of a
// process that was killed counts no longer.

import { readFileSync, readlinkSync, rmSync, symlinkSync } from "node:fs";

const pollMs = 100;

/** Waits until no other process has `file`, and takes it until this one ends. */
export function lock(file) {
  let told = false;
  while (!take(file)) {
    const owner = ownerOf(file);
    if (owner === undefined) continue;
    if (!isRunning(owner)) removeStale(file);
    else if (!told) {
      console.error(`Waiting for the build of process ${owner}; remove ${file} if that is none.`);
      told = true;
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pollMs);
  }
  process.on("exit", () => rmSync(file, { force: true }));
}

/** One process at a time removes a lock, after another look: what it saw before may be gone, and another's in its place. */
function removeStale(file) {
  const removal = `${file}.removal`;
  if (!take(removal)) return;
  const owner = ownerOf(file);
  if (owner !== undefined && !isRunning(owner)) rmSync(file);
  rmSync(removal);
}

function take(file) {
  try {
    symlinkSync(String(process.pid), file);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

function ownerOf(file) {
  try {
    return Number(readlinkSync(file));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // A process of somebody else cannot be signalled, but is there.
    if (error.code !== "EPERM") return false;
  }
  return !isZombie(pid);
}

/** Whether a process has ended and its parent has not asked how, by proc(5). */
function isZombie(pid) {
  try {
    return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
