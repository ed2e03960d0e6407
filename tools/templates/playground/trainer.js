// Trains the pairs it is sent, in slices, so that it hears when it is to stop. It runs in
// a worker; where there are none, in the page, which its slices keep responsive.
const trainer = (post, slice) => {
  "use strict";

  // The images of a set: two pixels a byte, deflated, in base64.
  const unpacked = async ({packed, labels, pixels, train}) => {
    const bytes = Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream();
    const whole = new Response(stream.pipeThrough(new DecompressionStream("deflate")));
    const pairs = new Uint8Array(await whole.arrayBuffer());
    const greys = new Uint8Array(2 * pairs.length);
    pairs.forEach((pair, i) => {
      greys[2 * i] = pair >> 4;
      greys[2 * i + 1] = pair & 15;
    });
    const classes = Uint8Array.from(labels, Number);
    const part = (from, to) => Twins.scaled({
      pixels, labels: classes.slice(from, to),
      greys: greys.subarray(from * pixels, to * pixels)});
    return {train: part(0, train), validation: part(train, classes.length)};
  };

  const images = {};
  let current = null;

  const start = async job => {
    const {settings, seed, watched, slowly} = job;
    const data = await images[settings.data];
    if (current !== job) return;  // stopped meanwhile
    const pair = new Twins.Pair(settings, seed, data);
    const sent = [0, 0];
    let next = 0;

    const report = done => {
      const arms = pair.arms.map((arm, i) => {
        const losses = watched ? arm.losses.slice(sent[i]) : [];
        sent[i] = arm.losses.length;
        return {losses, checks: arm.checks.slice(), diverged: arm.diverged};
      });
      const histograms = watched ? pair.histograms() : null;
      post({id: job.id, seed, updates: pair.updates, arms, histograms, done});
    };
    // Checks where one is due; returns whether there is something to see.
    const look = () => {
      const done = pair.updates === settings.updates;
      if (pair.updates < next && !done) return false;
      next = Twins.nextCheck(pair.updates, settings.updates);
      const needed = watched || done || settings.measure !== "accuracy";
      if (needed) pair.check(watched || done);
      if (watched || done) report(done);
      return watched;
    };
    const go = () => {
      if (current !== job) return;
      const end = performance.now() + slice;
      while (pair.updates < settings.updates && performance.now() < end) {
        pair.update();
        if (look() && slowly) break;
      }
      if (pair.updates < settings.updates) setTimeout(go, slowly ? 50 : 0);
    };
    look();
    go();
  };

  return message => {
    if (message.images) {
      images[message.name] = unpacked(message.images);
      return;
    }
    current = message.job;  // none: stop
    if (current) start(current);
  };
};
