// The bytes of a pickle, read in order.

/** What is wrong with a pickle, and at which byte. */
export class PickleError extends Error {
  readonly at: number;
  constructor(at: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.at = at;
  }
}

/** The bytes end before the pickle does. */
export class PickleEndError extends PickleError {}

/** Longest integer, in bytes; keys and counters take at most a few dozen. */
const maxIntegerBytes = 1024;

/** Longest line of a text opcode; names are far shorter. */
const maxLineBytes = 65536;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const latin1 = new TextDecoder("latin1");

/** Reads the operands of opcodes. */
export class Cursor {
  /** The next byte. */
  at: number;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
  }

  /** Moves past `count` bytes and gives where they begin. */
  take(count: number): number {
    const start = this.at;
    if (count > this.bytes.byteLength - start) {
      throw new PickleEndError(start, `${count} bytes are wanted here, ${this.bytes.byteLength - start} are left`);
    }
    this.at += count;
    return start;
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }
  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }
  i32(): number {
    return this.view.getInt32(this.take(4), true);
  }
  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  /** Big-endian, unlike everything else. */
  f64(): number {
    return this.view.getFloat64(this.take(8));
  }
  /** A length of eight bytes. */
  u64(): number {
    const start = this.take(8);
    const length = Number(this.view.getBigUint64(start, true));
    if (!Number.isSafeInteger(length)) throw new PickleError(start, "a length beyond 2^53");
    return length;
  }

  /** Bytes in memory of their own. */
  copy(length: number): Uint8Array {
    const start = this.take(length);
    return this.bytes.slice(start, start + length);
  }

  /** UTF-8, as text opcodes and modern strings have it. */
  text(length: number): string {
    const start = this.take(length);
    try {
      return utf8.decode(this.bytes.subarray(start, start + length));
    } catch (error) {
      throw new PickleError(start, "a string that is not valid UTF-8", { cause: error });
    }
  }

  /** One character for each byte: the strings of Python 2. */
  byteText(length: number): string {
    const start = this.take(length);
    return latin1.decode(this.bytes.subarray(start, start + length));
  }

  /** Text up to the next line feed. */
  line(): string {
    const start = this.at;
    const end = this.bytes.subarray(start, start + maxLineBytes).indexOf(0x0a);
    if (end < 0) {
      if (this.bytes.byteLength - start < maxLineBytes) throw new PickleEndError(start, "a line that does not end");
      throw new PickleError(start, `a line of more than ${maxLineBytes} bytes`);
    }
    const text = this.text(end);
    this.at++;
    return text;
  }

  /** A little-endian integer in two's complement. */
  integer(length: number): number | bigint {
    if (length > maxIntegerBytes)
      throw new PickleError(this.at, `an integer of ${length} bytes; at most ${maxIntegerBytes} are read`);
    const start = this.take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[start + i] as number);
    return shortest(BigInt.asIntN(8 * length, value));
  }
}

/** A number where it is exact. */
export function shortest(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
