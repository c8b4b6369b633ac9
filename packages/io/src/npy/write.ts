// Writing NumPy's files, atomically and with bytes that depend on the contents alone.

import { checkObject, checkTensor, DTypeError, type Tensor } from "@figment/tensor";
import { numpyOfType } from "../elements/numpy.js";
import { asBytes, type BytesToWrite } from "../elements/toWrite.js";
import { type WriteBytes, writeAtomically } from "../files/atomic.js";
import { checkPath } from "../files/checkPath.js";
import { ZipWriter } from "../files/zipWrite.js";
import { encodeNpyHeader } from "./header.js";

/**
 * Saves a tensor as a .npy file, atomically.
 *
 * @throws DTypeError for bf16, which NumPy lacks.
 * @example
 * await saveNpy("weight.npy", weight);
 */
export async function saveNpy(path: string, tensor: Tensor): Promise<void> {
  checkPath("saveNpy", "path", path);
  checkTensor("saveNpy", "tensor", tensor);
  await writeNpy(path, asBytes(tensor));
}

/**
 * Saves tensors as a .npz file, atomically. The tensors must not be disposed before the promise resolves.
 *
 * @throws DTypeError for bf16, which NumPy lacks.
 * @example
 * await saveNpz("layer.npz", { weight, bias });
 */
export async function saveNpz(path: string, tensors: Readonly<Record<string, Tensor>>): Promise<void> {
  checkPath("saveNpz", "path", path);
  await writeNpz(
    path,
    new Map(
      Object.entries(checkObject("saveNpz", "tensors", tensors)).map(([name, tensor]) => [name, asBytes(tensor)]),
    ),
  );
}

/** Writes one array of any type that NumPy has. */
export async function writeNpy(path: string, source: BytesToWrite): Promise<void> {
  const header = headerOf("the array", source);
  await writeAtomically(path, async (write: WriteBytes) => {
    await write(header);
    await write(await source.bytes());
  });
}

/** Writes arrays of any types that NumPy has, each when its turn comes. */
export async function writeNpz(path: string, sources: ReadonlyMap<string, BytesToWrite>): Promise<void> {
  const headers = [...sources].map(([name, source]) => headerOf(JSON.stringify(name), source));
  await writeAtomically(path, async (write) => {
    const zip = new ZipWriter(write);
    let i = 0;
    for (const [name, source] of sources) {
      await zip.add(`${name}.npy`, [headers[i++] as Uint8Array, await source.bytes()]);
    }
    await zip.finish();
  });
}

function headerOf(what: string, { type, shape }: BytesToWrite): Uint8Array {
  const code = numpyOfType(type);
  if (code === undefined)
    throw new DTypeError(`NumPy's files have no ${type}, which ${what} is of; cast it to f32 first`);
  return encodeNpyHeader(code, shape);
}
