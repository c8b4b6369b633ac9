// figment data: data sets from the web.

import { defaultCache, type FetchProgress, getDataset, listDatasets, showBytes } from "@figment/io";
import { type Progress, showProgress } from "@figment/nn";
import { AbortError } from "@figment/tensor";
import { Command } from "commander";

interface GetOptions {
  readonly cache?: string;
  readonly from?: string;
  readonly json?: boolean;
}

/** Shows one bar for each file. */
class FileProgress {
  private file = "";
  private bar: Progress | undefined;
  private opening = Promise.resolve();

  /** Called for every piece that comes. */
  readonly update = ({ file, received, total }: FetchProgress): void => {
    if (file !== this.file) {
      this.file = file;
      this.opening = this.opening.then(async () => {
        this.bar?.stop();
        this.bar = await showProgress(file, received, total);
      });
    }
    this.bar?.update(received, `${showBytes(received)} of ${showBytes(total)}`);
  };

  async stop(): Promise<void> {
    await this.opening;
    this.bar?.stop();
  }
}

const getCommand = (): Command =>
  new Command("get")
    .description(
      "fetch a data set from where it is published, unless it is there already; Ctrl-C keeps what came so far",
    )
    .argument(
      "<name>",
      listDatasets()
        .map(({ name }) => name)
        .join(", "),
    )
    .option("--cache <folder>", `the folder that keeps data sets (default: ${defaultCache()})`)
    .option("--from <address>", "a folder on the web to fetch from in place of the official one")
    .option("--json", "print one JSON object")
    .action(async (name: string, { cache, from, json }: GetOptions) => {
      const progress = new FileProgress();
      const stop = new AbortController();
      const abort = () => stop.abort(new AbortError("interrupted"));
      process.once("SIGINT", abort);
      try {
        const folder = await getDataset(name, { cache, from, signal: stop.signal, onProgress: progress.update });
        console.log(json ? JSON.stringify({ name, folder }) : folder);
      } finally {
        process.off("SIGINT", abort);
        await progress.stop();
      }
    });

const listCommand = (): Command =>
  new Command("list")
    .description("the data sets that can be fetched")
    .option("--json", "print one JSON array")
    .action(({ json }: { readonly json?: boolean }) => {
      const sets = listDatasets();
      if (json) return console.log(JSON.stringify(sets, null, 2));
      for (const { name, title, files } of sets) {
        console.log(`${name.padEnd(14)} ${title}; ${showBytes(files.reduce((sum, { bytes }) => sum + bytes, 0))}`);
      }
    });

/** The `data` subcommand. */
export const dataCommand = (): Command =>
  new Command("data").description("fetch data sets").addCommand(getCommand()).addCommand(listCommand());
