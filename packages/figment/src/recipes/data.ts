// Where recipes find their data sets when they are not told.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { defaultCache } from "@figment/io";
import { UsageError } from "@figment/tensor";

/**
 * The folder that a recipe reads: the one that it is given, or where `figment data get` keeps the set.
 *
 * @param set the name under which `figment data get` knows the set.
 * @throws UsageError when the set is not there; nothing is fetched unasked.
 */
export async function folderOf(data: string | null, set: string): Promise<string> {
  if (data !== null) return data;
  const folder = join(defaultCache(), set);
  if (await stat(folder).catch(() => undefined)) return folder;
  throw new UsageError(
    `--data must name the folder of ${set}, or "figment data get ${set}" fetch it: it is not in ${folder}`,
  );
}
