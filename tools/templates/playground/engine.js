// Two networks that differ in their normalization alone. No page in here: it runs in a
// worker, in a page that may not have workers, and in Node. All numbers are float64, so
// that NumPy (tools/twins.py) finds the same losses.
const Twins = (() => {
"use strict";
const EPSILON = 1e-3, CLASSES = 10, CHUNK = 256;
// What the notebooks' single precision can hold. There a larger loss is not finite and
// the run has diverged; so it has here, though float64 could count on.
const LARGEST = (2 - 2 ** -23) * 2 ** 127;

// ---- Random numbers: the same bits in any language --------------------------------

// sfc32 needs nothing but 32-bit integers.
const generator = (seed, purpose, turn = 0) => {
  let a = seed | 0, b = purpose | 0, c = turn | 0, d = 1;
  const next = () => {
    const t = (a + b | 0) + d | 0;
    d = d + 1 | 0;
    a = b ^ b >>> 9;
    b = c + (c << 3) | 0;
    c = (c << 21 | c >>> 11) + t | 0;
    return (t >>> 0) / 4294967296;
  };
  for (let i = 0; i < 15; i++) next();
  return next;
};

// Twelve uniform numbers add up to nearly a normal one, and sums, unlike logarithms,
// round alike everywhere. Cut at 2 as Keras' is; .8861 is the deviation of what is left.
const normal = uniform => {
  for (;;) {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += uniform();
    if (Math.abs(sum) <= 2) return sum / 0.8861;
  }
};

const shuffled = (uniform, size) => {
  const order = Int32Array.from({length: size}, (_, i) => i);
  for (let i = size - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
};

// The kernels of a seed: `scale` times He's for hidden layers, Glorot's for the last.
const kernels = (seed, sizes, scale) => {
  const uniform = generator(seed, 1);
  return sizes.slice(1).map((to, i) => {
    const from = sizes[i], last = i === sizes.length - 2;
    const deviation = scale * Math.sqrt(2 / from), limit = Math.sqrt(6 / (from + to));
    const draw = last ? () => limit * (2 * uniform() - 1)
      : () => deviation * normal(uniform);
    return {from, to, W: Float64Array.from({length: from * to}, draw)};
  });
};

// ---- Arithmetic -------------------------------------------------------------------

// C[i, j] = Σ A[i, k] · B[k, j] over p values of k. Strides say how far apart neighbours
// lie, so that a transposed matrix need not be copied. Two rows and four columns at a
// time: eight sums for six numbers read. At an edge the steps become 0, and what was
// summed twice is not written.
const product = (C, A, B, n, m, p, [ai, ak], [bk, bj]) => {
  for (let i = 0; i < n; i += 2) {
    const two = i + 1 < n, down = two ? ai : 0;
    for (let j = 0; j < m; j += 4) {
      const left = m - j;
      const b1 = left > 1 ? bj : 0;
      const b2 = left > 2 ? 2 * bj : 0, b3 = left > 3 ? 3 * bj : 0;
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
      for (let k = 0, a = i * ai, b = j * bj; k < p; k++, a += ak, b += bk) {
        const x = A[a], y = A[a + down];
        const w0 = B[b], w1 = B[b + b1], w2 = B[b + b2], w3 = B[b + b3];
        s0 += x * w0; s1 += x * w1; s2 += x * w2; s3 += x * w3;
        t0 += y * w0; t1 += y * w1; t2 += y * w2; t3 += y * w3;
      }
      const c = i * m + j, d = c + m;
      C[c] = s0;
      if (b1) C[c + 1] = s1;
      if (b2) C[c + 2] = s2;
      if (b3) C[c + 3] = s3;
      if (!two) continue;
      C[d] = t0;
      if (b1) C[d + 1] = t1;
      if (b2) C[d + 2] = t2;
      if (b3) C[d + 3] = t3;
    }
  }
};

const sigmoid = y => 1 / (1 + Math.exp(-y));
// The function, and its slope from its input and output.
const ACTIVATIONS = {
  relu: [y => y > 0 ? y : 0, y => y > 0 ? 1 : 0],
  leaky: [y => y > 0 ? y : 0.3 * y, y => y > 0 ? 1 : 0.3],
  tanh: [Math.tanh, (y, out) => 1 - out * out],
  sigmoid: [sigmoid, (y, out) => out * (1 - out)],
};

// Over what a layer's values are normalized, and whether γ and β are learned.
const KINDS = {
  plain: {},
  batch: {over: "batch", learned: true},
  layer: {over: "units", learned: true},
  bare: {over: "batch", learned: false},
};

// ---- One network ------------------------------------------------------------------

class Network {
  // `start`: kernels as above; they are copied.
  constructor(kind, start, activation) {
    this.kind = KINDS[kind];
    [this.activate, this.slope] = ACTIVATIONS[activation];
    const last = start.length - 1;
    this.layers = start.map(({from, to, W}, i) => ({
      from, to, W: W.slice(), dW: new Float64Array(W.length),
      normalized: i < last && Boolean(this.kind.over),
      learned: i === last || !this.kind.over || this.kind.learned,
      gamma: new Float64Array(to).fill(1), dgamma: new Float64Array(to),
      beta: new Float64Array(to), dbeta: new Float64Array(to),
      mean: new Float64Array(to), variance: new Float64Array(to).fill(1),
    }));
    this.rows = 0;
  }

  get top() { return this.layers[this.layers.length - 1]; }

  makeRoom(rows) {
    if (rows <= this.rows) return;
    this.rows = rows;
    for (const l of this.layers) {
      // z: the weighted sums, then normalized; y: what the activation gets; d: gradients.
      for (const name of ["z", "y", "out", "d"]) l[name] = new Float64Array(rows * l.to);
      l.deviation = new Float64Array(Math.max(rows, l.to));
    }
  }

  // Logits of n images. "train": from the batch's statistics, which the moving averages
  // take in; "batch": from them too, with nothing remembered; "inference": from the
  // moving averages.
  forward(x, n, mode, momentum) {
    this.makeRoom(n);
    this.x = x;
    let input = x;
    for (const l of this.layers) {
      const {to, z, y, beta} = l, size = n * to;
      product(z, input, l.W, n, to, l.from, [l.from, 1], [to, 1]);
      if (!l.normalized) for (let i = 0; i < size; i++) y[i] = z[i] + beta[i % to];
      else if (this.kind.over === "batch" && mode === "inference") this.fixed(l, n);
      else this.normalize(l, n, mode === "train" ? momentum : null);
      if (l === this.top) return y;
      for (let i = 0; i < size; i++) l.out[i] = this.activate(y[i]);
      input = l.out;
    }
  }

  // Groups of values that are normalized together: a unit's over the batch are a column,
  // an image's over the units a row.
  groups(l, n) {
    return this.kind.over === "batch" ? {count: l.to, size: n, apart: 1, step: l.to}
      : {count: n, size: l.to, apart: l.to, step: 1};
  }

  normalize(l, n, momentum) {
    const {z, y, gamma, beta, to} = l, {count, size, apart, step} = this.groups(l, n);
    for (let g = 0; g < count; g++) {
      const start = g * apart, end = start + size * step;
      let mean = 0, variance = 0;
      for (let i = start; i < end; i += step) mean += z[i];
      mean /= size;
      for (let i = start; i < end; i += step) variance += (z[i] - mean) * (z[i] - mean);
      variance /= size;
      const deviation = l.deviation[g] = Math.sqrt(variance + EPSILON);
      for (let i = start; i < end; i += step) z[i] = (z[i] - mean) / deviation;
      if (momentum === null || this.kind.over !== "batch") continue;
      l.mean[g] = momentum * l.mean[g] + (1 - momentum) * mean;
      l.variance[g] = momentum * l.variance[g] + (1 - momentum) * variance;
    }
    for (let i = 0; i < n * to; i++) y[i] = gamma[i % to] * z[i] + beta[i % to];
  }

  fixed(l, n) {
    const {z, y, gamma, beta, mean, variance, to} = l;
    for (let j = 0; j < to; j++) {
      const factor = gamma[j] / Math.sqrt(variance[j] + EPSILON);
      for (let i = j; i < n * to; i += to) y[i] = factor * (z[i] - mean[j]) + beta[j];
    }
  }

  // The loss of the logits of the last `forward`, and its gradient in `top.d`.
  loss(labels, n) {
    const {y, d} = this.top;
    let loss = 0;
    for (let i = 0; i < n; i++) {
      const at = i * CLASSES;
      let most = -Infinity, sum = 0;
      for (let j = 0; j < CLASSES; j++) most = Math.max(most, y[at + j]);
      for (let j = 0; j < CLASSES; j++) sum += d[at + j] = Math.exp(y[at + j] - most);
      loss += Math.log(sum) + most - y[at + labels[i]];
      for (let j = 0; j < CLASSES; j++) {
        d[at + j] = (d[at + j] / sum - (j === labels[i] ? 1 : 0)) / n;
      }
    }
    return loss / n;
  }

  // From `top.d` to the gradients of everything that is learned.
  backward(n) {
    for (let i = this.layers.length - 1; i >= 0; i--) {
      const l = this.layers[i], below = this.layers[i - 1], {from, to, d, y, out} = l;
      if (l !== this.top) {
        for (let k = 0; k < n * to; k++) d[k] *= this.slope(y[k], out[k]);
      }
      l.dbeta.fill(0);
      for (let k = 0; k < n * to; k++) l.dbeta[k % to] += d[k];
      if (l.normalized) this.backwardNormalized(l, n);
      if (below) product(below.d, d, l.W, n, from, to, [to, 1], [1, to]);
      product(l.dW, below ? below.out : this.x, d, from, to, n, [1, from], [to, 1]);
    }
  }

  // d, the gradient of y, becomes that of the weighted sums: γ/s · (d - mean(d) - x̂ ·
  // mean(d · x̂)), with the means over the group.
  backwardNormalized(l, n) {
    const {d, z, gamma, dgamma, to} = l, {count, size, apart, step} = this.groups(l, n);
    dgamma.fill(0);
    for (let k = 0; k < n * to; k++) {
      dgamma[k % to] += d[k] * z[k];
      d[k] *= gamma[k % to];
    }
    for (let g = 0; g < count; g++) {
      const start = g * apart, end = start + size * step;
      let mean = 0, along = 0;
      for (let k = start; k < end; k += step) { mean += d[k]; along += d[k] * z[k]; }
      mean /= size;
      along /= size;
      for (let k = start; k < end; k += step) {
        d[k] = (d[k] - mean - z[k] * along) / l.deviation[g];
      }
    }
  }

  descend(rate) {
    for (const l of this.layers) {
      for (let i = 0; i < l.W.length; i++) l.W[i] -= rate * l.dW[i];
      if (!l.learned) continue;
      for (let j = 0; j < l.to; j++) l.beta[j] -= rate * l.dbeta[j];
      if (!l.normalized) continue;
      for (let j = 0; j < l.to; j++) l.gamma[j] -= rate * l.dgamma[j];
    }
  }

  // One update; returns the loss before it. With a loss too large there is none.
  step(x, labels, n, rate, momentum) {
    this.forward(x, n, "train", momentum);
    const loss = this.loss(labels, n);
    if (loss <= LARGEST) {  // not where it is NaN
      this.backward(n);
      this.descend(rate);
    }
    return loss;
  }

  // Share of right answers. Mode "batch" takes `chunk` images at a time, as training did.
  accuracy({x, labels, pixels}, mode, chunk) {
    let right = 0;
    for (let at = 0; at < labels.length; at += chunk) {
      const n = Math.min(chunk, labels.length - at);
      const y = this.forward(x.subarray(at * pixels, (at + n) * pixels), n, mode);
      for (let i = 0; i < n; i++) {
        let best = 0;
        for (let j = 1; j < CLASSES; j++) {
          if (y[i * CLASSES + j] > y[i * CLASSES + best]) best = j;
        }
        if (best === labels[at + i]) right++;
      }
    }
    return right / labels.length;
  }

  // What each hidden layer hands to its activation in training, for the first images:
  // shares of values in bins from -limit to limit, the outer ones with all beyond.
  histograms({x, pixels}, images, chunk, bins = 48, limit = 4) {
    const found = this.layers.slice(0, -1).map(() => (
      {shares: new Array(bins).fill(0), sum: 0, squares: 0}));
    for (let at = 0; at < images; at += chunk) {
      this.forward(x.subarray(at * pixels, (at + chunk) * pixels), chunk, "batch");
      found.forEach((h, layer) => {
        const {y, to} = this.layers[layer];
        for (let i = 0; i < chunk * to; i++) {
          const bin = Math.floor((y[i] + limit) / (2 * limit) * bins);
          h.shares[Math.min(bins - 1, Math.max(0, bin)) || 0] += 1 / (images * to);
          h.sum += y[i] / (images * to);
          h.squares += y[i] * y[i] / (images * to);
        }
      });
    }
    return found.map(({shares, sum, squares}) => (
      {shares, mean: sum, deviation: Math.sqrt(Math.max(0, squares - sum * sum))}));
  }
}

// ---- Twins: the same kernels, the same batches ------------------------------------

// Checks are an eighth of the way apart, closer than the margin of a factor, and at
// least 32 a run, so that the curves are smooth.
const nextCheck = (updates, total) => {
  const step = Math.min(Math.floor(updates / 8), Math.floor(total / 32));
  return Math.min(total, updates + Math.max(1, step));
};

// From greys 0 to 15, as the page brings them, to numbers from 0 to 1.
const scaled = ({greys, labels, pixels}) => (
  {x: Float64Array.from(greys, grey => grey / 15), labels, pixels});

class Pair {
  // `data`: train and validation, each scaled.
  constructor(settings, seed, {train, validation}) {
    const {a, b, depth, width, scale, batch, act} = settings;
    Object.assign(this, {settings, seed, train, validation});
    this.updates = this.epoch = 0;
    this.at = Infinity;
    const sizes = [train.pixels, ...Array(depth).fill(width), CLASSES];
    const start = kernels(seed, sizes, scale);
    this.arms = [a, b].map(kind => (
      {network: new Network(kind, start, act), losses: [], checks: [], diverged: false}));
    this.x = new Float64Array(batch * train.pixels);
    this.labels = new Uint8Array(batch);
  }

  // What is left of an epoch and fills no batch is skipped.
  nextBatch() {
    const {x, labels, train: {pixels}} = this, size = this.train.labels.length;
    if (this.at + labels.length > size) {
      this.order = shuffled(generator(this.seed, 2, ++this.epoch), size);
      this.at = 0;
    }
    for (let i = 0; i < labels.length; i++) {
      const image = this.order[this.at++];
      x.set(this.train.x.subarray(image * pixels, (image + 1) * pixels), i * pixels);
      labels[i] = this.train.labels[image];
    }
  }

  get rate() {
    const {rate, schedule, updates} = this.settings;
    const done = this.updates / updates;
    return schedule === "falling" ? rate * (1 + Math.cos(Math.PI * done)) / 2 : rate;
  }

  update() {
    const {batch, momentum} = this.settings, {rate, x, labels} = this;
    this.nextBatch();
    this.updates++;
    for (const arm of this.arms) {
      if (arm.diverged) continue;
      const loss = arm.network.step(x, labels, batch, rate, momentum);
      if (loss <= LARGEST) arm.losses.push(loss);
      else arm.diverged = true;
    }
  }

  // Validation accuracy in inference mode; as in training too, where that differs.
  check(both) {
    for (const {network, checks} of this.arms) {
      const inference = network.accuracy(this.validation, "inference", CHUNK);
      const differs = both && network.kind.over === "batch";
      const training = differs
        ? network.accuracy(this.validation, "batch", this.settings.batch) : inference;
      checks.push({updates: this.updates, inference, training});
    }
  }

  histograms() {
    const chunk = this.settings.batch, {validation} = this;
    return this.arms.map(({network}) => network.histograms(validation, CHUNK, chunk));
  }
}

// What a pair is judged by: accuracies at the end, or the updates to a threshold, in
// per cent. A run that never arrives counts with its whole budget.
const result = (checks, {measure, updates}) => {
  if (measure === "accuracy") {
    return {value: checks[checks.length - 1].inference, arrived: true};
  }
  const first = checks.find(check => check.inference >= Number(measure) / 100);
  return {value: first ? first.updates : updates, arrived: Boolean(first)};
};

return {LARGEST, Network, Pair, generator, kernels, shuffled, nextCheck, scaled, result};
})();
if (typeof module !== "undefined") module.exports = {Twins};
