const form = document.querySelector('.filters');
const rows = [...document.querySelectorAll('.claims tr[data-verdict]')];
const select = () => {
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = ['verdict', 'chapter', 'question', 'group']
    .map(name => [name, form.elements[name].value]).filter(([, value]) => value);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const fits = words.every(word => text.includes(word))
      && chosen.every(([name, value]) => row.dataset[name].split('|').includes(value));
    row.hidden = !fits;
    shown += fits;
  }
  for (const group of document.querySelectorAll('.claims tbody')) {
    group.hidden = !group.querySelector('tr[data-verdict]:not([hidden])');
  }
  form.querySelector('output').textContent = `${shown} of ${rows.length} claims`;
};
if (form) {
  form.addEventListener('input', select);
  form.addEventListener('submit', event => event.preventDefault());
  form.addEventListener('reset', () => setTimeout(select));
  for (const link of document.querySelectorAll('.tally a')) {
    link.addEventListener('click', () => {
      form.reset();
      form.elements.verdict.value = link.dataset.verdict;
      form.elements.group.value = link.dataset.group;
      select();
    });
  }
  addEventListener('pageshow', select); // a browser may bring back what was chosen
  form.hidden = false;
}
