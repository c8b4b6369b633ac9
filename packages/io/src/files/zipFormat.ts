// Numbers of the zip format that reading and writing share (PKWARE's APPNOTE.TXT 6.3.10): what records begin with, and how
// long they are without their names, extra fields and comments.

export const localSignature = 0x04034b50;
export const localBytes = 30;
export const centralSignature = 0x02014b50;
export const centralBytes = 46;
export const endSignature = 0x06054b50;
export const endBytes = 22;
export const end64Signature = 0x06064b50;
export const end64Bytes = 56;
export const end64LocatorSignature = 0x07064b50;
export const end64LocatorBytes = 20;

/** The extra field of numbers that do not fit 32 bits. */
export const extra64Id = 1;
/** Stands where such a number would. */
export const in64Bits = 0xffffffff;
