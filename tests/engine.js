// Runs the playground's engine on the cases that come in, for test_playground.py.
const path = require("path");
const from = name => require(path.join(process.argv[2], name));
const {Twins} = from("engine.js"), {Verdict} = from("verdict.js");
const {Charts} = from("charts.js");

const losses = ({settings, seed, images, updates}) => {
  const [train, validation] = images.map(Twins.scaled);
  const pair = new Twins.Pair(settings, seed, {train, validation});
  for (let i = 0; i < updates; i++) pair.update();
  pair.check(true);
  return pair.arms.map(({losses, checks, diverged}) => (
    {losses, diverged, check: checks[0]}));
};

// The largest difference between a gradient and central differences of the loss.
const gradients = ({kind, act, batch, depth}) => {
  const pixels = 7, uniform = Twins.generator(3, 3);
  const start = Twins.kernels(1, [pixels, ...Array(depth).fill(5), 10], 1);
  const network = new Twins.Network(kind, start, act);
  const x = Float64Array.from({length: batch * pixels}, () => uniform());
  const labels = Uint8Array.from({length: batch}, () => Math.floor(10 * uniform()));
  for (const l of network.layers) {  // away from 1 and 0, so that errors cannot hide
    for (const name of ["gamma", "beta"]) l[name].forEach((_, j) => {
      l[name][j] += uniform() - 0.5;
    });
  }
  const loss = () => {
    network.forward(x, batch, "batch");
    return network.loss(labels, batch);
  };
  loss();
  network.backward(batch);
  let worst = 0, largest = 0;
  for (const l of network.layers) {
    const names = ["W", "beta", ...l.normalized ? ["gamma"] : []];
    const found = {W: l.dW.slice(), beta: l.dbeta.slice(), gamma: l.dgamma.slice()};
    for (const name of names) {
      for (let i = 0; i < l[name].length; i++) {
        const kept = l[name][i], step = 1e-6;
        l[name][i] = kept + step;
        const above = loss();
        l[name][i] = kept - step;
        const below = loss();
        l[name][i] = kept;
        worst = Math.max(worst, Math.abs((above - below) / (2 * step) - found[name][i]));
        largest = Math.max(largest, Math.abs(found[name][i]));
      }
    }
  }
  return {worst, largest};
};

const verdicts = ({values, margin, rule}) => {
  const judged = Verdict.judge(values, margin, rule);
  return {...judged, needed: Verdict.needed(values, margin, rule)};
};

const jobs = {losses, gradients, verdicts,
  words: ({value, unit, sign}) => Verdict.describe(value, unit, sign),
  means: ({values, width}) => Charts.runningMean(values, width),
  brief: ({value, digits}) => Charts.brief(value, digits),
  effects: ({pairs, unit}) => Verdict.effects(pairs, unit),
  result: ({checks, settings}) => Twins.result(checks, settings),
  checks: ({total}) => {
    const found = [0];
    while (found.at(-1) < total) found.push(Twins.nextCheck(found.at(-1), total));
    return found;
  }};
let input = "";
process.stdin.on("data", text => { input += text; });
process.stdin.on("end", () => {
  const {job, cases} = JSON.parse(input);
  process.stdout.write(JSON.stringify(cases.map(jobs[job])));
});
