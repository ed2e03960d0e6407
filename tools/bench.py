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
from tools.bench_peers import (
    FIT,
    FLOOR,
    FLOOR_PAIR,
    JAX,
    KINDS,
    MAKERS,
    OURS,
    PAIR,
    STUDIES,
    TORCH,
    WIDTHS,
    Network,
)

ROUNDS, STUDY_ROUNDS, BATCHES = 3, 2, (16, 64, 256)
ENTRIES = [
    (f"{batch} {kind}", Network(WIDTHS, batch, normalization))
    for batch in BATCHES
    for kind, normalization in KINDS.items()
]
STUDY = "study"
STUDY_FASTER = {FIT: 4, JAX: 1, TORCH: 1}
FASTER, AT_MOST, FLOOR_BATCHES = (JAX, TORCH), 1.15, (64, 256)


def race(
    epochs: Mapping[str, Callable[[Network], float]],
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
                rows.append((name, label, epoch(network)))
            except Exception as error:  # whatever it is, the others go on
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                missing[name] = f"{reason} (at {label})"
    return pd.DataFrame(rows, columns=["name", "network", "seconds"])


def race_studies(
    folder: Path, missing: dict[str, str], bar: tqdm
) -> list[tuple[str, float]]:
    """Have everyone run the study in a new process: name and seconds of each."""
    rows = []
    for name in STUDIES:
        bar.update()
        if name in missing:
            continue
        try:
            with process(name, folder) as pool:
                rows.append((name, pool.submit(bench_peers.study, name).result()))
        except Exception as error:  # whatever it is, the others go on
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return rows


def process(name: str, folder: Path) -> ProcessPoolExecutor:
    """Return a process of its own for an implementation."""
    how = 1, get_context("spawn"), bench_peers.start, (name, folder)
    return ProcessPoolExecutor(*how)


def tabulate(rows: pd.DataFrame, studies: Sequence[tuple[str, float]]) -> pd.DataFrame:
    """Return median seconds, a row an implementation: of the study, and of epochs."""
    table = rows.pivot_table("seconds", "name", "network", aggfunc="median")
    table = table.reindex(index=list(MAKERS), columns=[label for label, _ in ENTRIES])
    study = pd.DataFrame(studies, columns=["name", STUDY]).groupby("name")[STUDY]
    table.insert(0, STUDY, study.median())
    return table


def against_goals(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a goal: the ratio, its bounds and whether it keeps them."""
    rows = []
    for peer, least in STUDY_FASTER.items():
        ratio = table.loc[peer, STUDY] / table.loc[OURS, STUDY]
        rows.append((f"as fast as {peer} in the {STUDY}", ratio, least, np.inf))
    for peer in FASTER:
        for label, _ in ENTRIES:
            ratio = table.loc[peer, label] / table.loc[OURS, label]
            rows.append((f"as fast as {peer} at {label}", ratio, 1, np.inf))
    for label, network in ENTRIES:
        if network.batch in FLOOR_BATCHES:
            ratio = table.loc[PAIR, label] / table.loc[FLOOR_PAIR, label]
            goal = f"the time of {FLOOR} at {label}, both two at a time"
            rows.append((goal, ratio, 0, AT_MOST))
    goals = pd.DataFrame(rows, columns=["goal", "ratio", "least", "most"])
    return goals.assign(met=goals["ratio"].between(goals["least"], goals["most"]))


def line(goal) -> str:
    """Return verdict, ratio, what it is and what it should be."""
    ratio = "missing" if np.isnan(goal.ratio) else f"{goal.ratio:.2f} ×"
    bound = f"≥ {goal.least:g}" if goal.least else f"≤ {goal.most:g}"
    return f"{'PASS' if goal.met else 'FAIL'} {ratio:>8} {goal.goal} ({bound})"


def draw(table: pd.DataFrame) -> bytes:
    """Draw the study's seconds, then seconds per epoch against batch size, as PNG."""
    import matplotlib.pyplot as plt

    from helpers import plotting

    colours = {FIT: "#bf4b0b", TORCH: "#8a4f9e", JAX: "#0f7f6f", OURS: "#12436d"}
    colours |= {PAIR: "#12436d", FLOOR: "#5f5f5f", FLOOR_PAIR: "#5f5f5f"}
    plotting.use_style()
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.8), width_ratios=[0.8, 1, 1])
    study = table[STUDY].dropna().sort_values(ascending=False)
    bars = axes[0].barh(
        study.index, study, color=[colours[name] for name in study.index]
    )
    axes[0].bar_label(bars, fmt="%.0f s", padding=4)
    axes[0].set(title="A study", xlabel="seconds, imports apart")
    axes[0].set_xlim(0, 1.15 * study.max() if len(study) else 1)
    axes[0].grid(axis="y", visible=False)
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    ends = {}
    for axis, kind in zip(axes[1:], KINDS, strict=True):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_xticks(BATCHES, BATCHES)
        title = f"An epoch, {kind} network"
        axis.set(title=title, xlabel="batch size (log scale)")
        axis.minorticks_off()
        seconds = table[[f"{batch} {kind}" for batch in BATCHES]].dropna()
        for name, row in seconds.iterrows():
            width = 4 if name in (OURS, PAIR) else 2
            dash = {FLOOR: "--", PAIR: ":", FLOOR_PAIR: "-."}.get(name, "-")
            axis.plot(BATCHES, row, dash, color=colours[name], marker="o", lw=width)
        last = seconds.iloc[:, -1]
        ends[axis] = {name: (BATCHES[-1], end) for name, end in last.items()}
    axes[2].sharey(axes[1])
    axes[1].set_ylabel("seconds per epoch of 60,000 images\n(log scale)")
    plotting.label_lines(axes[2], ends[axes[2]], colours)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def measure() -> tuple[pd.DataFrame, dict[str, str]]:
    """Run all rounds; return the table and who is missing, and why."""
    from helpers import data

    mnist, rows, studies = data.load("mnist"), [], []
    missing: dict[str, str] = {}
    steps = ROUNDS * len(ENTRIES) * len(MAKERS) + STUDY_ROUNDS * len(STUDIES)
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for part in ("images", "labels"):
            halves = [getattr(split, part) for split in (mnist.train, mnist.validation)]
            np.save(folder / part, np.concatenate(halves))
        with tqdm(total=steps, disable=None, file=sys.stdout) as bar:
            for _ in range(STUDY_ROUNDS):
                studies += race_studies(folder, missing, bar)
            epochs = {}
            for name in MAKERS:
                pool = stack.enter_context(process(name, folder))
                epochs[name] = lambda network, pool=pool, name=name: pool.submit(
                    bench_peers.epoch, name, network
                ).result()
            for turn in range(ROUNDS):
                # Forwards, then backwards: nobody always runs first.
                order = dict(list(epochs.items())[:: -1 if turn % 2 else 1])
                rows.append(race(order, ENTRIES, missing, bar))
    return tabulate(pd.concat(rows), studies), missing


