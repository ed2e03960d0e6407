(() => {
const root = document.currentScript?.closest(".bn-explorer") ??
  document.querySelector(".bn-explorer:not([data-live])");
root.dataset.live = "";
const sample = JSON.parse(root.dataset.sample);
const population = sample.map(([value, height]) => value);
const slider = name => root.querySelector(`[name=${name}]`);
const draw = (name, d) => root.querySelector(`[data-d=${name}]`).setAttribute("d", d);
const write = (name, text) => {
  root.querySelector(`[data-text=${name}]`).textContent = text;
  slider(name)?.setAttribute("aria-valuetext", text);
};
const place = value => (380 + 24 * value).toFixed(1);
const two = value => (Math.round(100 * value) / 100 + 0).toFixed(2);
const average = values => values.reduce((a, b) => a + b) / values.length;
const deviation = values => {
  const mean = average(values);
  return Math.sqrt(average(values.map(value => (value - mean) ** 2)));
};
const range = values =>
  `from ${two(Math.min(...values))} to ${two(Math.max(...values))}`;
const panel = (name, values) => {
  const mean = average(values), sd = deviation(values);
  const dot = (value, i) => `M${place(value)} ${sample[i][1]}h0`;
  draw(name + "_dots", values.map(dot).join(""));
  draw(name + "_band", `M${place(mean - sd)} 16V160H${place(mean + sd)}V16Z`);
  draw(name + "_line", `M${place(mean)} 16V160`);
  write(name + "_mean", two(mean)), write(name + "_sd", two(sd));
};
const scene = (gamma, beta, epsilon, size) => {
  const x = population.slice(0, size), mean = average(x);
  const scale = gamma / Math.sqrt(deviation(x) ** 2 + epsilon);
  panel("x", x), panel("y", x.map(value => scale * (value - mean) + beta));
  const batches = Array.from({length: population.length / size},
    (_, i) => population.slice(i * size, (i + 1) * size));
  const means = batches.map(average);
  draw("ticks", means.map(mean => `M${place(mean)} 1v11`).join(""));
  write("count", batches.length), write("range", range(means));
  write("sd_range", range(batches.map(deviation)));
  write("gamma", gamma.toFixed(1)), write("beta", beta.toFixed(1));
  write("epsilon", epsilon), write("size", size);
};
let rest;
root.addEventListener("input", () => {
  const [gamma, beta, power, doublings] =
    ["gamma", "beta", "epsilon", "size"].map(name => Number(slider(name).value));
  scene(gamma, beta, Number((10 ** power).toPrecision(2)), 2 ** doublings);
  clearTimeout(rest);
  rest = setTimeout(() => {
    const captions = [...root.querySelectorAll("p:not(.spoken, .note)")];
    const spoken = captions.map(p => p.innerText).join(" ");
    root.querySelector(".spoken").textContent = spoken;
  }, 700);
});
for (const input of root.querySelectorAll("input")) {
  input.value = input.defaultValue;
  input.dataset.lmSuppressShortcuts = "";  // JupyterLab: arrow keys move the slider
  input.setAttribute("aria-valuetext",
    root.querySelector(`[data-text=${input.name}]`).textContent);
  input.hidden = false;
}
})();
