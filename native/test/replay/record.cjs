// Stands in for the addon (FIGMENT_BINDING) and notes what programs do: each run's program, what it was given and what
// it left, in a file of FIGMENT_RECORD's folder, for the program beside this file to repeat on another processor.
//
// A call is: program, variant asked for, kernels, outcome; then four lists: inputs, states before, outputs, states after.
// Numbers are u64, little-endian. A list is its length and its payloads. A payload is the number that it has in the
// file, and when it is the next free one, its length and its bytes.

const { appendFileSync, mkdirSync } = require("node:fs");
const { createHash } = require("node:crypto");
const { join } = require("node:path");

const native = require(join(__dirname, "..", "..", "lib", "figment.node"));
const folder = process.env.FIGMENT_RECORD;
if (!folder) throw new Error("FIGMENT_RECORD has to name the folder that calls are written to");
mkdirSync(folder, { recursive: true });
const file = join(folder, `${process.pid}.calls`);

/** Calls with more bytes than this are left out: an emulator would take long for them. */
const mostBytes = 2 ** 22;
/** In a program's header (native/src/runtime/program_format.h). */
const [inputCountAt, outputCountAt, stateCountAt] = [24, 28, 32];

const known = new Map();
const seen = new Set();
const programs = new Map();
const bindings = new Map();

const digest = (parts) => {
  const hash = createHash("sha1");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("base64");
};

const number = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

function payload(bytes) {
  const key = digest([bytes]);
  const index = known.get(key);
  if (index !== undefined) return [number(index)];
  known.set(key, known.size);
  return [number(known.size - 1), number(bytes.length), bytes];
}

const list = (all) => [number(all.length), ...all.flatMap(payload)];

function write({ program, variant, kernels = "", outcome = "", inputs = [], before = [], outputs = [], after = [] }) {
  const head = [program, ...[variant, kernels, outcome].map((text) => Buffer.from(text))].flatMap(payload);
  appendFileSync(file, Buffer.concat([...head, ...[inputs, before, outputs, after].flatMap(list)]));
}

const contents = (handle) => Buffer.from(native.readSync(handle, 0, native.byteLength(handle)));

/** Notes a call unless it has been noted; `make` makes it. */
function note(key, make) {
  if (seen.has(key)) return;
  seen.add(key);
  write(make());
}

function loadProgram(blob, variant) {
  const program = Buffer.from(Uint8Array.prototype.slice.call(blob));
  const asked = variant ?? "";
  try {
    const handle = native.loadProgram(blob, variant);
    const kernels = native.programInfo(handle).records.map(({ op, variant: ran }) => `${op} ${ran}`);
    programs.set(handle, { program, variant: asked, kernels: kernels.join(",") });
    return handle;
  } catch (error) {
    note(digest([program, asked]), () => ({ program, variant: asked, outcome: error.message }));
    throw error;
  }
}

function bind(program, states) {
  const handle = native.bind(program, states);
  bindings.set(handle, [...states.subarray(0, programs.get(program).program.readUInt32LE(stateCountAt))]);
  return handle;
}

/** An input's bytes; one without a buffer is the number as many places behind it as there are inputs. */
const inputAt = (inputs, count) => (_, i) =>
  inputs[i] > 0 ? contents(inputs[i]) : Buffer.from(Float64Array.of(inputs[count + i]).buffer);

/** What a run is given; undefined when it is not to be noted: it has much of it, or an earlier run failed to make it. */
function given({ program }, binding, inputs) {
  const count = program.readUInt32LE(inputCountAt);
  try {
    const values = Array.from({ length: count }, inputAt(inputs, count));
    const before = (bindings.get(binding) ?? []).map(contents);
    const bytes = [...values, ...before].reduce((sum, part) => sum + part.length, 0);
    return bytes <= mostBytes ? { inputs: values, before } : undefined;
  } catch {
    return undefined;
  }
}

/** What a run has left. */
function left({ program }, binding, outputs) {
  const count = program.readUInt32LE(outputCountAt);
  try {
    const made = Array.from({ length: count }, (_, i) => contents(outputs[i]));
    return { outputs: made, after: (bindings.get(binding) ?? []).map(contents) };
  } catch (error) {
    return { outcome: error.message };
  }
}

function run(program, binding, inputs, outputs, cancel) {
  const call = programs.get(program);
  const known = call && cancel === 0 ? given(call, binding, inputs) : undefined;
  native.run(program, binding, inputs, outputs, cancel);
  if (!known) return;
  const key = digest([call.program, call.variant, ...known.inputs, ...known.before]);
  note(key, () => ({ ...call, ...known, ...left(call, binding, outputs) }));
}

/** Kernels of other instruction sets are not there on other processors. */
const variants = (op) => native.variants(op).filter(({ isa }) => isa === "generic");

native.setIsa("generic");
native.setPoison(true);
module.exports = { ...native, loadProgram, bind, run, variants };