def report(table: pd.DataFrame, missing: Mapping[str, str]) -> list[str]:
    """Save and print table, figure and goals; return what makes the bench fail.

    That is a peer that is missing or faster. How near the trainer comes to the bare
    products depends on the machine: a goal missed there is shown, and no failure.
    """
    from helpers import files

    folder, goals = files.plots("bench"), against_goals(table)
    files.write(folder / "bench.csv", table.to_csv().encode())
    files.write(folder / "goals.csv", goals.to_csv(index=False).encode())
    files.write(folder / "bench.png", draw(table))
    print("Seconds: of a study (plain and BN, 5 seeds, 3 epochs of 20,000 images at")
    print("64, with all it takes but imports), and of an epoch of 60,000 images alone")
    print(table.to_string(float_format="{:.2f}".format, na_rep="–"), end="\n\n")
    print(*map(line, goals.itertuples()), sep="\n")
    return [
        *(f"{name} is missing: {reason}" for name, reason in missing.items()),
        *map(line, goals[~goals["met"] & np.isinf(goals["most"])].itertuples()),
    ]


def main() -> None:
    """Measure and report; fail when a peer is missing or faster."""
    began = time.perf_counter()
    short = report(*measure())
    print(f"\n{time.perf_counter() - began:.0f} s; see plots/bench/", flush=True)
    sys.exit("\n".join(short) or 0)


if __name__ == "__main__":
    main()
