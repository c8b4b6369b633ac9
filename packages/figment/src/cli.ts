#!/usr/bin/env node
// The figment command. Each subcommand lives in a file of its own; this one only wires them.

import { interruptedCode } from "@figment/nn";
import { FigmentError } from "@figment/tensor";
import { Command } from "commander";
import { convertCommand } from "./commands/convert.js";
import { dataCommand } from "./commands/data.js";
import { inspectCommand } from "./commands/inspect.js";
import { doctorCommand } from "./doctor.js";
import { firstLightCommand } from "./firstLight/command.js";
import { version } from "./version.js";

const program = new Command("figment")
  .description("Generative models in TypeScript on native kernels")
  .version(version)
  .showHelpAfterError("(add --help for the options)")
  .addCommand(firstLightCommand())
  .addCommand(inspectCommand())
  .addCommand(convertCommand())
  .addCommand(dataCommand())
  .addCommand(doctorCommand());

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof Error && error.name === "AbortError") {
    process.exitCode = interruptedCode;
  } else if (error instanceof FigmentError) {
    console.error(`\n${error.name}: ${error.message}`);
    process.exitCode = 1;
  } else if (error instanceof Error && "syscall" in error) {
    // The system's own words say which file and why.
    console.error(`\n${error.message}`);
    process.exitCode = 1;
  } else {
    throw error;
  }
}
