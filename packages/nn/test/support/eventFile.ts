// Reads TensorBoard's event files as their format says, with nothing of what wrote them: records with checksums computed
// bit by bit, and protocol-buffer messages as lists of fields.

/** CRC-32C by the definition: the remainder of a polynomial division, one bit at a time. */
export function crc32cOf(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let i = 0; i < 8; i++) crc = (crc >> 1n) ^ (crc & 1n ? 0x82f63b78n : 0n);
  }
  return Number(crc ^ 0xffffffffn);
}

const masked = (crc: number): number =>
  Number((((BigInt(crc) >> 15n) | (BigInt(crc) << 17n)) + 0xa282ead8n) & 0xffffffffn);

/** The payloads of a TFRecord file; throws where a length or a checksum is wrong. */
export function recordsOf(file: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at));
    if (file.readUInt32LE(at + 8) !== masked(crc32cOf(file.subarray(at, at + 8)))) throw new Error(`length at ${at}`);
    const data = file.subarray(at + 12, at + 12 + length);
    if (file.readUInt32LE(at + 12 + length) !== masked(crc32cOf(data))) throw new Error(`data at ${at}`);
    records.push(data);
    at += 16 + length;
  }
  return records;
}

type Field = number | bigint | Buffer;

/** The fields of a message by number, in their order. */
export function fieldsOf(message: Buffer): Map<number, Field[]> {
  const fields = new Map<number, Field[]>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++] as number;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const take = (count: number): Buffer => {
    at += count;
    return message.subarray(at - count, at);
  };
  while (at < message.length) {
    const key = Number(varint());
    const wire = key & 7;
    const value =
      wire === 0
        ? varint()
        : wire === 1
          ? take(8).readDoubleLE()
          : wire === 5
            ? take(4).readFloatLE()
            : take(Number(varint()));
    fields.set(key >> 3, [...(fields.get(key >> 3) ?? []), value]);
  }
  return fields;
}

/** What an event says, in words. */
export interface Told {
  readonly step: number;
  readonly wallTime: number;
  readonly version?: string;
  readonly restart?: boolean;
  readonly scalars: Readonly<Record<string, number>>;
  readonly images: Readonly<Record<string, { width: number; height: number; channels: number; png: Buffer }>>;
}

export function eventsOf(file: Buffer): Told[] {
  return recordsOf(file).map((record) => {
    const event = fieldsOf(record);
    const summary = event.get(5)?.[0] as Buffer | undefined;
    const values = (summary ? (fieldsOf(summary).get(1) as Buffer[]) : []).map(fieldsOf);
    const named = (field: number) =>
      values
        .filter((value) => value.has(field))
        .map((value) => [String(value.get(1)?.[0]), value.get(field)?.[0]] as const);
    return {
      step: Number(event.get(2)?.[0]),
      wallTime: event.get(1)?.[0] as number,
      version: event.has(3) ? String(event.get(3)?.[0]) : undefined,
      restart: event.has(7) && Number(fieldsOf(event.get(7)?.[0] as Buffer).get(1)?.[0]) === 1,
      scalars: Object.fromEntries(named(2)) as Record<string, number>,
      images: Object.fromEntries(
        named(4).map(([tag, image]) => {
          const fields = fieldsOf(image as Buffer);
          const [height, width, channels] = [1, 2, 3].map((field) => Number(fields.get(field)?.[0]));
          return [tag, { width, height, channels, png: fields.get(4)?.[0] }];
        }),
      ) as Told["images"],
    };
  });
}
