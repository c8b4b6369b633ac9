// Draws one digit the way a hand might: the control points of a skeleton shake, the path between them is smooth
// (centripetal Catmull–Rom), the whole is slanted, turned, squeezed and bent, and the pen's width changes on its
// way. A pixel's ink is how much of it lies within the pen's radius of the path, which anti-aliases the edge.

import type { CounterRandom } from "../counterRandom.js";
import type { Skeleton, Stroke } from "./skeletons.js";

/** How much hands differ. Lengths are parts of the digit's height, angles radians. */
const hand = {
  /** Deviation of each control point. */
  shake: 0.026,
  /** Shear, to the right on average as most people write. */
  slantMean: 0.1,
  slant: 0.16,
  rotation: 0.09,
  /** Deviation of the logarithm of width over height. */
  squeeze: 0.13,
  /** Deviation of the logarithm of the size. */
  size: 0.06,
  /** Largest amplitude of the slow waves that bend the whole digit. */
  bend: 0.035,
  /** Deviation of the position, in pixels of a 28-pixel image. */
  drift: 0.7,
  /** Pen radius, in pixels of a 28-pixel image. */
  thinnest: 0.85,
  thickest: 1.75,
  /** Relative change of the radius along a stroke. */
  pressure: 0.18,
  /** Fraction of full ink of the palest pen. */
  palest: 0.86,
} as const;

/** Part of the image that the longer side of a digit spans, as in MNIST (20 of 28 pixels). */
const span = 20 / 28;

/** Straight pieces per arc between two control points. */
const piecesPerArc = 7;

/** No skeleton has more vertices than this once its arcs are cut into pieces. */
const maxVertices = 256;

/** A pen with its own scratch memory; one per thread of control. */
export class Pen {
  private readonly xs = new Float64Array(maxVertices);
  private readonly ys = new Float64Array(maxVertices);
  private readonly radii = new Float64Array(maxVertices);
  /** Whether the pen is down on the way to this vertex. */
  private readonly down = new Uint8Array(maxVertices);
  private count = 0;

  /** Draws a skeleton into a square image of `size` pixels a side, white (255) ink on black (0). */
  draw(skeleton: Skeleton, random: CounterRandom, image: Uint8Array, size: number): void {
    this.count = 0;
    for (const stroke of skeleton) this.trace(shaken(stroke, random), stroke.corners);
    this.deform(random);
    this.place(random, size);
    this.ink(image, size, 255 * random.uniform(hand.palest, 1));
  }

  /** Cuts the smooth path through the points into straight pieces. */
  private trace(points: Float64Array, corners: readonly boolean[]): void {
    const last = points.length / 2 - 1;
    this.add(points[0] as number, points[1] as number, 0);
    for (let i = 0; i < last; i++) {
      // At corners and ends the path starts straight: the neighbour is the point itself.
      const before = i === 0 || corners[i] ? i : i - 1;
      const after = i + 1 === last || corners[i + 1] ? i + 1 : i + 2;
      this.arc(points, before, i, i + 1, after);
    }
  }

  /** The arc from point p1 to p2, whose tangents follow the neighbours p0 and p3 (centripetal Catmull–Rom). */
  private arc(points: Float64Array, p0: number, p1: number, p2: number, p3: number): void {
    const d1 = knot(points, p0, p1);
    const d2 = knot(points, p1, p2);
    const d3 = knot(points, p2, p3);
    const arcOf = (axis: 0 | 1): Arc => {
      const at = (p: number) => points[2 * p + axis] as number;
      return catmullRom(at(p0), at(p1), at(p2), at(p3), d1, d2, d3);
    };
    const xOf = arcOf(0);
    const yOf = arcOf(1);
    for (let piece = 1; piece <= piecesPerArc; piece++) {
      const t = piece / piecesPerArc;
      this.add(along(xOf, t), along(yOf, t), 1);
    }
  }

  private add(x: number, y: number, down: 0 | 1): void {
    this.xs[this.count] = x - 0.5;
    this.ys[this.count] = y - 0.5;
    this.down[this.count] = down;
    this.count++;
  }

  /** Bends, squeezes, slants and turns the path. */
  private deform(random: CounterRandom): void {
    const { xs, ys, count } = this;
    const bendX = random.uniform(-hand.bend, hand.bend);
    const bendY = random.uniform(-hand.bend, hand.bend);
    const rateX = random.uniform(3, 7);
    const rateY = random.uniform(3, 7);
    const phaseX = random.uniform(0, 2 * Math.PI);
    const phaseY = random.uniform(0, 2 * Math.PI);
    const squeeze = Math.exp(random.bell(hand.squeeze));
    const slant = hand.slantMean + random.bell(hand.slant);
    const angle = random.bell(hand.rotation);
    const cos = Math.cos(angle);
    const sin = Math.sin(angle);
    for (let i = 0; i < count; i++) {
      const x0 = xs[i] as number;
      const y0 = ys[i] as number;
      const y = y0 + bendY * Math.sin(rateY * x0 + phaseY);
      const x = squeeze * (x0 + bendX * Math.sin(rateX * y0 + phaseX)) - slant * y;
      xs[i] = cos * x - sin * y;
      ys[i] = sin * x + cos * y;
    }
  }

