// The golden vectors of @figment/gan.

import { goldenFile as fileIn, type GoldenFile } from "../../tensor/test/support/golden.js";

/** Opens golden/<name>.safetensors, which golden/<name>.py wrote. */
export const goldenFile = (name: string): GoldenFile => fileIn(name, new URL("./golden/", import.meta.url));
