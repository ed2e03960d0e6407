// The rule of helpers/claims.py, word for word: interval, verdict, and how an effect is
// said. `rule` is what the page's builder took from there.
const Verdict = (() => {
"use strict";

const moments = values => {
  const n = values.length, mean = values.reduce((x, y) => x + y, 0) / n;
  const squares = values.reduce((x, y) => x + (y - mean) ** 2, 0);
  return {n, mean, error: Math.sqrt(squares / (n - 1) / n)};
};

const decide = (low, high, margin) => {
  if (low > margin) return "supported";
  if (high < -margin) return "contradicted";
  return -margin < low && high < margin ? "no effect" : "undecided";
};

// Paired differences, positive where twin B does better; logarithms of ratios.
const effects = (pairs, unit) => pairs.map(([a, b]) => (
  unit === "accuracy" ? b - a : Math.log(a) - Math.log(b)));

const judge = (values, margin, rule) => {
  const {n, mean, error} = moments(values), half = rule.quantiles[n - 2] * error;
  const low = mean - half, high = mean + half;
  return {n, mean, low, high, verdict: decide(low, high, margin)};
};

// How many seeds of the same mean and scatter would decide; null if more than are known.
const needed = (values, margin, rule) => {
  const {n, mean, error} = moments(values), scatter = error * Math.sqrt(n);
  for (let more = n + 1; more <= rule.quantiles.length + 1; more++) {
    const half = rule.quantiles[more - 2] * scatter / Math.sqrt(more);
    if (decide(mean - half, mean + half, margin) !== "undecided") return more;
  }
  return null;
};

const describe = (value, unit, sign = true) => {
  const factor = Math.exp(value);
  if (unit !== "accuracy") {
    return `×${factor < 0.1 ? factor.toPrecision(2) : factor.toFixed(2)}`;
  }
  const size = (100 * Math.abs(value)).toFixed(2);
  const before = value < 0 && Number(size) ? "−" : "+";
  return `${sign || before === "−" ? before : ""}${size} points`;
};

return {decide, describe, effects, judge, needed};
})();
if (typeof module !== "undefined") module.exports = {Verdict};
