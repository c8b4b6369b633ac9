// Data sets from the web, kept in a folder of this machine.

import { join, resolve } from "node:path";
import { cacheFolder, checkObject, show, UsageError } from "@figment/tensor";
import { DataError, messageOf } from "../../errors.js";
import { checkPath } from "../../files/checkPath.js";
import { type FetchOptions, type FetchProgress, fetchFile, isWhole } from "./fetchFile.js";
import { type RemoteDataset, remoteDatasets } from "./sources.js";

/** Options of {@link getDataset}. */
export interface GetDatasetOptions extends FetchOptions {
  /** The folder that keeps data sets, each in one of its own. Default: `figment/data` in the user's cache folder. */
  readonly cache?: string;
  /** A folder on the web to fetch from in place of the official ones, for mirrors; checksums stay. */
  readonly from?: string;
}

export type { FetchProgress };

/**
 * The data sets that {@link getDataset} knows.
 *
 * @example
 * const names = listDatasets().map(({ name }) => name);
 * names.length; // 3
 */
export const listDatasets = (): readonly RemoteDataset[] => [...remoteDatasets.values()];

/**
 * Where {@link getDataset} keeps data sets when nothing is said: see {@link cacheFolder}.
 *
 * @example
 * console.log(defaultCache());
 */
export const defaultCache = (): string => cacheFolder("data");

/**
 * Fetches a data set from where it is published, unless it is there already, and gives its folder. Files are checked against
 * known checksums, and a download that broke off is gone on with.
 *
 * @throws UsageError for an unknown name.
 * @throws DataError when it cannot be fetched, saying what every place answered and how to do without a network.
 * @example
 * const folder = await getDataset("mnist", { cache: "data" }).catch(() => "data/mnist");
 * const test = await mnist(folder, { split: "test" });
 */
export async function getDataset(name: string, given: GetDatasetOptions = {}): Promise<string> {
  const { cache, from, ...options } = checkObject("getDataset", "options", given);
  const set = remoteDatasets.get(name);
  if (!set)
    throw new UsageError(`getDataset: no data set ${show(name)}; known are ${[...remoteDatasets.keys()].join(", ")}`);
  if (cache !== undefined) checkPath("getDataset", "cache", cache);
  const places = from === undefined ? set.places : [placeOf(from)];
  const folder = resolve(cache ?? defaultCache(), name);
  options.signal?.throwIfAborted();
  for (const file of set.files) {
    if (await isWhole(join(folder, file.name), file)) continue;
    try {
      await fetchFile(places, file, folder, options);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      throw new DataError(`${messageOf(error)}\n${adviceFor(set, folder)}`, { path: folder, cause: error });
    }
  }
  return folder;
}

function placeOf(from: string): string {
  const url = URL.canParse(from) ? new URL(from) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new UsageError(`getDataset: from must be an http or https address, got ${JSON.stringify(from)}`);
  }
  return from.endsWith("/") ? from : `${from}/`;
}

/** What to do where there is no network. */
function adviceFor({ name, files, places }: RemoteDataset, folder: string): string {
  const names = files.map((file) => file.name).join(", ");
  return (
    `Without a network: fetch ${names} from ${places[0]} elsewhere and put them into ${folder}, where they are found and checked; ` +
    `or name another place that has ${name} (option "from"). What came so far stays there and is gone on with next time.`
  );
}
