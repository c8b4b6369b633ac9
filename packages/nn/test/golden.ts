// The golden vectors of @figment/nn: those of layers.py, and how to open the others.

import { goldenFile as fileIn, type GoldenFile } from "../../tensor/test/support/golden.js";

/** Opens golden/<name>.safetensors, which golden/<name>.py wrote. */
export const goldenFile = (name: string): GoldenFile => fileIn(name, new URL("./golden/", import.meta.url));

/** Those of layers.py. */
export const layers = goldenFile("layers");

export const { tensor: golden, expect: expectGolden } = layers;
export const casesOf = (prefix: string): string[] => layers.cases(prefix);
/** The recorded numbers. */
export const numbers = (key: string): number[] => [...layers.read(key).array];
/** The names of the tensors of a case. */
export const namesOf = (name: string): string[] => layers.keys(name);
