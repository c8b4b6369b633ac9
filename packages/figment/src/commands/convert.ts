// figment convert: weights from one format to another.

import { convertCheckpoint, showBytes } from "@figment/io";
import { Command, Option } from "commander";

interface ConvertOptions {
  readonly select?: string;
  readonly objects: "refuse" | "records";
  readonly json?: boolean;
}

/** The `convert` subcommand. */
export const convertCommand = (): Command =>
  new Command("convert")
    .description("write the tensors of a file (PyTorch, safetensors or its index, NumPy) as .safetensors, .npz or .npy")
    .argument("<input>", "the file to read; what it is is told by its contents")
    .argument("<output>", "the file to write; its name's ending says the format")
    .option("--select <path>", "the part of a PyTorch file to take, such as params_ema")
    .addOption(
      new Option("--objects <how>", "what to do with objects of unknown classes in a PyTorch file")
        .choices(["refuse", "records"])
        .default("refuse"),
    )
    .option("--json", "print one JSON object")
    .action(async (input: string, output: string, { select, objects, json }: ConvertOptions) => {
      const converted = await convertCheckpoint(input, output, { select, objects });
      const text = `${output}: ${converted.tensors} tensors, ${showBytes(converted.bytes)}`;
      console.log(json ? JSON.stringify({ input, output, ...converted }) : text);
    });
