// The page: settings and address, workers, what is shown, what is said.
"use strict";
const $ = id => document.getElementById(id);
const facts = JSON.parse($("data").textContent), {knobs, presets, rule} = facts;
const form = document.querySelector("form");
const REST = 400;  // milliseconds a slider must rest before the twins start anew

// ---- Settings: knobs and the address ----------------------------------------------

const settings = () => Object.fromEntries(Object.entries(knobs).map(([name, knob]) => {
  const {value} = form.elements[name];
  return [name, knob.values ? knob.values[value] : value];
}));
// Halves of halves are said as such: 1/16 is easier than 0.0625.
const said = value => value > 0 && value < 1 && Number.isInteger(Math.log2(value))
  ? `1/${1 / value}` : String(value);
const showKnob = input => {
  if (input.type !== "range") return;
  const words = said(knobs[input.name].values[input.value]);
  input.previousElementSibling.textContent = words;
  input.setAttribute("aria-valuetext", words);
};
const toHash = now => Object.entries(now)
  .filter(([name, value]) => value !== knobs[name].usual)
  .map(([name, value]) => `${name}=${value}`).join("&");
// What the address does not name, or names wrongly, stands where it usually does.
const fromHash = hash => {
  const wanted = new URLSearchParams(hash);
  for (const [name, {values, options, usual}] of Object.entries(knobs)) {
    const valid = values ? values.map(String) : Object.keys(options);
    const known = valid.indexOf(wanted.get(name));
    const value = known < 0 ? valid.indexOf(String(usual)) : known;
    form.elements[name].value = values ? value : valid[value];
    showKnob(form.elements[name]);
  }
};
const writeHash = () => {
  const hash = toHash(settings());
  if (hash === location.hash.slice(1)) return;
  // A frame without an address of its own forbids both: then the page does without.
  try { history.replaceState(null, "", `#${hash}`); } catch { /* nothing to do */ }
};
const presetOf = now => {
  const hash = toHash({...now, seeds: knobs.seeds.usual, first: knobs.first.usual});
  return presets.find(preset => preset.hash === hash);
};

// ---- What is claimed, in words ----------------------------------------------------

const unitOf = s => s.measure === "accuracy" ? "accuracy" : "factor";
const nameOf = kind => knobs.a.options[kind];
const capital = words => words[0].toUpperCase() + words.slice(1);
const statement = s => capital(nameOf(s.b)) + (s.measure === "accuracy"
  ? ` is more accurate than ${nameOf(s.a)} after ${s.updates} updates`
  : ` reaches ${s.measure} % in fewer updates than ${nameOf(s.a)}`);
const where = s => [
  knobs.data.options[s.data],
  `${s.depth} × ${s.width} ${knobs.act.options[s.act]} units`,
  `weights ${s.scale} × He’s`, `batch size ${s.batch}`,
  `rate ${said(s.rate)}${s.schedule === "falling" ? ", falling" : ""}`,
  `${s.updates} updates`, `momentum ${s.momentum}`,
].join(", ");

// ---- Workers; where there are none, the page itself -------------------------------

// The images of a set, a byte a pixel: two pixels a byte, deflated, in base64.
const unpacked = async name => {
  const {packed, labels, pixels, train} = facts.images[name];
  const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const pairs = new Uint8Array(await new Response(stream).arrayBuffer());
  const greys = new Uint8Array(2 * pairs.length);
  pairs.forEach((pair, i) => { greys[2 * i] = pair >> 4; greys[2 * i + 1] = pair & 15; });
  const digits = Uint8Array.from(labels, Number), cut = train * pixels;
  return {
    train: {pixels, greys: greys.slice(0, cut), labels: digits.slice(0, train)},
    validation: {pixels, greys: greys.slice(cut), labels: digits.slice(train)},
  };
};
const images = {};
const imagesOf = name => images[name] ??= unpacked(name);

