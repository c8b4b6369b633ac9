// figment inspect: what a file of weights or a folder of data holds.

import { inspectFile, showInspection } from "@figment/io";
import { Command } from "commander";

/** The `inspect` subcommand. */
export const inspectCommand = (): Command =>
  new Command("inspect")
    .description(
      "list names, types, shapes and sizes in a file of weights, or what data a folder holds; runs nothing of it",
    )
    .argument("<file>", "safetensors or its index, PyTorch's or NumPy's file, or a folder of images")
    .option("--json", "print one JSON object")
    .action(async (file: string, { json }: { readonly json?: boolean }) => {
      const inspection = await inspectFile(file);
      console.log(json ? JSON.stringify(inspection, null, 2) : showInspection(inspection));
    });
