// @ts-check
// Rows of numbers from Python, and what the panels show of them.
import {ticks} from "./numbers.js";
import {BLUE, GREEN, RED, colorOf, shapeOf} from "./palette.js";

/** @import {Texts} from "./protocol" */
/**
 * @typedef {{columns: number[][], kept: number}} Rows column 0 holds the epochs
 * @typedef {{label: string, terms: string[], begun: boolean, head: number | null, steps: Rows, scores: Rows}} Run
 *   head: the epoch after which K-Means set the cluster head
 * @typedef {{key: string, text: string, color: string, shape: string, column: (run: Run) => number}} Line
 * @typedef {{key: string, part: "steps" | "scores", lines: Line[], most?: number, log?: boolean, zero?: boolean}}
 *   Panel most: the largest value possible; zero: the axis begins there; log: a logarithmic axis may be chosen
 * @typedef {{line: Line, l: number, r: number, xs: number[], ys: number[]}} Shown a line of a run that is seen
 */

/** @type {[string, string, string][]} as report.palette.SCORES */
const SCORES = [
  ["ACC", RED, "circle"],
  ["NMI", BLUE, "square"],
  ["ARI", GREEN, "triangle"],
];

/** Add rows. The last row may stand in for those between two kept ones: it goes when the next message comes. */
export function takeRows(part, width, {restart, kept}, values) {
  if (restart) Object.assign(part, {columns: Array.from({length: width}, () => []), kept: 0});
  part.columns.forEach((column, c) => {
    column.length = part.kept;
    for (let i = c; i < values.length; i += width) column.push(values[i]);
  });
  part.kept += kept;
}

/** A term that the widget does not know goes by its own name. */
const termText = (t, term) => t(`term_${term}`).replace(/^term_/, "");

/**
 * The panels. Steps are (epoch, learning rate, images per second, gradient norm, loss terms ...), scores are (epoch,
 * ACC, NMI, ARI).
 * @param {Texts} t
 * @param {Run[]} runs
 * @returns {Panel[]}
 */
export function panelsOf(t, runs) {
  const one = (key, column, color) => [{key, text: t(key), color, shape: "circle", column: () => column}];
  const terms = [...new Set(runs.flatMap(run => run.terms))];
  const scores = SCORES.map(([text, color, shape], i) => ({key: text, text, color, shape, column: () => i + 1}));
  const losses = terms.map((term, i) => {
    const column = run => run.terms.indexOf(term) + (run.terms.includes(term) ? 4 : 1e9);
    return {key: term, text: termText(t, term), color: colorOf(i), shape: shapeOf(i), column};
  });
  return [
    {key: "scores", part: "scores", most: 1, lines: scores},
    {key: "losses", part: "steps", log: true, lines: losses},
    {key: "rate", part: "steps", zero: true, lines: one("rate", 1, colorOf(5))},
    {key: "speed", part: "steps", zero: true, lines: one("speed", 2, colorOf(4))},
    {key: "gradient", part: "steps", log: true, lines: one("gradient", 3, colorOf(6))},
  ];
}

// ---- numbers
export const linear = (low, high, from, to) => value => from + ((value - low) / (high - low)) * (to - from);
export const formatEpoch = x => String(Number(x.toFixed(2)));

/** A number as people write it, as far as that is short. */
export function formatNumber(x, digits = 3) {
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-5 || size >= 1e6)) return x.toExponential(1);
  return String(Number(x.toPrecision(Math.max(digits, Math.ceil(Math.log10(size || 1))))));
}

/** The first place whose number is not below x; xs rise. */
export function lowerBound(xs, x) {
  let [a, b] = [0, xs.length];
  while (a < b) {
    const middle = (a + b) >> 1;
    if (xs[middle] < x) a = middle + 1;
    else b = middle;
  }
  return a;
}

/** The place nearest to x, the last one for null; -1 where the run has nothing there. */
export function nearest(xs, x) {
  const n = xs.length;
  if (!n || x === null) return n - 1;
  const i = lowerBound(xs, x);
  const past = x > xs[n - 1] + (n > 1 ? xs[n - 1] - xs[n - 2] : 1);
  if (past) return -1;
  return i === n || (i > 0 && x - xs[i - 1] <= xs[i] - x) ? i - 1 : i;
}

