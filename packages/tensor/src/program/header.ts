// The C++ header that mirrors the op schemas and the elementwise opcodes. A test compares it with the
// committed file, so the two sides cannot drift.

import "../index.js"; // all operations, so that their structs are known
import { cppStruct } from "../ir/schema.js";
import { nativeSchemas } from "../ops/definition.js";
import { opcodes, registerTypes } from "../ops/opcodes.js";

const enumerator = (name: string): string => `k${name[0]?.toUpperCase()}${name.slice(1)}`;

/** The text of native/src/kernels/params.generated.h. */
export function generatedHeader(): string {
  return [
    "// Generated from packages/tensor/src/ops by its script generate; do not edit.",
    "// clang-format off",
    "#pragma once",
    "",
    "#include <cstdint>",
    "",
    "namespace figment {",
    "",
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
    ...nativeSchemas().flatMap((schema) => [cppStruct(schema), ""]),
    "}  // namespace figment",
    "",
  ].join("\n");
}
