// Hands that train: workers or, where there are none, the page itself. `receive` is
// called with what they report.
const makeHands = (facts, receive) => {
"use strict";

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

let noWorkers = typeof Worker === "undefined", address = null;
let queue = [];
const hands = [];
// One core is left to the page.
const most = Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1));

const inPage = hand => { hand.post = trainer(message => hear(message, hand), 8); };
const inWorker = hand => {
  address ??= URL.createObjectURL(new Blob([
    document.getElementById("engine").textContent,
    document.getElementById("trainer").textContent,
    ";const take = trainer(message => postMessage(message), 40);",
    "onmessage = event => take(event.data);"], {type: "text/javascript"}));
  const worker = new Worker(address);
  hand.post = message => worker.postMessage(message);
  worker.onmessage = event => hear(event.data, hand);
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
  if (!noWorkers) {
    try { inWorker(hand); return hand; } catch { noWorkers = true; }
  }
  inPage(hand);
  return hand;
};

const give = async (hand, job) => {
  hand.job = job;
  const name = job.settings.data, found = await imagesOf(name);
  if (hand.job !== job) return;  // stopped while the images were unpacked
  if (!hand.knows.has(name)) hand.post({name, images: found});
  hand.knows.add(name);
  hand.post({job});
};
const hear = (message, hand) => {
  const {job} = hand;
  if (message.id !== job?.id) return;  // of a job that was stopped
  if (message.done) {
    hand.job = null;
    if (queue.length) give(hand, queue.shift());
  }
  receive(message, job);
};

return {
  get busy() { return hands.some(hand => hand.job); },
  get inPage() { return noWorkers; },
  stop() {
    queue = [];
    for (const hand of hands) if (hand.job) { hand.job = null; hand.post({job: null}); }
  },
  start(jobs) {
    this.stop();
    queue = jobs;
    while (hands.length < Math.min(most, jobs.length)) hands.push(newHand());
    for (const hand of hands) if (queue.length) give(hand, queue.shift());
  },
};
};
