// Logarithm, sine and cosine in float32, to the bit as PyTorch's vectorised kernels on x86 compute them: the polynomials of
// Cephes (Moshier 1992), multiplications and additions fused where its compiler fuses them.

const round = Math.fround;

/** a·b + c, rounded once: the product of two float32 numbers is exact in float64. */
const fma = (a: number, b: number, c: number): number => round(a * b + c);

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** Of the polynomial of ln(1 + x), from the highest power. */
const logTerms = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
].map(round);
/** ln 2 in two parts, so that the large one times an exponent is exact. */
const [logLow, logHigh] = [round(-2.1219444e-4), round(0.693359375)];
const sqrtHalf = round(Math.SQRT1_2);
const leastNormal = 2 ** -126;

/** ln x of a float32 number above 0. */
export function log32(x: number): number {
  float[0] = Math.max(x, leastNormal);
  let exponent = ((bits[0] as number) >>> 23) - 126;
  // The mantissa in [½, 1), then 1 + m in [√½, √2).
  bits[0] = ((bits[0] as number) & 0x007fffff) | 0x3f000000;
  const mantissa = float[0] as number;
  let m = round(mantissa - 1);
  if (mantissa < sqrtHalf) {
    exponent--;
    m = round(m + mantissa);
  }
  const square = round(m * m);
  let y = logTerms[0] as number;
  for (const term of logTerms.slice(1)) y = fma(y, m, term);
  y = fma(round(y * m), square, round(exponent * logLow));
  y = fma(-square, 0.5, y);
  return fma(exponent, logHigh, round(m + y));
}

/** π/4 in three parts, negative. */
const reduction = [-0.78515625, -2.4187564849853516e-4, -3.774894977445941e-8].map(round) as [number, number, number];
const sineTerms = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1].map(round) as [number, number, number];
const cosineTerms = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2].map(round) as [
  number,
  number,
  number,
];
const perQuarter = round(4 / Math.PI);

/** sin x and cos x of a float32 number from 0 to 2π. */
export function sincos32(x: number): readonly [sine: number, cosine: number] {
  const octant = (Math.trunc(round(x * perQuarter)) + 1) & ~1;
  let rest = x;
  for (const part of reduction) rest = fma(octant, part, rest);
  const z = round(rest * rest);
  const [c0, c1, c2] = cosineTerms;
  const cosine = round(round(fma(round(fma(fma(c0, z, c1), z, c2) * z), z, -round(z * 0.5))) + 1);
  const [s0, s1, s2] = sineTerms;
  const sine = fma(round(fma(fma(s0, z, s1), z, s2) * z), rest, rest);
  const swapped = (octant & 2) !== 0;
  const [s, c] = swapped ? [cosine, sine] : [sine, cosine];
  return [octant & 4 ? -s : s, (octant - 2) & 4 ? c : -c];
}