let noWorkers = typeof Worker === "undefined", workerAddress = null;
const inPage = hand => { hand.post = trainer(message => receive(message, hand), 8); };
const inWorker = hand => {
  workerAddress ??= URL.createObjectURL(new Blob([$("engine").textContent,
    $("trainer").textContent,
    ";const take = trainer(message => postMessage(message), 40);",
    "onmessage = event => take(event.data);"], {type: "text/javascript"}));
  const worker = new Worker(workerAddress);
  hand.post = message => worker.postMessage(message);
  worker.onmessage = event => receive(event.data, hand);
  worker.onerror = event => {  // a policy may forbid what the browser offers
    event.preventDefault();
    worker.terminate();
    noWorkers = true;
    hand.knows.clear();
    inPage(hand);
    if (hand.job) give(hand, hand.job);
  };
};
const newHand = () => {
  const hand = {job: null, knows: new Set()};
  if (!noWorkers) try { inWorker(hand); return hand; } catch { noWorkers = true; }
  inPage(hand);
  return hand;
};
const hands = [], most = Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1));
let queue = [];
const give = async (hand, job) => {
  hand.job = job;
  const name = job.settings.data, found = await imagesOf(name);
  if (hand.job !== job) return;  // stopped while the images were unpacked
  if (!hand.knows.has(name)) hand.post({name, images: found});
  hand.knows.add(name);
  hand.post({job});
};
const stopAll = () => {
  queue = [];
  for (const hand of hands) if (hand.job) { hand.job = null; hand.post({job: null}); }
};
const startAll = jobs => {
  stopAll();
  queue = jobs;
  while (hands.length < Math.min(most, jobs.length)) hands.push(newHand());
  for (const hand of hands) if (queue.length) give(hand, queue.shift());
};

// ---- The state --------------------------------------------------------------------

let nextId = 1;
let watched = null;  // the pair whose curves are shown
let trial = null;    // the seeds that are run for a verdict
let drawing = false;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const freshPair = (s, seed) => ({s, seed, updates: 0, histograms: null,
  arms: [s.a, s.b].map(kind => (
    {kind, name: facts.short[kind], losses: [], checks: [], diverged: false}))});

const clear = () => {
  stopAll();
  trial = null;
  watched = freshPair(settings(), Number(settings().first));
  delete document.documentElement.dataset.done;
};
const jobFor = (s, seed, options = {}) => (
  {id: nextId++, settings: s, seed, watched: false, slowly: false, ...options});

const watchOne = slowly => {
  clear();
  say("");
  startAll([jobFor(watched.s, watched.seed, {watched: true, slowly})]);
  draw();
};
const runSeeds = () => {
  clear();
  say("");
  const s = settings(), seeds = Array.from({length: Number(s.seeds)}, (_, i) => s.first + i);
  trial = {s, seeds, results: new Map(), judged: null,
    predicted: form.ownerDocument.querySelector("[name=prediction]:checked")?.value};
  startAll(seeds.map((seed, i) => jobFor(s, seed, {watched: i === 0})));
  draw();
};

const receive = (message, hand) => {
  if (message.id !== hand.job?.id) return;
  if (hand.job.watched) {
    watched.updates = message.updates;
    watched.histograms = message.histograms;
    watched.arms.forEach((arm, i) => {
      const {losses, checks, diverged} = message.arms[i];
      arm.losses.push(...losses);
      Object.assign(arm, {checks, diverged});
    });
  }
  if (message.done) {
    trial?.results.set(message.seed, message.arms.map(({checks, diverged}) => (
      {...Twins.result(checks, trial.s), diverged})));
    hand.job = null;
    if (queue.length) give(hand, queue.shift());
    else if (hands.every(other => !other.job)) finish();
  }
  if (message.done || !calm.matches) draw();
};

const finish = () => {
  if (trial) {
    trial.judged = judged();
    say(spokenTrial());
  } else say(spokenPair());
  document.documentElement.dataset.done = "";
};

// ---- The trial --------------------------------------------------------------------

const pairsOf = () => trial.seeds.filter(seed => trial.results.has(seed))
  .map(seed => trial.results.get(seed));
const effectsOf = () => Verdict.effects(
  pairsOf().map(arms => arms.map(({value}) => value)), unitOf(trial.s));
