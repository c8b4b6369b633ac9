// sharp, loaded when the first image is read or written: its native library would double the time that importing
// Figment takes.

/** The image codec. Node keeps the module after the first call. */
export const loadSharp = async (): Promise<typeof import("sharp")["default"]> => (await import("sharp")).default;
