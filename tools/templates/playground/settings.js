// What is set: the knobs, and the address that holds what is not as usual.
"use strict";
const $ = id => document.getElementById(id);
const facts = JSON.parse($("data").textContent), {knobs, presets, rule} = facts;
const form = document.querySelector("form");

const settings = () => Object.fromEntries(Object.entries(knobs).map(([name, knob]) => {
  const {value} = form.elements[name];
  return [name, knob.values ? knob.values[value] : value];
}));
// Rates are halves of halves: 1/16 is easier than 0.0625.
const saidRate = rate => rate < 1 ? `1/${1 / rate}` : String(rate);
const showKnob = input => {
  if (input.type !== "range") return;
  const value = knobs[input.name].values[input.value];
  const words = input.name === "rate" ? saidRate(value) : String(value);
  input.previousElementSibling.textContent = words;
  input.setAttribute("aria-valuetext", words);
};
const toHash = now => Object.entries(now)
  .filter(([name, value]) => value !== knobs[name].usual)
  .map(([name, value]) => `${name}=${value}`).join("&");
// What the address does not name, or names wrongly, stands where it usually does.
// Returns, in words, what it names wrongly.
const fromHash = hash => {
  const wanted = new URLSearchParams(hash), wrong = [];
  for (const [name, {values, options, usual}] of Object.entries(knobs)) {
    const valid = values ? values.map(String) : Object.keys(options);
    const known = valid.indexOf(wanted.get(name));
    if (wanted.has(name) && known < 0) {
      const used = name === "rate" ? saidRate(usual) : options?.[usual] ?? usual;
      wrong.push(`${name}=${wanted.get(name).slice(0, 20)} is not offered: ${used} used.`);
    }
    wanted.delete(name);
    const value = known < 0 ? valid.indexOf(String(usual)) : known;
    form.elements[name].value = values ? value : valid[value];
    showKnob(form.elements[name]);
  }
  for (const name of wanted.keys()) wrong.push(`${name.slice(0, 20)} is no setting.`);
  return wrong.join(" ");
};
// `how`: a question chosen is a step that Back undoes, a slider moved is none.
const writeHash = (how = "replaceState") => {
  const hash = toHash(settings());
  if (hash === location.hash.slice(1)) return;
  // A frame without an address of its own forbids both: then the page does without.
  try { history[how](null, "", `#${hash}`); } catch { /* nothing to do */ }
};
const presetOf = now => {
  const hash = toHash({...now, seeds: knobs.seeds.usual, first: knobs.first.usual});
  return presets.find(preset => preset.hash === hash);
};
