"use strict";
// How sure a mean of paired differences is: the same numbers as trajtune/report/uncertainty.py, which says why.

const ROUNDING = 1e-9;
const CONFIDENCE = 0.95;
const FEWEST_TASKS = 3;

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Sample variance. */
function variance(values) {
  const middle = mean(values);
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1);
}

/** Logarithm of the gamma function of x > 0 (Lanczos, g = 7). */
function logGamma(x) {
  const c = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const t = x + 6.5;
  const sum = c.slice(1).reduce((total, each, i) => total + each / (x + i), c[0]);
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** Regularised incomplete beta function, by its continued fraction (modified Lentz). */
function incompleteBeta(x, a, b) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a); // where the fraction converges fast
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  const nonzero = (value) => (Math.abs(value) < 1e-300 ? 1e-300 : value);
  let c = 1, d = 1 / nonzero(1 - ((a + b) * x) / (a + 1)), fraction = d;
  for (let m = 1; m < 1000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    const before = fraction;
    for (const step of [even, odd]) {
      d = 1 / nonzero(1 + step * d);
      c = nonzero(1 + step / c);
      fraction *= c * d;
    }
    if (Math.abs(fraction - before) < 1e-15 * Math.abs(fraction)) break;
  }
  return front * fraction;
}

/** Probability that Student's t lies farther from zero than the given value. */
const beyond = (t, freedom) => incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);

/** The value that Student's t lies beyond with the given probability, on both sides together. */
function reachOf(probability, freedom) {
  let low = 0, high = 1;
  while (beyond(high, freedom) > probability) high *= 2;
  for (let i = 0; i < 200 && high - low > 1e-14 * high; i++) {
    const middle = (low + high) / 2;
    if (beyond(middle, freedom) > probability) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Split pairs of runs, each {task, differences}, into what is a sample of what. */
function strata(pairs) {
  const byTask = new Map();
  for (const pair of pairs) byTask.set(pair.task, [...(byTask.get(pair.task) ?? []), pair]);
  const seeds = [...byTask.values()].map((own) => own.map((pair) => mean(pair.differences)));
  if (byTask.size >= FEWEST_TASKS) return [{ weight: 1, values: seeds.map(mean), over: "tasks" }];
  return [...byTask.values()].map((own, i) => {
    const values = own.length > 1 ? seeds[i] : own[0].differences;
    return { weight: 1 / byTask.size, values, over: own.length > 1 ? "seeds" : "episodes" };
  });
}

/** Mean difference, its 95% interval and p-value, and what they speak of. The last two are null where untold. */
function estimate(pairs) {
  const parts = strata(pairs);
  const value = parts.reduce((sum, part) => sum + part.weight * mean(part.values), 0);
  if (Math.min(...parts.map((part) => part.values.length)) < 2) return { value, interval: null, p: null, over: "nothing" };
  const shares = parts.map((part) => (part.weight ** 2 * variance(part.values)) / part.values.length);
  const total = shares.reduce((sum, share) => sum + share, 0);
  const below = shares.reduce((sum, share, i) => sum + share ** 2 / (parts[i].values.length - 1), 0);
  const plain = parts.reduce((sum, part) => sum + part.values.length - 1, 0);
  const error = Math.sqrt(total) <= ROUNDING * Math.abs(value) ? 0 : Math.sqrt(total); // but for the last bits
  const freedom = error > 0 ? total ** 2 / below : plain; // Welch and Satterthwaite's
  const reach = error === 0 ? 0 : error * reachOf(1 - CONFIDENCE, freedom);
  const p = error === 0 ? (value === 0 ? 1 : 2 ** -plain) : beyond(Math.abs(value) / error, freedom);
  const over = ["episodes", "seeds", "tasks"].find((kind) => parts.some((part) => part.over === kind));
  return { value, interval: [value - reach, value + reach], p, over };
}
