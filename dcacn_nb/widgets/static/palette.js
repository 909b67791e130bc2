// @ts-check
// Six colours of Okabe and Ito and four more, as in `dcacn_nb.report.palette`; a test compares the two.
// Each cluster also has a shape, so that colour is never the only cue.

export const COLORS = [
  "#0072B2",
  "#E69F00",
  "#009E73",
  "#D55E00",
  "#56B4E9",
  "#CC79A7",
  "#6E6E6E",
  "#6A3D9A",
  "#DCCF1E",
  "#7F3F00",
];
export const SHAPES = ["circle", "square", "triangle", "diamond", "down", "plus", "cross", "star"];
export const BLUE = COLORS[0];
export const GREEN = COLORS[2];
export const RED = COLORS[3];
const LIGHT = ["#E69F00", "#56B4E9", "#CC79A7", "#DCCF1E"]; // black text is easier to read on these

export const colorOf = k => COLORS[k % COLORS.length];
export const shapeOf = k => SHAPES[k % SHAPES.length];
export const inkOn = color => (LIGHT.includes(color) ? "#000" : "#fff");

const CIVIDIS = [
  [0, 34, 78],
  [8, 51, 112],
  [53, 69, 108],
  [79, 87, 108],
  [102, 105, 112],
  [125, 124, 120],
  [148, 142, 119],
  [174, 163, 113],
  [200, 184, 102],
  [229, 207, 82],
  [254, 232, 56],
];

/**
 * A value from 0 to 1 as [red, green, blue]; cividis is even in lightness.
 * @param {number} value
 * @returns {number[]}
 */
export function shade(value) {
  const place = Math.min(1, Math.max(0, value)) * (CIVIDIS.length - 1);
  const i = Math.min(CIVIDIS.length - 2, Math.floor(place));
  const part = place - i;
  return CIVIDIS[i].map((from, at) => Math.round(from * (1 - part) + CIVIDIS[i + 1][at] * part));
}
