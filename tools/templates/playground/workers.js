// Hands that train: workers or, where there are none, the page itself. `receive` is
// called with what they report.
const makeHands = (images, receive) => {
"use strict";

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

const give = (hand, job) => {
  hand.job = job;
  const name = job.settings.data;
  if (!hand.knows.has(name)) hand.post({name, images: images[name]});
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
