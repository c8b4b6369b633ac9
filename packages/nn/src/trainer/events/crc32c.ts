// CRC-32C (Castagnoli; RFC 3720, appendix B.4), and the mask that TFRecord files lay over it.

/** The polynomial 0x1EDC6F41, its bits reversed. */
const polynomial = 0x82f63b78;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
  return value;
});

/** The checksum of some bytes, an unsigned 32-bit integer. */
export function crc32c(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) value = (table[(value ^ byte) & 0xff] as number) ^ (value >>> 8);
  return ~value >>> 0;
}

/** Added to the rotated checksum, so that checksums of data that hold checksums stay apart. */
const maskDelta = 0xa282ead8;

/** The checksum as TFRecord files store it: rotated right by 15 bits, plus a constant. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + maskDelta) >>> 0;
}
