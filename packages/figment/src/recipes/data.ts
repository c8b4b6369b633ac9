// Where recipes find their data sets when they are not told.

import { UsageError } from "@figment/tensor";

/**
 * The folder that a recipe reads: the one that it is given.
 *
 * @param set the name under which `figment data get` knows the set; null for one that everybody brings himself.
 */
export function folderOf(recipe: string, data: string | null, set: string | null): string {
  if (data !== null) return data;
  throw new UsageError(
    `${recipe}: --data must name the folder of ${set === null ? "the pictures" : `the files of ${set}`}`,
  );
}