  /** Scales the path to pixels, centres it with some drift, and gives every vertex its radius. */
  private place(random: CounterRandom, size: number): void {
    const { xs, ys, radii, count } = this;
    let left = Infinity;
    let right = -Infinity;
    let top = Infinity;
    let bottom = -Infinity;
    for (let i = 0; i < count; i++) {
      left = Math.min(left, xs[i] as number);
      right = Math.max(right, xs[i] as number);
      top = Math.min(top, ys[i] as number);
      bottom = Math.max(bottom, ys[i] as number);
    }
    const pixel = size / 28;
    const radius = pixel * random.uniform(hand.thinnest, hand.thickest);
    const wanted = size * span * Math.exp(random.bell(hand.size)) - 2 * radius;
    const scale = wanted / Math.max(right - left, bottom - top);
    const offsetX = size / 2 + pixel * random.bell(hand.drift) - (scale * (left + right)) / 2;
    const offsetY = size / 2 + pixel * random.bell(hand.drift) - (scale * (top + bottom)) / 2;
    const pressure = random.uniform(0, hand.pressure);
    const rate = random.uniform(0.08, 0.3);
    const phase = random.uniform(0, 2 * Math.PI);
    for (let i = 0; i < count; i++) {
      xs[i] = offsetX + scale * (xs[i] as number);
      ys[i] = offsetY + scale * (ys[i] as number);
      radii[i] = radius * (1 + pressure * Math.sin(rate * i + phase));
    }
  }

  private ink(image: Uint8Array, size: number, full: number): void {
    const { xs, ys, radii, down, count } = this;
    image.fill(0);
    for (let i = 1; i < count; i++) {
      if (!down[i]) continue;
      const radius = ((radii[i - 1] as number) + (radii[i] as number)) / 2;
      inkPiece(image, size, full, xs[i - 1] as number, ys[i - 1] as number, xs[i] as number, ys[i] as number, radius);
    }
  }
}

function shaken({ points }: Stroke, random: CounterRandom): Float64Array {
  return points.map((x) => x + random.bell(hand.shake));
}

/** Width of a knot interval: the square root of the distance (centripetal), 0 where points coincide. */
function knot(points: Float64Array, a: number, b: number): number {
  const dx = (points[2 * a] as number) - (points[2 * b] as number);
  const dy = (points[2 * a + 1] as number) - (points[2 * b + 1] as number);
  return Math.sqrt(Math.sqrt(dx * dx + dy * dy));
}

/** One coordinate of an arc: a cubic in t, lowest power first. */
type Arc = readonly [number, number, number, number];

/** A Catmull–Rom arc from p1 to p2 with knot intervals d1, d2, d3 (Barry and Goldman 1988), for t in 0 … 1. */
function catmullRom(p0: number, p1: number, p2: number, p3: number, d1: number, d2: number, d3: number): Arc {
  const chord = p2 - p1;
  const start = d1 > 0 && d2 > 0 ? chord + d2 * ((p1 - p0) / d1 - (p2 - p0) / (d1 + d2)) : chord;
  const end = d3 > 0 && d2 > 0 ? chord + d2 * ((p3 - p2) / d3 - (p3 - p1) / (d2 + d3)) : chord;
  return [p1, start, 3 * chord - 2 * start - end, start + end - 2 * chord];
}

const along = (arc: Arc, t: number): number => arc[0] + t * (arc[1] + t * (arc[2] + t * arc[3]));

/** Inks the pixels within reach of one straight piece; where pieces meet the darker ink stays. */
function inkPiece(
  image: Uint8Array,
  size: number,
  full: number,
  x0: number,
  y0: number,
  x1: number,
  y1: number,
  radius: number,
): void {
  // A pixel's coverage falls from 1 to 0 while the distance of its centre grows from radius - ½ to radius + ½.
  const reach = radius + 0.5;
  const left = Math.max(0, Math.ceil(Math.min(x0, x1) - reach - 0.5));
  const right = Math.min(size - 1, Math.floor(Math.max(x0, x1) + reach - 0.5));
  const top = Math.max(0, Math.ceil(Math.min(y0, y1) - reach - 0.5));
  const bottom = Math.min(size - 1, Math.floor(Math.max(y0, y1) + reach - 0.5));
  const dx = x1 - x0;
  const dy = y1 - y0;
  const inverseSquare = 1 / Math.max(dx * dx + dy * dy, 1e-12);
  for (let row = top; row <= bottom; row++) {
    const py = row + 0.5 - y0;
    for (let column = left; column <= right; column++) {
      const px = column + 0.5 - x0;
      const along = Math.min(1, Math.max(0, (px * dx + py * dy) * inverseSquare));
      const ex = px - along * dx;
      const ey = py - along * dy;
      const square = ex * ex + ey * ey;
      if (square >= reach * reach) continue;
      const level = full * Math.min(1, reach - Math.sqrt(square));
      const at = row * size + column;
      if (level > (image[at] as number)) image[at] = level;
    }
  }
}
