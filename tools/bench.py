"""Measure the trainer against its peers: ``plots/bench/``, and a line for each goal.

All take turns on the same networks, round after round, so that a slow moment of the
machine falls on all of them. Their processes import this file too, and `helpers`
starts TensorFlow: hence it is imported where it is used.
"""

import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from tqdm import tqdm

from tools import bench_peers
from tools.bench_peers import FIT, FLOOR, JAX, MAKERS, OURS, PAIR, TORCH, Network

ROUNDS, BATCHES = 3, (16, 64, 256)
KINDS = {"plain": None, "BN": "batch"}
ENTRIES = [
    (f"{batch} {kind}", Network((256, 128), batch, normalization))
    for batch in BATCHES
    for kind, normalization in KINDS.items()
]
SWEEP = "sweep"
SWEEP_ENTRIES = [
    (SWEEP, Network((128, 64), batch, normalization))
    for batch in (16, 32, 64, 128, 256)
    for normalization in KINDS.values()
]
# Studies train two runs at a time, which `fit` cannot; the others are met alone.
FASTER = {
    (PAIR, FIT): {16: 4, 64: 5, 256: 3},
    (OURS, JAX): {16: 1, 64: 1, 256: 1},
    (OURS, TORCH): {16: 1, 64: 1, 256: 1},
}
SWEEP_FASTER, AT_MOST, FLOOR_BATCHES = 4, 2, (64, 256)


def race(
    epochs: Mapping[str, Callable[[Network], tuple[float, float]]],
    entries: Sequence[tuple[str, Network]],
    missing: dict[str, str],
    bar: tqdm,
) -> pd.DataFrame:
    """Have everyone train an epoch of each network: a row each.

    Who fails is entered in `missing` with the reason, and left out from then on.
    """
    rows = []
    for label, network in entries:
        for name, epoch in epochs.items():
            bar.update()
            if name in missing:
                continue
            try:
                rows.append((name, label, *epoch(network)))
            except Exception as error:  # whatever it is, the others go on
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                missing[name] = f"{reason} (at {label})"
    return pd.DataFrame(rows, columns=["name", "network", "seconds", "rest"])