const marginOf = s => rule.margins[unitOf(s)];
const judged = () => {
  const values = effectsOf(), margin = marginOf(trial.s);
  const found = Verdict.judge(values, margin, rule);
  const seeds = found.verdict === "undecided"
    ? Verdict.needed(values, margin, rule) : found.n;
  return {...found, seeds};
};

const counted = (test, words) => trial.s && [0, 1].map(i => {
  const count = pairsOf().filter(arms => test(arms[i])).length;
  return count ? `${facts.short[i ? trial.s.b : trial.s.a]}: ${count} of ${
    trial.seeds.length} runs ${words}` : "";
}).filter(Boolean);
const remarks = () => {
  const found = [
    ...counted(arm => !arm.arrived, "never arrived and count with the whole budget"),
    ...counted(arm => arm.diverged, "diverged"),
  ];
  const {verdict, seeds} = trial.judged;
  if (verdict === "undecided") {
    found.push(seeds ? `If seeds go on to scatter like these, about ${seeds} would decide`
      : `If seeds go on to scatter like these, ${rule.quantiles.length + 1} would not decide`);
  }
  return found;
};
const effectWords = () => {
  const {mean, low, high} = trial.judged, unit = unitOf(trial.s);
  const [effect, from, to] = [mean, low, high].map(v => Verdict.describe(v, unit));
  return `${effect} (95 % interval ${from} to ${to})`;
};
const spokenTrial = () => `${trial.seeds.length} seeds: ${trial.judged.verdict}. Effect ${
  effectWords()}. ${remarks().map(remark => `${remark}.`).join(" ")}`.trim();
const spokenPair = () => {
  const {arms, seed, updates} = watched;
  const ends = arms.map(({kind, checks, diverged}) =>
    `${nameOf(kind)} ${percent(checks.at(-1).inference)}${diverged ? ", diverged" : ""}`);
  return `Seed ${seed}, ${updates} updates: validation accuracy of ${ends.join("; ")}.`;
};

// ---- Drawing ----------------------------------------------------------------------

const percent = share => `${(100 * share).toFixed(1)} %`;
const say = words => { $("status").textContent = words; };

// At most once a frame, however fast the workers report.
const draw = () => {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawPair();
    drawTrial();
    drawButtons();
  });
};

const drawPair = () => {
  const {s, arms, updates, histograms, seed} = watched, view = {arms, total: s.updates};
  $("seed").textContent = updates ? `seed ${seed}` : "";
  $("loss").innerHTML = Charts.losses(view);
  $("accuracy").innerHTML = Charts.accuracy(view);
  const mean = arm => Charts.runningMean(arm.losses, 16).at(-1);
  const label = (what, of) => `${what} after ${updates} updates: ${
    arms.map(arm => `${nameOf(arm.kind)} ${of(arm)}`).join(", ")}`;
  const loss = arm => arm.diverged ? "diverged" : (mean(arm)?.toFixed(2) ?? "–");
  const accuracy = (arm, mode) => arm.checks.length ? percent(arm.checks.at(-1)[mode]) : "–";
  $("loss").setAttribute("aria-label", label("Training loss", loss));
  $("accuracy").setAttribute("aria-label",
    label("Validation accuracy", arm => accuracy(arm, "inference")));
  $("done").textContent = updates;
  $("numbers").tBodies[0].innerHTML = arms.map(arm => `<tr><th scope="row" style="--mark:
    var(--${arm.kind})">${nameOf(arm.kind)}</th><td>${loss(arm)}</td><td>${
    accuracy(arm, "inference")}</td><td>${accuracy(arm, "training")}</td></tr>`).join("");
  $("layers").innerHTML = histograms ? Charts.layers(arms, histograms)
    .map(({svg, label}) => `<svg viewBox="0 0 200 110" role="img" aria-label="${label}">${
      svg}</svg>`).join("") : "";
};

