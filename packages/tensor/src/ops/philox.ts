// The random stream, bit for bit, in plain JavaScript: Philox4x32-10 (Salmon et al. 2011) and what
// is made of its words. The specification of the native kernels; nothing here is fast.

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;
const rounds = 10;

/** Words of one block. */
const lanes = 4;
/** Random bits of a uniform number, and the step between neighbours. */
const uniformShift = 8;
const uniformStep = 2 ** -24;

type Block = [number, number, number, number];

/** The high 32 bits of a product of unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const other = (middle & 0xffff) + aLow * bHigh;
  return aHigh * bHigh + (middle >>> 16) + (other >>> 16);
}

function philoxBlock(counterLow: number, counterHigh: number, keyLow: number, keyHigh: number): Block {
  let [c0, c1, c2, c3] = [counterLow >>> 0, counterHigh >>> 0, 0, 0];
  let [k0, k1] = [keyLow >>> 0, keyHigh >>> 0];
  for (let round = 0; round < rounds; round++) {
    const high0 = multiplyHigh(multiplier0, c0);
    const low0 = Math.imul(multiplier0, c0) >>> 0;
    const high1 = multiplyHigh(multiplier1, c2);
    const low1 = Math.imul(multiplier1, c2) >>> 0;
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + weyl0) >>> 0;
    k1 = (k1 + weyl1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** A 64-bit counter in two words, advanced. */
function advance(low: number, high: number, by: number): [number, number] {
  const sum = (low >>> 0) + by;
  return [sum >>> 0, ((high >>> 0) + Math.floor(sum / 2 ** 32)) >>> 0];
}

/** The first `count` words of the stream of a state: key low, key high, counter low, counter high. */
function words(state: ArrayLike<number>, count: number): Uint32Array {
  const [keyLow = 0, keyHigh = 0, low = 0, high = 0] = Array.from(state);
  const blocks = Math.ceil(count / lanes);
  const out = new Uint32Array(blocks * lanes);
  for (let block = 0; block < blocks; block++) {
    out.set(philoxBlock(...advance(low, high, block), keyLow, keyHigh), block * lanes);
  }
  return out;
}

/** The state after drawing `count` numbers, as signed words. */
export function advancedState(state: ArrayLike<number>, count: number): Float64Array {
  const [keyLow = 0, keyHigh = 0, low = 0, high = 0] = Array.from(state);
  return Float64Array.from([keyLow, keyHigh, ...advance(low, high, Math.ceil(count / lanes))], (word) => word | 0);
}

/** Uniform numbers in [0, 1) with 24 random bits. */
export const uniformStream = (state: ArrayLike<number>, count: number): Float64Array =>
  Float64Array.from(words(state, count).subarray(0, count), (word) => (word >>> uniformShift) * uniformStep);

/** Standard normal numbers, two from each pair of words (Box & Muller 1958). */
export function normalStream(state: ArrayLike<number>, count: number): Float64Array {
  const source = words(state, count);
  return Float64Array.from({ length: count }, (_, i) => {
    const first = i - (i % 2);
    const u1 = (((source[first] as number) >>> uniformShift) + 1) * uniformStep;
    const angle = 2 * Math.PI * ((source[first + 1] as number) >>> uniformShift) * uniformStep;
    return Math.sqrt(-2 * Math.log(u1)) * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
  });
}

/** 64 random bits for each element, from two words. */
function wideWords(state: ArrayLike<number>, count: number): BigUint64Array {
  const source = words(state, 2 * count);
  return BigUint64Array.from({ length: count }, (_, i) => {
    const [high, low] = [source[2 * i] as number, source[2 * i + 1] as number];
    return (BigInt(high) << 32n) | BigInt(low);
  });
}

/** Whole numbers in [lo, hi): lo + ⌊w·(hi − lo) / 2⁶⁴⌋ of 64 random bits w. */
export const integerStream = (state: ArrayLike<number>, count: number, lo: number, hi: number): Float64Array =>
  Float64Array.from(wideWords(state, count), (word) => lo + Number((word * BigInt(hi - lo)) >> 64n));

/** Uniform numbers in [0, 1) with 53 random bits. */
export const fineUniformStream = (state: ArrayLike<number>, count: number): Float64Array =>
  Float64Array.from(wideWords(state, count), (word) => Number(word >> 11n) * 2 ** -53);
