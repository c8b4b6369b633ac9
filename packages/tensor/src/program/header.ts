// The C++ headers that mirror the op schemas and the elementwise opcodes, one for each native op. The addon's build writes
// them (scripts/params.mjs), so the two sides cannot drift.

import "../index.js"; // all operations, so that their structs are known
import { cppStruct } from "../ir/schema.js";
import { nativeSchemas } from "../ops/definition.js";
import { elementwiseSchema, opcodes, registerTypes } from "../ops/opcodes.js";

const enumerator = (name: string): string => `k${name[0]?.toUpperCase()}${name.slice(1)}`;

/** What the interpreter's register code is made of. */
const registerCode: readonly string[] = [
  "/// Opcodes of the elementwise interpreter.",
  "enum class Opcode : uint16_t {",
  ...opcodes.map((name, i) => `  ${enumerator(name)} = ${i},`),
  "};",
  `constexpr int kOpcodeCount = ${opcodes.length};`,
  "",
  "/// What a register of the elementwise interpreter holds.",
  "enum class RegisterType : uint8_t {",
  ...registerTypes.map((name, i) => `  ${enumerator(name)} = ${i},`),
  "};",
  `constexpr int kRegisterTypeCount = ${registerTypes.length};`,
  "",
  "struct Instruction {",
  "  Opcode op;",
  "  uint8_t dst;",
  "  uint8_t a;",
  "  uint8_t b;",
  "  uint8_t c;",
  "  RegisterType type;",
  "  uint8_t zero;",
  "  double imm;",
  "};",
  "static_assert(sizeof(Instruction) == 16);",
  "",
];

/** The texts of the headers in native/src/kernels/params, by file name. */
export function generatedHeaders(): ReadonlyMap<string, string> {
  const textOf = (lines: readonly string[]): string =>
    [
      "// Generated from packages/tensor/src/ops by the build; do not edit.",
      "// clang-format off",
      "#pragma once",
      "",
      "#include <cstdint>",
      "",
      "namespace figment {",
      "",
      ...lines,
      "",
      "}  // namespace figment",
      "",
    ].join("\n");
  return new Map(
    nativeSchemas().map((schema) => [
      `${schema.op}.generated.h`,
      textOf([...(schema === elementwiseSchema ? registerCode : []), cppStruct(schema)]),
    ]),
  );
}
