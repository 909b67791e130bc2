// @ts-check
// Numbers for axes, and as people read them.

/** The smallest of 1, 2, 5, 10 times `power` that is not below `least`. */
const roundUp = (least, power) => [1, 2, 5, 10].map(m => m * power).find(step => step >= least) ?? 10 * power;
const powerBelow = x => 10 ** Math.floor(Math.log10(x));

/** Round numbers for an axis, about n of them. */
export function ticks(low, high, n = 5) {
  if (!(high > low)) return [low];
  const rough = (high - low) / n;
  const step = roundUp(rough, powerBelow(rough));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return found;
}

/** Label every how many of n places, so that each label has `each` pixels of the room. */
export function labelStep(n, room, each) {
  const least = Math.ceil((n * each) / Math.max(1, room));
  return least <= 1 ? 1 : roundUp(least, powerBelow(least));
}

/** A number in a few characters. */
export function brief(x) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  const size = Math.abs(x);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return x.toExponential(1);
  return String(Number(x.toPrecision(3)));
}

/** The place of the number nearest to x, the later of two; -1 if there are none. */
export function nearestIndex(numbers, x) {
  return numbers.reduce((best, number, i) => {
    return best < 0 || Math.abs(number - x) <= Math.abs(numbers[best] - x) ? i : best;
  }, -1);
}
