// The page: what is claimed, run, shown and said.
"use strict";
const SAY_WHY = "<b>Say why</b> before you go on: do the losses differ, or only the "
  + "accuracies? In training mode too, or in inference mode alone? And what do the "
  + "layers hand on?";

// ---- What is claimed, in words ----------------------------------------------------

const unitOf = s => s.measure === "accuracy" ? "accuracy" : "factor";
const nameOf = kind => knobs.a.options[kind];
const capital = words => words[0].toUpperCase() + words.slice(1);
const claimed = kind => kind === "plain" ? "no normalization" : nameOf(kind);
// A name for each twin; equal ones are told apart by their letters.
const named = (s, words) => [s.a, s.b].map((kind, i) => (
  words(kind) + (s.a === s.b ? ` (${"AB"[i]})` : "")));
const shortNames = s => named(s, kind => facts.short[kind]);
const statement = s => {
  const [a, b] = named(s, claimed);
  return capital(b) + (s.measure === "accuracy"
    ? ` is more accurate than ${a} after ${s.updates} updates`
    : ` reaches ${s.measure} % in fewer updates than ${a}`);
};
const ofBatch = kind => kind === "batch" || kind === "bare";
const averages = s => ofBatch(s.a) || ofBatch(s.b);
const where = s => [
  knobs.data.options[s.data],
  `${s.depth} × ${s.width} ${knobs.act.options[s.act]} units`,
  `weights ${s.scale} × He’s`, `batch size ${s.batch}`,
  `rate ${saidRate(s.rate)}${s.schedule === "falling" ? ", falling" : ""}`,
  ...s.measure === "accuracy" ? [] : [`at most ${s.updates} updates`],
  ...averages(s) ? [`averages’ momentum ${s.momentum}`] : [],
].join(", ");

// ---- The state --------------------------------------------------------------------

let nextId = 1;
let watched = null;  // the pair whose curves are shown
let trial = null;    // the seeds that are run for a verdict
let drawing = false;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const freshPair = (s, seed) => ({s, seed, updates: 0, first: null, histograms: null,
  arms: [s.a, s.b].map((kind, i) => (
    {kind, name: shortNames(s)[i], full: named(s, nameOf)[i], losses: [], checks: [],
      diverged: false}))});

const clear = () => {
  hands.stop();
  trial = null;
  watched = freshPair(settings(), Number(settings().first));
  delete document.documentElement.dataset.done;
};
const jobFor = (s, seed, options = {}) => (
  {id: nextId++, settings: s, seed, watched: false, slowly: false, ...options});

const watchOne = () => {
  clear();
  say("");
  lock(true);
  hands.start([jobFor(watched.s, watched.seed, {watched: true, slowly: true})]);
  draw();
};
const runSeeds = () => {
  clear();
  say("");
  lock(true);
  const s = settings();
  const seeds = Array.from({length: Number(s.seeds)}, (_, i) => s.first + i);
  trial = {s, seeds, results: new Map(), judged: null,
    predicted: document.querySelector("[name=prediction]:checked")?.value};
  hands.start(seeds.map((seed, i) => jobFor(s, seed, {watched: i === 0})));
  draw();
};

const receive = (message, job) => {
  if (job.watched) {
    watched.updates = message.updates;
    watched.histograms = message.histograms;
    watched.first ??= message.histograms;
    watched.arms.forEach((arm, i) => {
      const {losses, checks, diverged} = message.arms[i];
      arm.losses.push(...losses);
      Object.assign(arm, {checks, diverged});
    });
  }
  if (message.done) {
    trial?.results.set(message.seed, message.arms.map(({checks, diverged}) => (
      {...Twins.result(checks, trial.s), diverged})));
    if (!hands.busy) finish();
  }
  if (message.done || !calm.matches) draw();
  else drawRunning();
};
const hands = makeHands(facts.images, receive);

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