const drawTrial = () => {
  const s = trial?.s ?? settings(), unit = unitOf(s), margin = marginOf(s);
  const values = trial ? effectsOf() : [];
  const interval = values.length > 1 ? Verdict.judge(values, margin, rule) : null;
  const names = [s.a, s.b].map(kind => facts.short[kind]);
  $("stack").innerHTML = Charts.stack({values, margin, unit, interval, names});
  $("stack").setAttribute("aria-label", `Paired differences: ${
    values.map(v => Verdict.describe(v, unit)).join(", ") || "none yet"}`);
  $("card").innerHTML = trial?.judged ? card() : `<p class="note">${trial
    ? `${values.length} of ${trial.seeds.length} seeds have ended.`
    : "No trial yet: run the seeds."}</p>`;
  $("lesson").hidden = !trial?.judged;
  if (trial?.judged) $("lesson").innerHTML = lesson();
};

const card = () => {
  const {judged: {verdict, n}, s} = trial, colour = rule.colours[verdict];
  const lines = [`<b>${statement(s)}</b>`, `<span class="note">${where(s)}</span>`,
    `<span style="background:${colour};color:#fff;padding:.1em .6em;border-radius:.8em;`
    + `font-weight:600">${verdict}</span> effect ${effectWords()} · margin ${
      Verdict.describe(marginOf(s), unitOf(s), false)} · ${n} paired seeds`,
    ...remarks().map(remark => `${remark}.`)];
  return `<div class="bn-verdict" style="${rule.bars[verdict]};padding:.5em 1em;`
    + `margin:.6em 0;max-width:46em;line-height:1.5">${
      lines.map(line => `<div>${line}</div>`).join("")}</div>`;
};

const lesson = () => {
  const {predicted, judged: {verdict}} = trial, preset = presetOf(trial.s), parts = [];
  if (predicted) {
    parts.push(predicted === verdict ? `You predicted <b>${predicted}</b>, and so it is here.`
      : `You predicted <b>${predicted}</b>; here it is <b>${verdict}</b>.`);
  }
  if (preset) parts.push(`<b>Why?</b> ${preset.why}`, preset.record);
  return parts.map(part => `<p>${part}</p>`).join("");
};

const drawButtons = () => {
  const s = settings(), preset = presetOf(s), busy = hands.some(hand => hand.job);
  $("claim").textContent = `${statement(s)}.`;
  $("where").textContent = `${where(s)}; seeds ${s.first} to ${s.first + Number(s.seeds) - 1}.`;
  $("look").hidden = !preset;
  $("look").textContent = preset?.look ?? "";
  $("run").textContent = `Run ${s.seeds} seeds`;
  $("stop").hidden = !busy;
  for (const link of document.querySelectorAll("[data-preset]")) {
    const own = link.dataset.preset ? presets[link.dataset.preset].hash : "";
    if (own === toHash({...s, seeds: knobs.seeds.usual, first: knobs.first.usual})) {
      link.setAttribute("aria-current", "true");
    } else link.removeAttribute("aria-current");
  }
};

// ---- Listening --------------------------------------------------------------------

const predictions = [...document.querySelectorAll("[name=prediction]")];
// A question of the page is answered first and run then.
const mayRun = () => {
  if (!presetOf(settings()) || predictions.some(input => input.checked)) return true;
  say("First predict: choose one of the four verdicts.");
  predictions[0].focus();
  return false;
};
// New settings: what was predicted and found was about others.
const changed = () => {
  for (const input of predictions) input.checked = false;
  clear();
  say("");
  draw();
  clearTimeout(changed.rest);
  if (!presetOf(settings())) changed.rest = setTimeout(() => watchOne(false), REST);
};

form.addEventListener("input", event => {
  showKnob(event.target);
  writeHash();
  changed();
});
form.addEventListener("submit", event => event.preventDefault());
document.querySelector(".presets").addEventListener("click", event => {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();  // a frame without an address cannot follow it
  fromHash(link.hash.slice(1));
  writeHash();
  changed();
});
addEventListener("hashchange", () => { fromHash(location.hash.slice(1)); changed(); });
$("run").addEventListener("click", () => { if (mayRun()) runSeeds(); });
$("watch").addEventListener("click", () => { if (mayRun()) watchOne(true); });
$("stop").addEventListener("click", () => { stopAll(); say("Stopped."); draw(); });

if (matchMedia("(max-width: 61.99rem)").matches) {
  document.querySelector(".settings").open = false;
}
fromHash(location.hash.slice(1));
$("recorded").hidden = true;
$("live").hidden = false;
changed();
