// Results that took long, kept in files between runs.

import { readFile, stat } from "node:fs/promises";
import { writeFileAtomic } from "figment";

export type Json = Readonly<Record<string, unknown>>;

/** The object in a JSON file, or nothing where there is none. */
async function objectIn(file: string): Promise<Json | undefined> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Json) : undefined;
  } catch {
    return undefined;
  }
}

/** The object in a JSON file that has to be there. */
export async function readObject(file: string): Promise<Json> {
  const value = await objectIn(file);
  if (!value) throw new Error(`${file}: expected a JSON object; remove the file to have it made anew`);
  return value;
}

/** What a file keeps of `make`'s result, unless it is damaged or older than the file it was made from; then it is made anew. */
export async function kept(file: string, source: string, make: () => string): Promise<Json> {
  const known = await objectIn(file);
  if (known && (await stat(file)).mtimeMs >= (await stat(source)).mtimeMs) return known;
  await writeFileAtomic(file, make());
  return await readObject(file);
}