// ---- what is seen
/**
 * The lines of a panel that are not hidden.
 * @param {Panel} panel
 * @param {Run[]} runs
 * @param {Set<string>} hidden
 * @returns {Shown[]}
 */
export function visibleLines(panel, runs, hidden) {
  return runs.flatMap((run, r) => {
    const {columns} = run[panel.part];
    const all = panel.lines.map((line, l) => ({line, l, r, xs: columns[0], ys: columns[line.column(run)]}));
    if (hidden.has(`run ${run.label}`)) return [];
    return all.filter(({line, ys}) => ys?.length && !hidden.has(`${panel.key} ${line.key}`));
  });
}

/** The epochs after which cluster heads were set, of the runs that are seen. */
export function headStarts(runs, hidden) {
  const seen = runs.filter(run => run.head !== null && !hidden.has(`run ${run.label}`));
  return [...new Set(seen.map(run => run.head))];
}

/** Where the axis of epochs ends. */
export function lastEpoch(runs, hidden) {
  const seen = runs.filter(run => !hidden.has(`run ${run.label}`));
  const ends = seen.flatMap(run => [run.steps, run.scores].map(({columns}) => columns[0]?.at(-1) ?? 0));
  return Math.max(0, ...ends) || 1;
}

/**
 * Lowest and highest value in sight (their logarithms, if so drawn), with a little air.
 * @param {Shown[]} lines
 * @param {number[]} span
 * @param {Panel} panel
 * @param {{log: boolean, near: boolean}} look
 */
export function heightRange(lines, [a, b], panel, {log, near}) {
  let [low, high] = [Infinity, -Infinity];
  for (const {xs, ys} of lines) {
    for (let i = lowerBound(xs, a); i < xs.length && xs[i] <= b; i++) {
      const y = log ? Math.log10(ys[i]) : ys[i];
      if (!Number.isFinite(y)) continue;
      low = Math.min(low, y);
      high = Math.max(high, y);
    }
  }
  if (low > high) [low, high] = log ? [-1, 0] : [0, 1];
  if (!log && (panel.zero || (panel.most && !near))) low = Math.min(low, 0);
  if (panel.most && !near) high = Math.max(high, panel.most);
  const air = (high - low || Math.abs(high) || 1) * 0.05;
  return [low === 0 ? 0 : low - air, high + air];
}

/**
 * [height, text] along the upright axis.
 * @returns {[number, string][]}
 */
export function axisMarks(low, high, log, room) {
  const round = value => formatNumber(value, 6);
  if (!log) return ticks(low, high, Math.max(2, room / 30)).map(y => [y, round(y)]);
  if (high - low < 1) return ticks(10 ** low, 10 ** high, 5).map(value => [Math.log10(value), round(value)]);
  const fine = high - low < 2 ? [1, 2, 5] : [1];
  const every = Math.ceil((high - low) / Math.max(2, room / 30));
  /** @type {[number, string][]} */
  const found = [];
  for (let power = Math.floor(low); power <= high; power += every) {
    for (const m of fine) found.push([power + Math.log10(m), formatNumber(Number(`${m}e${power}`))]);
  }
  return found.filter(([y]) => y >= low && y <= high);
}

// ---- in words
/** "0.912"; "–" where there is none. */
export function valueText(panel, line, run, at) {
  const {columns} = run[panel.part];
  const i = columns.length ? nearest(columns[0], at) : -1;
  const value = columns[line.column(run)]?.[i];
  if (!Number.isFinite(value)) return "–";
  return panel.most ? value.toFixed(3) : formatNumber(value);
}

/** "epoch 12: ACC 0.912, NMI 0.870": what a screen reader says of a panel. */
export function panelText(panel, {runs, state, t}) {
  const at = state.at ?? Math.max(...runs.map(run => run[panel.part].columns[0]?.at(-1) ?? 0));
  const lines = panel.lines.filter(line => !state.hidden.has(`${panel.key} ${line.key}`));
  const values = run => lines.map(line => `${line.text} ${valueText(panel, line, run, state.at)}`).join(", ");
  const seen = runs.filter(run => !state.hidden.has(`run ${run.label}`));
  const parts = seen.map(run => (runs.length > 1 ? `${run.label}: ` : "") + values(run));
  return `${t("epoch_n", {epoch: formatEpoch(at)})}: ${parts.join("; ")}`;
}
