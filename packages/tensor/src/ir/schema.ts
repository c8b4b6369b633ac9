// Parameter schemas: the fields of a native op's parameter struct, their packing into bytes, and the
// C++ struct generated from them. The one place that knows how TypeScript numbers become C memory.
// Imports nothing.

/** A scalar field of a parameter struct. */
export type FieldType = "i32" | "i64" | "f32" | "f64";

/** A field: a scalar type, or a fixed-length array of one, written `["i32", 2]`. */
export type Field = FieldType | readonly [FieldType, number];

/** The fields of a parameter struct, in memory order. */
export type Fields = Readonly<Record<string, Field>>;

/** The values that fill a struct with these fields. */
export type ParamValues<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends FieldType ? number : readonly number[];
};

/** A named parameter struct, shared with the native side and identified by its hash. */
export interface Schema<F extends Fields = Fields> {
  /** The native op that the struct belongs to. */
  readonly op: string;
  readonly fields: F;
  /** Whether a tail of bytes follows the struct. */
  readonly tail: boolean;
  /** Size of the struct in bytes, a multiple of 8. */
  readonly bytes: number;
  /** 64-bit FNV-1a of the canonical text; the loader refuses a program whose hash differs. */
  readonly hash: bigint;
}

const fieldBytes: Record<FieldType, number> = { i32: 4, i64: 8, f32: 4, f64: 8 };
const cppType: Record<FieldType, string> = {
  i32: "int32_t",
  i64: "int64_t",
  f32: "float",
  f64: "double",
};

const typeOf = (field: Field): FieldType => (typeof field === "string" ? field : field[0]);
const countOf = (field: Field): number => (typeof field === "string" ? 1 : field[1]);
const alignUp = (offset: number, to: number): number => Math.ceil(offset / to) * to;

/** Declares the parameter struct of a native op. Fields lie in order, each at its natural alignment. */
export function schema<const F extends Fields>(op: string, fields: F, tail = false): Schema<F> {
  const text = canonicalText(op, fields, tail);
  return { op, fields, tail, bytes: structBytes(fields), hash: fnv1a(text) };
}

/** Packs values (and the tail, if the schema has one) into the struct's bytes. */
export function packParams<F extends Fields>(
  { fields, tail, bytes, op }: Schema<F>,
  values: ParamValues<F>,
  tailBytes?: Uint8Array,
): Uint8Array {
  if (tail !== (tailBytes !== undefined))
    throw new Error(`${op}: a byte tail is ${tail ? "required" : "not part of the schema"}`);
  const out = new Uint8Array(bytes + (tailBytes?.length ?? 0));
  const view = new DataView(out.buffer);
  let offset = 0;
  for (const [name, field] of Object.entries(fields)) {
    const type = typeOf(field);
    const size = fieldBytes[type];
    offset = alignUp(offset, size);
    const value = values[name] as number | readonly number[];
    const list = typeof value === "number" ? [value] : value;
    if (list.length !== countOf(field))
      throw new Error(`${op}.${name}: ${list.length} values for ${countOf(field)} places`);
    for (const item of list) {
      writeField(view, offset, type, item);
      offset += size;
    }
  }
  if (tailBytes) out.set(tailBytes, bytes);
  return out;
}

/** The C++ struct for a schema, as text. */
export function cppStruct({ op, fields, bytes, hash }: Schema): string {
  const name = `${op[0]?.toUpperCase()}${op.slice(1)}Params`;
  const lines = Object.entries(fields).map(([field, spec]) => {
    const count = countOf(spec);
    return `  ${cppType[typeOf(spec)]} ${field}${count === 1 && typeof spec === "string" ? "" : `[${count}]`};`;
  });
  const used = fieldsEnd(fields);
  if (used < bytes) lines.push(`  uint8_t padding_[${bytes - used}];`);
  return [
    `struct ${name} {`,
    `  static constexpr uint64_t kHash = 0x${hash.toString(16).padStart(16, "0")}ull;`,
    ...lines,
    "};",
    `static_assert(sizeof(${name}) == ${Math.max(bytes, 1)});`,
  ].join("\n");
}

function writeField(view: DataView, offset: number, type: FieldType, value: number): void {
  if (type === "i32") view.setInt32(offset, value, true);
  else if (type === "i64") view.setBigInt64(offset, BigInt(value), true);
  else if (type === "f32") view.setFloat32(offset, value, true);
  else view.setFloat64(offset, value, true);
}

function fieldsEnd(fields: Fields): number {
  let offset = 0;
  for (const field of Object.values(fields)) {
    const size = fieldBytes[typeOf(field)];
    offset = alignUp(offset, size) + size * countOf(field);
  }
  return offset;
}

const structBytes = (fields: Fields): number => alignUp(fieldsEnd(fields), 8);

function canonicalText(op: string, fields: Fields, tail: boolean): string {
  const parts = Object.entries(fields).map(([name, field]) => `${name}:${typeOf(field)}[${countOf(field)}]`);
  return `${op}{${parts.join(",")}}${tail ? "+tail" : ""}`;
}

function fnv1a(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  }
  return hash;
}