def tabulate(rows: pd.DataFrame, missing: Mapping[str, str]) -> pd.DataFrame:
    """Return median seconds, a row an implementation; sums for the sweep."""
    table = rows.pivot_table("seconds", "name", "network", aggfunc="median")
    table = table.reindex(index=list(MAKERS), columns=[label for label, _ in ENTRIES])
    sweep = rows[(rows["network"] == SWEEP) & ~rows["name"].isin(list(missing))]
    table[[SWEEP, f"{SWEEP}, rest"]] = sweep.groupby("name")[["seconds", "rest"]].sum()
    return table


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a goal: the ratio, its bounds and whether it keeps them."""
    ours, rows = table.loc[OURS], []
    for (who, peer), needed in FASTER.items():
        for label, network in ENTRIES:
            ratio = table.loc[peer, label] / table.loc[who, label]
            least = needed[network.batch]
            goal = f"as fast as {peer} at {label}" + ", two at a time" * (who == PAIR)
            rows.append((goal, ratio, least, np.inf))
    ratio = table.loc[FIT, SWEEP] / ours[SWEEP]
    rows.append((f"as fast as {FIT} in the {SWEEP}", ratio, SWEEP_FASTER, np.inf))
    for label, network in ENTRIES:
        if network.batch in FLOOR_BATCHES:
            ratio = ours[label] / table.loc[FLOOR, label]
            rows.append((f"the time of {FLOOR} at {label}", ratio, 0, AT_MOST))
    goals = pd.DataFrame(rows, columns=["goal", "ratio", "least", "most"])
    return goals.assign(met=goals["ratio"].between(goals["least"], goals["most"]))


def line(goal) -> str:
    """Return verdict, ratio, what it is and what it should be."""
    ratio = "missing" if np.isnan(goal.ratio) else f"{goal.ratio:.2f} ×"
    bound = f"≥ {goal.least:g}" if goal.least else f"≤ {goal.most:g}"
    return f"{'PASS' if goal.met else 'FAIL'} {ratio:>8} {goal.goal} ({bound})"


def draw(table: pd.DataFrame) -> bytes:
    """Draw seconds per epoch against batch size, plain beside BN, as PNG."""
    import matplotlib.pyplot as plt

    from helpers import plotting

    colours = {FIT: "#bf4b0b", TORCH: "#8a4f9e", JAX: "#0f7f6f", OURS: "#12436d"}
    colours |= {PAIR: "#12436d", FLOOR: "#5f5f5f"}
    plotting.use_style()
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.8), sharex=True, sharey=True)
    axes[0].set_xscale("log", base=2)
    axes[0].set_yscale("log")
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    axes[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0].set_xticks(BATCHES, BATCHES)
    axes[0].set_ylabel("seconds per epoch of 60,000 images\n(log scale)")
    ends = {}
    for axis, kind in zip(axes, KINDS, strict=True):
        title = f"{kind[0].upper()}{kind[1:]} network"
        axis.set(title=title, xlabel="batch size (log scale)")
        axis.minorticks_off()
        seconds = table[[f"{batch} {kind}" for batch in BATCHES]].dropna()
        for name, row in seconds.iterrows():
            width = 4 if name in (OURS, PAIR) else 2
            dash = {FLOOR: "--", PAIR: ":"}.get(name, "-")
            axis.plot(BATCHES, row, dash, color=colours[name], marker="o", lw=width)
        last = seconds.iloc[:, -1]
        ends[axis] = {name: (BATCHES[-1], end) for name, end in last.items()}
    for axis, places in ends.items():
        plotting.label_lines(axis, places, colours)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def measure() -> tuple[pd.DataFrame, dict[str, str]]:
    """Run all rounds and the sweep; return the table and who is missing, and why."""
    from helpers import data

    mnist, missing, epochs = data.load("mnist"), {}, {}
    steps = ROUNDS * len(ENTRIES) * len(MAKERS) + len(SWEEP_ENTRIES) * 2
    with TemporaryDirectory() as folder, ExitStack() as stack:
        for part in ("images", "labels"):
            halves = [getattr(split, part) for split in (mnist.train, mnist.validation)]
            np.save(Path(folder, part), np.concatenate(halves))
        for name in MAKERS:
            how = 1, get_context("spawn"), bench_peers.start, (name, Path(folder))
            pool = stack.enter_context(ProcessPoolExecutor(*how))
            epochs[name] = lambda network, pool=pool, name=name: pool.submit(
                bench_peers.epoch, name, network
            ).result()
        with tqdm(total=steps, disable=None, file=sys.stdout) as bar:
            rows = []
            for turn in range(ROUNDS):
                # Forwards, then backwards: nobody always runs first.
                order = dict(list(epochs.items())[:: -1 if turn % 2 else 1])
                rows.append(race(order, ENTRIES, missing, bar))
            pair = {name: epochs[name] for name in (FIT, OURS)}
            rows.append(race(pair, SWEEP_ENTRIES, missing, bar))
    return tabulate(pd.concat(rows), missing), missing


def report(table: pd.DataFrame, missing: Mapping[str, str]) -> list[str]:
    """Save and print table, figure and goals; return what falls short."""
    from helpers import files

    folder, goals = files.plots("bench"), judge(table)
    files.write(folder / "bench.csv", table.to_csv().encode())
    files.write(folder / "goals.csv", goals.to_csv(index=False).encode())
    files.write(folder / "bench.png", draw(table))
    print("Seconds per epoch of 60,000 images, compilation apart")
    print(table.to_string(float_format="{:.2f}".format, na_rep="–"))
    print(f"{SWEEP}: an epoch of each of its ten networks; the rest of that time went")
    print("into compilation and warm-up, and this trainer's measurements", end="\n\n")
    print(*map(line, goals.itertuples()), sep="\n")
    return [
        *(f"{name} is missing: {reason}" for name, reason in missing.items()),
        *(line(goal) for goal in goals[~goals["met"]].itertuples()),
    ]


def main() -> None:
    """Measure and report; fail when a goal is not met or a peer is missing."""
    began = time.perf_counter()
    short = report(*measure())
    print(f"\n{time.perf_counter() - began:.0f} s; see plots/bench/", flush=True)
    sys.exit("\n".join(short) or 0)


if __name__ == "__main__":
    main()
