// A strict JSON reader for headers written by strangers. Unlike JSON.parse it refuses duplicate keys,
// bounds the nesting, keeps "__proto__" an ordinary key, and says where in the text each value and each
// error is. Grammar: RFC 8259.

/** A JSON value and the index in the text at which it starts. */
export interface JsonNode {
  readonly at: number;
  readonly value: null | boolean | number | string | readonly JsonNode[] | ReadonlyMap<string, JsonNode>;
}

/** What is wrong with a JSON text, and at which index. */
export class JsonSyntaxError extends Error {
  readonly at: number;
  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

/** Headers nest three deep; anything far beyond is an attempt on the stack. */
const maxDepth = 32;

const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const spacePattern = /[ \t\n\r]*/y;
const literals = [
  ["null", null],
  ["true", true],
  ["false", false],
] as const;

/**
 * Parses a whole JSON text.
 *
 * @throws JsonSyntaxError with the place of the first error.
 */
export function parseJson(text: string): JsonNode {
  let at = 0;

  const fail = (message: string, where = at): never => {
    throw new JsonSyntaxError(where, message);
  };
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const skipSpace = () => match(spacePattern);
  const accept = (character: string): boolean => {
    skipSpace();
    if (text[at] !== character) return false;
    at++;
    return true;
  };
  const expect = (character: string): void => {
    if (!accept(character))
      fail(at < text.length ? `expected '${character}'` : `the text ends where '${character}' is expected`);
  };
  const readString = (): string => {
    skipSpace();
    const start = at;
    const end = text[start] === '"' ? endOfString(text, start) : fail("expected a string");
    at = end;
    try {
      return JSON.parse(text.slice(start, end)) as string;
    } catch {
      return fail("the string is malformed or not closed", start);
    }
  };
  const readMembers = (depth: number): Map<string, JsonNode> => {
    const members = new Map<string, JsonNode>();
    if (accept("}")) return members;
    do {
      skipSpace();
      const start = at;
      const key = readString();
      if (members.has(key)) fail(`duplicate key ${JSON.stringify(key)}`, start);
      expect(":");
      members.set(key, readValue(depth));
    } while (accept(","));
    expect("}");
    return members;
  };
  const readElements = (depth: number): JsonNode[] => {
    const elements: JsonNode[] = [];
    if (accept("]")) return elements;
    do elements.push(readValue(depth));
    while (accept(","));
    expect("]");
    return elements;
  };
  const readValue = (depth: number): JsonNode => {
    skipSpace();
    const start = at;
    if (depth > maxDepth) fail(`values nest more than ${maxDepth} deep`);
    if (accept("{")) return { at: start, value: readMembers(depth + 1) };
    if (accept("[")) return { at: start, value: readElements(depth + 1) };
    if (text[at] === '"') return { at: start, value: readString() };
    for (const [word, value] of literals) {
      if (!text.startsWith(word, at)) continue;
      at += word.length;
      return { at: start, value };
    }
    return { at: start, value: Number(match(numberPattern) ?? fail("expected a value")) };
  };

  const root = readValue(0);
  skipSpace();
  if (at < text.length) fail("unexpected text after the value");
  return root;
}

/** The index after the quote that closes the string at `start`, or the end of the text. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}
