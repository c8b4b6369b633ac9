// When the attributes of two nodes are the same: as text, for maps, and without text, for calls whose program is looked up
// at every one. Functions and what is undefined count for nothing; −0 is not 0, NaN is NaN.

import type { Attrs } from "./graph.js";

/** Attributes as text, equal for equal attributes. */
export function attrsKey(attrs: Attrs): string {
  let key = "";
  for (const name in attrs) {
    const value = attrs[name];
    if (counts(value)) key += `${name}:${valueKey(value)};`;
  }
  return key;
}

function valueKey(value: unknown): string {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value) ? `[${value.map(valueKey).join()}]` : `{${attrsKey(value as Attrs)}}`;
}

/** A step of a hash of 32 bits (FNV-1a's, on words). */
export const mixed = (hash: number, word: number): number => Math.imul(hash ^ word, 0x01000193);

/** A hash, equal for equal attributes. */
export function hashAttrs(hash: number, attrs: Attrs): number {
  let mix = hash;
  for (const name in attrs) mix = hashValue(mix, attrs[name]);
  return mix;
}

function hashValue(hash: number, value: unknown): number {
  switch (typeof value) {
    case "number":
      return mixed(hash, value ^ ((value - Math.trunc(value)) * 2 ** 31));
    case "boolean":
      return mixed(hash, value ? 1 : 2);
    case "string":
      return hashText(hash, value);
    case "object":
      if (value === null) return mixed(hash, 3);
      return Array.isArray(value) ? hashItems(hash, value) : hashAttrs(hash, value as Attrs);
    default:
      return hash;
  }
}

function hashItems(hash: number, items: readonly unknown[]): number {
  let mix = mixed(hash, items.length);
  for (let i = 0; i < items.length; i++) mix = hashValue(mix, items[i]);
  return mix;
}

function hashText(hash: number, text: string): number {
  let mix = hash;
  for (let i = 0; i < text.length; i++) mix = mixed(mix, text.charCodeAt(i));
  return mix;
}

/** Whether attributes are the same. */
export function sameAttrs(a: Attrs, b: Attrs): boolean {
  if (a === b) return true;
  let more = 0;
  for (const name in a) {
    if (!counts(a[name])) continue;
    if (!sameValue(a[name], b[name])) return false;
    more++;
  }
  for (const name in b) if (counts(b[name])) more--;
  return more === 0;
}

function sameValue(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || a === null) return Object.is(a, b);
  if (typeof b !== "object" || b === null) return false;
  if (!Array.isArray(a)) return !Array.isArray(b) && sameAttrs(a as Attrs, b as Attrs);
  if (!Array.isArray(b) || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!sameValue(a[i], b[i])) return false;
  return true;
}

/** A copy that stays as it is, whatever becomes of the arrays and objects that attributes were made of. */
export function copyAttrs(attrs: Attrs): Attrs {
  return copied(attrs) as Attrs;
}

function copied(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copied);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, copied(item)]));
}

const counts = (value: unknown): boolean => value !== undefined && typeof value !== "function";
