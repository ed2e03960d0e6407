// Trains the pairs it is sent, in slices, so that it hears when it is to stop. It runs in
// a worker; where there are none, in the page, which its slices keep responsive.
const trainer = (post, slice) => {
  "use strict";
  const images = {};
  let current = null;

  const start = job => {
    const {settings, seed, watched, slowly} = job;
    const pair = new Twins.Pair(settings, seed, images[settings.data]);
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
      const {train, validation} = message.images;
      images[message.name] = {
        train: Twins.scaled(train), validation: Twins.scaled(validation)};
      return;
    }
    current = message.job;  // none: stop
    if (current) start(current);
  };
};
