// Drawings, as the text of SVG elements. Nothing in here knows the page.
const Charts = (() => {
"use strict";
const WIDTH = 460, HEIGHT = 250, LEFT = 44, TOP = 8, BOTTOM = 40;
const POINTS = 256;  // a line needs no more

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const text = (x, y, words, attributes = "") =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${words}</text>`;
const line = (points, names) => {
  const places = points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
  return points.length < 2 ? "" : `<path class="line ${names}" d="M${places}"/>`;
};

// Each window is summed anew: what is added and subtracted again leaves its rounding
// behind, and after one huge loss that is larger than all that follow.
const runningMean = (values, width) => values.map((_, i) => {
  const window = values.slice(Math.max(0, i + 1 - width), i + 1);
  return window.reduce((sum, value) => sum + value, 0) / window.length;
});

// In few letters, as there is room for few: 860, but 4e35.
const brief = (value, digits = 1) => {
  if (!Number.isFinite(value)) return "∞";
  const size = Math.abs(value);
  if (size >= 1e4 || (size > 0 && size < 1e-3)) {
    return value.toExponential(digits - 1).replace("e+", "e");
  }
  const words = value.toPrecision(digits);
  return words.includes("e") ? String(Number(words)) : words;
};

// Both axes of a chart over updates: places of values, and what is drawn behind lines.
// To the right there is room for the longest name and a mark.
const frame = ({arms, total: updates}, [low, high], marks) => {
  const longest = arms.reduce((most, arm) => Math.max(most, arm.name.length), 0);
  const right = WIDTH - 30 - 8 * longest, floor = HEIGHT - BOTTOM;
  const x = u => LEFT + (right - LEFT) * u / updates;
  const y = v => floor - (floor - TOP) * (clamp(v, low, high) - low) / (high - low);
  const lines = marks.map(([value, words]) =>
    `<path class="grid" d="M${LEFT} ${y(value).toFixed(1)}H${right}"/>`
    + text(LEFT - 6, y(value) + 4.5, words, 'text-anchor="end"'));
  const ticks = [0, updates / 2, updates].map(u =>
    text(x(u), floor + 18, u, 'text-anchor="middle"'));
  const name = text((LEFT + right) / 2, floor + 35, "updates", 'text-anchor="middle"');
  return {x, y, right, back: [...lines, ...ticks, name].join("")};
};

// Names at the ends of two lines, kept apart and in the picture.
const names = (ends, right) => {
  const [first, second] = ends.sort((one, other) => one.y - other.y);
  const overlap = Math.max(0, 16 - (second.y - first.y)) / 2;
  const above = Math.max(0, TOP - (first.y - overlap));
  const below = Math.max(0, second.y + overlap - (HEIGHT - BOTTOM));
  first.y += above - below - overlap;
  second.y += above - below + overlap;
  return ends.map(({kind, name, y}) =>
    text(right + 6, y + 4.5, name, `class="name ${kind}"`)).join("");
};

// Arms: {kind, name, losses, checks, diverged}.
const losses = view => {
  const {arms, total} = view;
  const window = Math.max(1, Math.round(total / 16));
  const means = arms.map(arm => runningMean(arm.losses, window));
  const seen = means.flat();
  const most = seen.reduce((a, b) => Math.max(a, b), 3);
  const least = seen.reduce((a, b) => Math.min(a, b), 0.3);
  const decade = value => Math.log10(Math.max(value, 1e-9));
  // 1 and 3 of each decade, from one mark below what is seen to one above.
  const mark = i => (i % 2 ? 3 : 1) * 10 ** Math.floor(i / 2);
  const from = Math.floor(2 * decade(least) + 0.05);
  const to = Math.ceil(2 * decade(most) - 0.05);
  const every = Math.ceil((to - from) / 7), marks = [];
  for (let i = from; i <= to; i += every) marks.push(mark(i));
  const {x, y, right, back} = frame(view, [from / 2, to / 2],
    marks.map(v => [decade(v), brief(v)]));
  const thin = values => {
    const step = Math.ceil(total / POINTS);
    return values.map((v, i) => [x(i + 1), y(decade(v))])
      .filter((_, i) => i % step === 0 || i === values.length - 1);
  };
  const drawn = arms.map((arm, i) =>
    line(thin(arm.losses), `raw ${arm.kind}`) + line(thin(means[i]), arm.kind));
  const ends = arms.map(({kind, name, diverged}, i) => ({
    kind, name: name + (diverged ? " ✗" : ""),
    y: y(decade(means[i].length ? means[i][means[i].length - 1] : 2.3))}));
  return back + drawn.join("") + names(ends, right);
};

const accuracy = view => {
  const {arms} = view;
  const marks = [0, 0.25, 0.5, 0.75, 1].map(v => [v, 100 * v]);
  const {x, y, right, back} = frame(view, [0, 1], marks);
  const places = (checks, mode) => checks.map(check => [x(check.updates), y(check[mode])]);
  const drawn = arms.map(({kind, checks}) => {
    const differs = checks.some(check => check.training !== check.inference);
    return (differs ? line(places(checks, "training"), `thin ${kind}`) : "")
      + line(places(checks, "inference"), kind);
  });
  const ends = arms.map(({kind, name, checks, diverged}) => ({
    kind, name: name + (diverged ? " ✗" : ""),
    y: y(checks.length ? checks[checks.length - 1].inference : 0.1)}));
  return back + drawn.join("") + names(ends, right);
};

// One drawing a layer: {svg, label}. Histograms: a list of layers for each arm.
const layers = (arms, histograms) => histograms[0].map((_, layer) => {
  const width = 200, base = 116, left = 2;
  let svg = `<path class="axis" d="M0 ${base}H${width}M${width / 2} ${base}v4"/>`
    + text(left, base + 18, "−4")
    + text(width / 2, base + 18, "0", 'text-anchor="middle"')
    + text(width - 2, base + 18, "4", 'text-anchor="end"')
    + text(left, 13, `layer ${layer + 1}`);
  const says = arms.map(({kind, name}, i) => {
    const {shares, mean, deviation} = histograms[i][layer], step = width / shares.length;
    const top = share => base - (base - 38) * Math.min(1, Math.sqrt(share / 0.25));
    const steps = shares.map((share, k) =>
      `V${top(share).toFixed(1)}H${((k + 1) * step).toFixed(1)}`);
    svg += `<path class="shape ${kind}" d="M0 ${base}${steps.join("")}V${base}"/>`
      + text(width - 2, 13 + 15 * i, `sd ${brief(deviation, 2)}`,
        `class="name ${kind}" text-anchor="end"`);
    return `${name} mean ${brief(mean, 2)}, standard deviation ${brief(deviation, 2)}`;
  });
  return {svg, label: `Layer ${layer + 1}: ${says.join("; ")}`};
});

// Ticks of an axis from -limit to limit: points of accuracy, or factors.
const ticksOf = (limit, unit) => {
  const steps = [-4, -3, -2, -1, 0, 1, 2, 3, 4];
  if (unit !== "accuracy") {
    const step = Math.max(1, Math.ceil(limit / Math.LN2 / 4));
    return steps.map(k => k * step).map(power => (
      [power * Math.LN2, power < 0 ? `×1/${2 ** -power}` : `×${2 ** power}`]));
  }
  const rough = 100 * limit / 4, ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * [1, 2, 5, 10].find(k => k * ten >= rough);
  const sign = k => k > 0 ? "+" : k < 0 ? "−" : "";
  return steps.map(k => (
    [k * step / 100, sign(k) + Number((step * Math.abs(k)).toPrecision(2))]));
};

// Differences, the margin, and (from two on) their interval.
const stack = ({values, margin, unit, interval, names: [a, b]}) => {
  const width = WIDTH, floor = 92, middle = width / 2;
  const ends = interval && values.length >= 5 ? [interval.low, interval.high] : [];
  const limit = 1.08 * [...values, ...ends, 4 * margin]
    .reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const x = v => middle + (middle - 14) * clamp(v / limit, -1, 1);
  let svg = `<rect class="band" x="${x(-margin).toFixed(1)}" y="6" width="${
    (x(margin) - x(-margin)).toFixed(1)}" height="${floor - 6}"/>`
    + `<path class="axis" d="M8 ${floor}H${width - 8}M${middle} 6V${floor}"/>`;
  for (const [v, words] of ticksOf(limit, unit)) {
    if (Math.abs(v) > limit) continue;
    const room = 4.8 * String(words).length;  // half of its width, so that none is cut
    svg += `<path class="axis" d="M${x(v).toFixed(1)} ${floor}v4"/>`
      + text(clamp(x(v), room, width - room), floor + 18, words, 'text-anchor="middle"');
  }
  svg += text(4, floor + 36, `← ${a} ahead`)
    + text(width - 4, floor + 36, `${b} ahead →`, 'text-anchor="end"');
  values.forEach((v, i) => {
    const near = other => Math.abs(x(other) - x(v)) < 9;
    const under = values.slice(0, i).filter(near).length;
    svg += `<circle class="dot" cx="${x(v).toFixed(1)}" cy="${
      Math.max(34, floor - 8 - 9 * under)}" r="4.2"/>`;
  });
  if (interval) {
    const [low, mean, high] = ["low", "mean", "high"].map(k => x(interval[k]).toFixed(1));
    svg += `<path class="interval" d="M${low} 18H${high}M${low} 12v12M${high} 12v12"/>`
      + `<circle class="mean" cx="${mean}" cy="18" r="5.5"/>`;
  }
  return svg;
};

return {accuracy, brief, layers, losses, runningMean, stack};
})();
if (typeof module !== "undefined") module.exports = {Charts};
