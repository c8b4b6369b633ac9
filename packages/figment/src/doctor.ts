// figment doctor: what this machine is, and what of it Figment uses.

import os from "node:os";
import { loadBinding } from "@figment/native";
import { Command } from "commander";
import { version } from "./version.js";

/** The lines of the report. */
export function doctorReport(): string {
  const binding = loadBinding();
  const cpu = binding.cpu();
  const rows: [string, string][] = [
    ["figment", version],
    ["node", `${process.version} on ${process.platform} ${process.arch}`],
    ["processor", `${cpu.name}, ${cpu.cores} cores, ${Math.round(os.totalmem() / 2 ** 30)} GiB of memory`],
    ["extensions", cpu.features.join(" ") || "none"],
    ["kernels", `${cpu.isa}, ${cpu.threads} threads`],
    ...binding
      .devices()
      .filter(({ kind }) => kind !== "cpu")
      .map((device): [string, string] =>
        device.index === undefined ? [device.kind, device.reason] : [`${device.kind}:${device.index}`, device.name],
      ),
  ];
  const width = Math.max(...rows.map(([title]) => title.length));
  return rows.map(([title, text]) => `${title.padEnd(width)}  ${text}`).join("\n");
}

/** The `doctor` subcommand. */
export const doctorCommand = (): Command =>
  new Command("doctor").description("show what this machine is and what of it Figment uses").action(() => {
    console.log(doctorReport());
  });