const counted = (test, words) => shortNames(trial.s).flatMap((name, i) => {
  const count = pairsOf().filter(arms => test(arms[i])).length;
  return count ? [`${count} of ${trial.seeds.length} runs of ${name} ${words}`] : [];
});
const remarks = () => {
  const found = [
    ...counted(arm => !arm.arrived, "never arrived and count with the whole budget"),
    ...counted(arm => arm.diverged, "diverged"),
  ];
  const {verdict, seeds} = trial.judged;
  if (verdict === "undecided") {
    const most = rule.quantiles.length + 1;
    const offered = Object.keys(knobs.seeds.options).some(count => Number(count) >= seeds);
    found.push(`If seeds go on to scatter like these, ${
      seeds ? `about ${seeds} would decide` : `${most} would not decide`}${
      offered ? "" : ", more than this page offers"}`);
  }
  return found;
};
// After an undecided trial: one with as many seeds as would decide, and none of its own,
// which would count twice. None where the page does not offer so many.
const proposal = () => {
  const {s, judged: {verdict, seeds}} = trial, {options} = knobs.seeds;
  if (verdict !== "undecided" || !seeds) return null;
  const enough = Object.keys(options).find(count => Number(count) >= seeds);
  const first = knobs.first.values.find(value => value >= s.first + Number(s.seeds));
  return enough && first ? {seeds: enough, first} : null;
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
  const ends = arms.map(({full, checks, diverged}) =>
    `${full} ${percent(checks.at(-1).inference)}${diverged ? ", diverged" : ""}`);
  return `Seed ${seed}, ${counting(updates)}: validation accuracy of ${ends.join("; ")}.`;
};

// ---- Drawing ----------------------------------------------------------------------

const percent = share => `${(100 * share).toFixed(1)} %`;
const counting = updates => `${updates} update${updates === 1 ? "" : "s"}`;
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
  const {s, arms, updates, first, histograms, seed} = watched;
  const view = {arms, total: s.updates};
  $("seed").textContent = updates ? `· seed ${seed}` : "";
  $("loss").innerHTML = Charts.losses(view);
  $("accuracy").innerHTML = Charts.accuracy(view);
  $("diverged").hidden = !arms.some(arm => arm.diverged);
  const mean = arm => Charts.runningMean(arm.losses.slice(-16), 16).at(-1);
  const label = (what, of) => `${what} after ${counting(updates)}: ${
    arms.map(arm => `${arm.full} ${of(arm)}`).join(", ")}`;
  const inWords = value => value < 1e4 ? value.toFixed(2) : Charts.brief(value);
  const loss = arm => arm.diverged ? "✗ diverged"
    : arm.losses.length ? inWords(mean(arm)) : "–";
  const accuracy = ({checks}, mode) => (
    checks.length ? percent(checks.at(-1)[mode]) : "–");
  $("loss").setAttribute("aria-label", label("Training loss", loss));
  $("accuracy").setAttribute("aria-label",
    label("Validation accuracy", arm => accuracy(arm, "inference")));
  $("done").textContent = counting(updates);
  $("numbers").tBodies[0].innerHTML = arms.map(arm =>
    `<tr><th scope="row" style="--mark: var(--${arm.kind})">${arm.full}</th>`
    + [loss(arm), accuracy(arm, "inference"), accuracy(arm, "training")]
      .map(words => `<td>${words}</td>`).join("")).join("");
  const shown = moments[0].checked ? first : histograms;
  $("layers").innerHTML = shown ? Charts.layers(arms, shown)
    .map(({svg, label}) => '<svg viewBox="0 0 200 138" role="img" '
      + `aria-label="${label}">${svg}</svg>`).join("") : "";
};

const drawTrial = () => {
  const s = trial?.s ?? settings(), unit = unitOf(s), margin = marginOf(s);
  const values = trial ? effectsOf() : [];
  const interval = values.length > 1 ? Verdict.judge(values, margin, rule) : null;
  $("stack").innerHTML = Charts.stack(
    {values, margin, unit, interval, names: shortNames(s)});
  $("stack").setAttribute("aria-label", `Paired differences: ${
    values.map(v => Verdict.describe(v, unit)).join(", ") || "none yet"}`);
  $("card").innerHTML = trial?.judged ? card() : `<p class="note">${trial
    ? `${values.length} of ${trial.seeds.length} seeds have ended.`
    : "No trial yet: run the seeds."}</p>`;
  $("lesson").hidden = !trial?.judged;
  if (trial?.judged) $("lesson").innerHTML = lesson();
  $("next").hidden = trial?.judged?.verdict !== "undecided";
  const next = trial?.judged ? proposal() : null;
  $("anew").hidden = !next;
  if (next) $("anew").textContent =
    `Begin a new trial: ${next.seeds} seeds, first seed ${next.first}`;
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
    parts.push(`You predicted <b>${predicted}</b>${predicted === verdict
      ? ", and so it is here." : `; here it is <b>${verdict}</b>.`}`);
  }
  if (preset) parts.push(`<b>Why?</b> ${preset.why}`, preset.record);
  else parts.push(SAY_WHY);
  return parts.map(part => `<p>${part}</p>`).join("");
};

