// The contents, and in them the section that is being read.
const wide = matchMedia('(min-width: 80rem)'), toc = document.querySelector('.toc');
const headings = [...document.querySelectorAll('.text :is(h2, h3)')];
const links = headings.map(heading => {
  const item = document.createElement('li'), link = document.createElement('a');
  item.className = heading.localName;
  link.href = '#' + encodeURIComponent(heading.id);
  link.textContent = heading.textContent;
  item.append(link);
  toc.lastElementChild.append(item);
  return link;
});
const unfold = () => { toc.open = wide.matches; };
wide.addEventListener('change', unfold);
unfold();

const mark = () => {
  const read = headings.findLastIndex(
    heading => heading.getBoundingClientRect().top < innerHeight / 4);
  links.forEach((link, index) => {
    if (index !== read) return link.removeAttribute('aria-current');
    link.setAttribute('aria-current', 'true');
    // Within the contents alone: the page itself must not move.
    const top = link.offsetTop - toc.clientHeight / 2;
    if (wide.matches) toc.scrollTop = top;
  });
};
const observer = new IntersectionObserver(mark, {rootMargin: '0px 0px -75% 0px'});
headings.forEach(heading => observer.observe(heading));
mark();

// Code is folded until one asks for it. Pages share the choice, where they can.
const button = document.querySelector('.bar button'), KEY = 'batch-norm-code';
const show = shown => {
  document.querySelectorAll('.code').forEach(code => { code.open = shown; });
  button.textContent = shown ? 'Hide code' : 'Show code';
  button.setAttribute('aria-pressed', shown);
};
let shown = false;
try { shown = localStorage.getItem(KEY) === 'shown'; } catch { /* not allowed here */ }
show(shown);
button.addEventListener('click', () => {
  shown = !shown;
  show(shown);
  try { localStorage.setItem(KEY, shown ? 'shown' : 'folded'); } catch { /* as above */ }
});
button.hidden = !document.querySelector('.code');

// A figure opens large: what has several panels cannot be read on a phone.
const dialog = document.querySelector('dialog.large'), large = new Image();
dialog.prepend(large);
for (const image of document.querySelectorAll('figure img')) {
  image.tabIndex = 0;
  image.setAttribute('role', 'button');
  image.setAttribute('aria-label', `${image.alt} (opens large)`);
  const open = () => {
    large.src = image.src;
    large.alt = image.alt;
    large.style.width = `max(100%, ${image.getAttribute('width') || image.naturalWidth / 1.5}px)`;
    dialog.showModal();
  };
  image.addEventListener('click', open);
  image.addEventListener('keydown', event => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    open();
  });
}
dialog.addEventListener('click', () => dialog.close());

// A formula that is wider than its line scrolls; others stay as they are.
const fit = () => {
  for (const formula of document.querySelectorAll('.text mjx-container:not([display])')) {
    formula.classList.remove('wide');
    const line = formula.closest('p, li, td, th, .text').clientWidth;
    formula.classList.toggle('wide', formula.offsetWidth > line);
  }
};
addEventListener('load', () => {
  const typeset = window.MathJax?.startup?.promise;
  if (typeset) typeset.then(() => { fit(); addEventListener('resize', fit); });
});
