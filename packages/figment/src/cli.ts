#!/usr/bin/env node
// The figment command. Each subcommand lives in a file of its own; this one only wires them.

import { Command } from "commander";
import { benchCommand } from "./commands/bench.js";
import { convertCommand } from "./commands/convert.js";
import { dataCommand } from "./commands/data.js";
import { exitCodesHelp, explain } from "./commands/exitCodes.js";
import { initCommand } from "./commands/init.js";
import { inspectCommand } from "./commands/inspect.js";
import { trainCommand } from "./commands/train.js";
import { tuneCommand } from "./commands/tune.js";
import { evaluateCommand, interpolateCommand, reconstructCommand, sampleCommand } from "./commands/use.js";
import { doctorCommand } from "./doctor.js";
import { version } from "./version.js";

const program = new Command("figment")
  .description("Generative models in TypeScript on native kernels")
  .version(version)
  .showHelpAfterError("(add --help for the options)")
  .enablePositionalOptions()
  .exitOverride()
  .addHelpText("after", exitCodesHelp);

const commands = [
  trainCommand,
  sampleCommand,
  reconstructCommand,
  interpolateCommand,
  evaluateCommand,
  inspectCommand,
  convertCommand,
  dataCommand,
  initCommand,
  benchCommand,
  tuneCommand,
  doctorCommand,
];
for (const make of commands) {
  const command = make().copyInheritedSettings(program);
  for (const part of command.commands) part.copyInheritedSettings(program);
  program.addCommand(command);
}

try {
  await program.parseAsync();
} catch (error) {
  const known = explain(error);
  if (!known) throw error;
  if (known.message) console.error(`\n${known.message}`);
  process.exitCode = known.code;
}
