// The register code of the elementwise interpreter: opcodes, register types and the 16-byte
// instruction. The C++ enums are generated from these lists; order is the encoding.

import { nativeSchema } from "./definition.js";

/** What a register holds. u8 and bool values are held as i32; bf16 and f16 as f32. */
export const registerTypes = ["f32", "f64", "i32"] as const;
export type RegisterType = (typeof registerTypes)[number];

/**
 * Instructions. `load`: a = input ordinal. `store`: a = register, b = output ordinal. `constant`: imm.
 * `cast`: b = source register type. Comparisons read registers of the instruction's type and give an
 * i32 0 or 1. `select`: a = i32 condition, b where non-zero, c elsewhere. The rest: dst = op(a, b).
 */
export const opcodes = [
  "load",
  "store",
  "constant",
  "cast",
  "select",
  "add",
  "sub",
  "mul",
  "div",
  "maximum",
  "minimum",
  "pow",
  "rem",
  "neg",
  "abs",
  "sign",
  "exp",
  "expm1",
  "log",
  "log1p",
  "sqrt",
  "rsqrt",
  "square",
  "tanh",
  "sigmoid",
  "softplus",
  "erf",
  "sin",
  "cos",
  "floor",
  "ceil",
  "round",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
] as const;
export type Opcode = (typeof opcodes)[number];

/** The parameters of the interpreter; register code in the tail: `instructions` × 16 bytes. */
export const elementwiseSchema = nativeSchema("elementwise", { instructions: "i32", registers: "i32" }, true);

/** One instruction: {u16 op; u8 dst; u8 a; u8 b; u8 c; u8 type; u8 zero; f64 imm}, little-endian. */
export const instructionBytes = 16;
