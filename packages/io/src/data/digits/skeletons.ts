// The ways of writing the ten digits, as the path of a pen. Coordinates are percent of a box, x to the right and
// y down. A path runs smoothly through its points; "!" marks a corner, "/" lifts the pen.
// The last style of each digit is held out of training sets, to measure what a model makes of a new hand.

/** One stroke of the pen. */
export interface Stroke {
  /** x0, y0, x1, y1, … as parts of the box, 0 … 1. */
  readonly points: Float64Array;
  /** Whether the path turns sharply at each point. */
  readonly corners: readonly boolean[];
}

/** One way of writing a digit. */
export type Skeleton = readonly Stroke[];

const zero = [
  "52,4 26,14 16,48 28,88 52,97 74,84 82,48 72,14 48,5",
  "56,5 36,20 28,52 36,88 52,96 66,80 72,46 66,14 50,6",
  "50,10 22,22 12,52 24,84 52,92 80,80 88,50 76,20 46,11",
  "64,14 42,6 22,28 18,62 34,94 60,92 80,66 80,32 62,8 44,14",
  "34,10 60,6 80,30 82,64 66,92 42,96 22,76 18,42 28,18 48,6",
];

const one = [
  "50,4 50,96",
  "34,22 54,4! 52,96",
  "34,20 52,5! 52,95 / 32,95 72,95",
  "62,4 52,50 40,96",
  "40,15 56,5! 50,50 48,96",
];

const two = [
  "20,26 34,8 58,5 76,22 68,46 42,74 18,94! 82,94",
  "22,24 40,6 66,10 72,32 52,62 28,90 16,86 26,74 46,84 64,96 84,88",
  "18,30 28,10 54,4 76,16 74,40 50,68 20,92! 40,87 62,95 84,90",
  "30,32 22,18 44,4 72,14 76,36 56,62 18,95! 84,93",
  "20,18 44,6 72,16 70,36 46,62 20,92! 80,96",
];

const three = [
  "20,16 46,4 74,16 68,40 42,48! 72,56 80,78 56,96 18,86",
  "22,8 76,8! 46,42! 72,54 78,78 54,96 20,88",
  "22,18 48,5 72,20 60,42 42,50 40,44 52,46 76,60 74,86 46,96 20,86",
  "26,10 56,4 72,22 56,42 36,47! 66,52 80,72 62,94 24,94",
  "18,22 40,5 70,12 70,34 46,46! 74,60 70,86 44,97 16,84",
];

const four = [
  "28,6 18,54! 84,54 / 66,26 62,97",
  "64,97 64,4! 16,66! 88,66",
  "24,8 20,38 34,54 58,50 74,40 / 76,6 72,50 66,97",
  "36,4 16,60! 86,58 / 70,6 58,98",
  "40,4 18,58! 84,62 / 62,30 62,98",
];

const five = [
  "74,8 30,8! 26,44! 52,38 78,54 76,82 50,97 20,88",
  "32,8 26,46! 54,40 76,56 74,84 48,97 18,86 / 32,8 76,6",
  "78,8 46,8 30,20 34,40 60,50 76,68 62,92 22,93",
  "76,6 26,6! 24,46! 66,46 82,68 66,94 20,94",
  "72,6 34,10! 26,42! 56,42 74,62 64,90 36,97 16,86",
];

const six = [
  "66,6 38,26 22,60 30,90 56,96 76,80 70,58 46,54 24,70",
  "40,4 24,36 20,72 40,96 68,92 78,72 62,54 36,58 22,76",
  "74,16 58,5 34,22 20,58 30,90 58,96 76,76 62,56 38,60 24,76",
  "70,4 44,34 22,70 36,96 62,92 70,70 52,58 26,72",
  "58,4 32,30 20,66 34,94 62,94 78,74 64,56 40,58 22,74",
];

const seven = [
  "18,10 80,8! 44,96",
  "18,10 80,8! 46,96 / 34,52 74,48",
  "18,26 20,8! 82,10! 62,42 50,96",
  "16,16 40,8 60,13 80,6! 58,44 46,97",
  "20,12 78,8! 56,40 40,96",
];

const eight = [
  "72,16 48,4 26,20 40,42 66,58 76,80 50,97 24,82 34,58 62,40 74,22 66,10",
  "50,4 28,14 32,38 52,46 70,36 72,14 48,4 / 50,46 24,60 24,86 50,97 76,86 76,60 52,46",
  "50,48 28,32 34,8 62,6 70,28 48,50 26,70 34,94 62,96 76,74 52,49",
  "78,12 52,6 28,18 38,42 64,58 74,82 50,96 26,82 38,56 62,36 74,8",
  "66,10 40,6 28,24 48,46 72,66 68,90 42,97 22,80 40,54 66,32 62,10",
];

const nine = [
  "74,24 54,4 28,14 24,38 46,52 70,38 76,14! 72,96",
  "74,22 50,4 26,20 28,46 54,52 74,28 76,48 68,84 40,97 22,88",
  "72,12 42,6 24,28 38,48 62,42 74,14! 58,97",
  "70,8 40,8 24,30 42,50 66,40 74,10! 76,60 62,92 28,92",
  "76,18 48,5 26,26 36,50 66,44 76,18! 68,60 60,97",
];

function parse(path: string): Skeleton {
  return path.split("/").map((stroke) => {
    const marks = stroke.trim().split(/\s+/);
    const points = marks.flatMap((mark) => mark.replace("!", "").split(",").map(Number));
    return { points: Float64Array.from(points, (x) => x / 100), corners: marks.map((mark) => mark.endsWith("!")) };
  });
}

/** skeletons[digit][style]. */
export const skeletons: readonly (readonly Skeleton[])[] = [
  zero,
  one,
  two,
  three,
  four,
  five,
  six,
  seven,
  eight,
  nine,
].map((styles) => styles.map(parse));

/** Which styles a set is written in: "train", the "heldOut" ones, or "all". */
export type DigitStyles = "train" | "heldOut" | "all";

/** The skeletons of a digit for a choice of styles. */
export function stylesOf(digit: number, choice: DigitStyles): readonly Skeleton[] {
  const all = skeletons[digit] as readonly Skeleton[];
  if (choice === "all") return all;
  return choice === "train" ? all.slice(0, -1) : all.slice(-1);
}
