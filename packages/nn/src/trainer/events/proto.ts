// As much of protocol buffers' wire format as event files need: fields written one after the other.

const varintWire = 0;
const fixed64Wire = 1;
const bytesWire = 2;
const fixed32Wire = 5;

/** A message under construction. Fields are written in the order of the calls. */
export class Message {
  private readonly parts: Uint8Array[] = [];

  /** An int64 or enum that is not negative. */
  integer(field: number, value: number): this {
    return this.key(field, varintWire).varint(value);
  }

  double(field: number, value: number): this {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, true);
    return this.key(field, fixed64Wire).push(bytes);
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.key(field, fixed32Wire).push(bytes);
  }

  bytes(field: number, value: Uint8Array): this {
    return this.key(field, bytesWire).varint(value.length).push(value);
  }

  string(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.encode());
  }

  encode(): Uint8Array {
    const whole = new Uint8Array(this.parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of this.parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  private key(field: number, wire: number): this {
    return this.varint(field * 8 + wire);
  }

  /** Seven bits at a time, the lowest first; for integers up to 2⁵³ − 1. */
  private varint(value: number): this {
    const bytes: number[] = [];
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
    bytes.push(rest);
    return this.push(Uint8Array.from(bytes));
  }

  private push(bytes: Uint8Array): this {
    this.parts.push(bytes);
    return this;
  }
}