const drawButtons = () => {
  const s = settings(), preset = presetOf(s), busy = hands.busy;
  $("claim").textContent = `${statement(s)}.`;
  const last = s.first + Number(s.seeds) - 1;
  $("where").textContent = `${where(s)}; seeds ${s.first} to ${last}.`;
  $("look").hidden = !preset;
  $("look").textContent = preset?.look ?? "";
  $("run").textContent = `Run ${s.seeds} seeds`;
  $("stop").hidden = !busy;
  $("see").hidden = !trial?.judged;
  drawRunning();
  for (const link of document.querySelectorAll("[data-preset]")) {
    if (presets[link.dataset.preset] === preset) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
};
// Beside the buttons, for eyes alone: read aloud, it would never end.
const drawRunning = () => {
  const {seed, s, updates} = watched, words = [];
  if (hands.busy && trial) {
    words.push(`${trial.results.size} of ${trial.seeds.length} seeds have ended`);
  }
  if (hands.busy && updates < s.updates) {
    words.push(`seed ${seed}: ${updates} of ${s.updates} updates`);
  }
  $("running").textContent = words.length ? `${words.join("; ")} …` : "";
};

// ---- Listening --------------------------------------------------------------------

const predictions = [...document.querySelectorAll("[name=prediction]")];
const moments = [...document.querySelectorAll("[name=moment]")];
// The keyboard goes along: `target` takes the focus where the eye is led.
const lead = (target, shown = target) => {
  target.focus({preventScroll: true});
  const behavior = calm.matches ? "auto" : "smooth";
  shown.scrollIntoView({behavior, block: shown === target ? "start" : "center"});
};
const hint = (words, missing) => {
  $("hint").textContent = words;
  $("prediction").classList.toggle("missing", missing);
};
// What was predicted stands once something was seen, until the next question.
const lock = on => {
  for (const input of predictions) input.disabled = on;
  const stands = on && predictions.some(input => input.checked);
  hint(stands ? "It stands until the next question." : "", false);
};
// A question of the page is answered first and run then.
const mayRun = () => {
  if (!presetOf(settings()) || predictions.some(input => input.checked)) return true;
  hint("First predict: choose one of the four.", true);
  lead(predictions[0], $("prediction"));
  return false;
};
// New settings: what was predicted and found was about others. Nothing starts by itself,
// for whoever has seen a seed does not predict.
const changed = () => {
  for (const input of predictions) input.checked = false;
  lock(false);
  clear();
  say("");
  form.elements.momentum.disabled = !averages(settings());
  draw();
};
const follow = () => {
  const wrong = fromHash(location.hash.slice(1));
  writeHash();
  changed();
  say(wrong);
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
  writeHash("pushState");
  changed();
});
addEventListener("hashchange", follow);
$("prediction").addEventListener("change", () => hint("", false));
$("moment").addEventListener("change", draw);
$("run").addEventListener("click", () => { if (mayRun()) runSeeds(); });
$("watch").addEventListener("click", () => { if (mayRun()) watchOne(); });
$("stop").addEventListener("click", () => {
  hands.stop();
  say("Stopped.");
  $("run").focus();  // Stop is about to go
  draw();
});
$("see").addEventListener("click", () => lead($("verdict-title")));
$("anew").addEventListener("click", () => {
  const {seeds, first} = proposal();
  form.elements.seeds.value = seeds;
  form.elements.first.value = knobs.first.values.indexOf(first);
  showKnob(form.elements.first);
  writeHash("pushState");
  changed();
  lead(predictions[0], $("prediction"));
});

if (matchMedia("(max-width: 61.99rem)").matches) {
  document.querySelector(".settings").open = false;
}
$("recorded").hidden = true;
$("live").hidden = false;
follow();
