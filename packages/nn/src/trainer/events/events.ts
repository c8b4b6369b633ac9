// TensorBoard's events as bytes: a TFRecord (length, masked checksum of the length, data, masked checksum of the data) for
// each Event message. Field numbers are those of tensorflow's event.proto and summary.proto.

import { maskedCrc32c } from "./crc32c.js";
import { Message } from "./proto.js";

const eventFields = { wallTime: 1, step: 2, fileVersion: 3, summary: 5, sessionLog: 7 } as const;
const valueFields = { tag: 1, simpleValue: 2, image: 4 } as const;
const imageFields = { height: 1, width: 2, channels: 3, encoded: 4 } as const;
const summaryValue = 1;
const sessionStatus = 1;
const sessionStart = 1;

/** What every event file begins with. */
const fileVersion = "brain.Event:2";

/** An encoded picture with its extents. */
export interface EncodedImage {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  /** The bytes of a PNG file. */
  readonly png: Uint8Array;
}

const eventAt = (seconds: number, step: number): Message =>
  new Message().double(eventFields.wallTime, seconds).integer(eventFields.step, step);

const summaryOf = (values: readonly Message[]): Message =>
  values.reduce((summary, value) => summary.message(summaryValue, value), new Message());

/** The first record of a file. */
export const versionEvent = (seconds: number): Uint8Array =>
  record(eventAt(seconds, 0).string(eventFields.fileVersion, fileVersion));

/** Says that what was written for this step or later ones is void: a run goes on from an earlier checkpoint. */
export const restartEvent = (seconds: number, step: number): Uint8Array =>
  record(eventAt(seconds, step).message(eventFields.sessionLog, new Message().integer(sessionStatus, sessionStart)));

/** Numbers by tag. */
export const scalarsEvent = (seconds: number, step: number, scalars: Readonly<Record<string, number>>): Uint8Array =>
  record(
    eventAt(seconds, step).message(
      eventFields.summary,
      summaryOf(
        Object.entries(scalars).map(([tag, value]) =>
          new Message().string(valueFields.tag, tag).float(valueFields.simpleValue, value),
        ),
      ),
    ),
  );

/** A picture under a tag. */
export function imageEvent(seconds: number, step: number, tag: string, image: EncodedImage): Uint8Array {
  const { width, height, channels, png } = image;
  const picture = new Message()
    .integer(imageFields.height, height)
    .integer(imageFields.width, width)
    .integer(imageFields.channels, channels)
    .bytes(imageFields.encoded, png);
  const value = new Message().string(valueFields.tag, tag).message(valueFields.image, picture);
  return record(eventAt(seconds, step).message(eventFields.summary, summaryOf([value])));
}

const lengthBytes = 8;
const crcBytes = 4;

function record(event: Message): Uint8Array {
  const data = event.encode();
  const bytes = new Uint8Array(lengthBytes + crcBytes + data.length + crcBytes);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(lengthBytes, maskedCrc32c(bytes.subarray(0, lengthBytes)), true);
  bytes.set(data, lengthBytes + crcBytes);
  view.setUint32(bytes.length - crcBytes, maskedCrc32c(data), true);
  return bytes;
}
