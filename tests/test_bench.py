"""The pure parts of the bench: races, ratios, goals, exit; nothing is timed."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tqdm import tqdm

from tools import bench, bench_peers
from tools.bench_peers import FIT, FLOOR, JAX, MAKERS, OURS, PAIR, TORCH, Network

# Seconds that meet every goal.
GOOD = pd.Series({FIT: 6.0, TORCH: 1.5, JAX: 1.4, OURS: 1.0, PAIR: 0.8, FLOOR: 0.6})


def table(**changes: float) -> pd.DataFrame:
    """Return seconds as `tabulate` does, with the trainer's changed by network.

    Two at a time takes four fifths of them.
    """
    columns = [label for label, _ in bench.ENTRIES] + ["sweep", "sweep, rest"]
    seconds = pd.DataFrame(dict.fromkeys(columns, GOOD)).reindex(list(MAKERS))
    for label, value in changes.items():
        seconds.loc[OURS, label.replace("_", " ")] = value
        seconds.loc[PAIR, label.replace("_", " ")] = 0.8 * value
    return seconds


def race(epochs, entries):
    missing = {}
    with tqdm(disable=True) as bar:
        return bench.race(epochs, entries, missing, bar), missing


def fails(network):
    raise ModuleNotFoundError("No module named 'torch'\nmore")


def test_every_goal_of_the_project_is_judged():
    goals = bench.judge(table())
    assert len(goals) == 3 * 6 + 4 + 1
    assert goals["met"].all()
    needed = goals.set_index("goal")
    fit = "as fast as Keras fit at {}, two at a time"
    assert needed.loc[fit.format("16 BN"), "least"] == 4
    assert needed.loc[fit.format("64 plain"), "least"] == 5
    assert needed.loc[fit.format("256 plain"), "least"] == 3
    assert needed.loc["as fast as Keras fit in the sweep", "least"] == 4
    assert needed.loc["the time of matrix products at 64 BN", "most"] == 2
    assert needed.loc[fit.format("16 BN"), "ratio"] == 6 / 0.8
    assert needed.loc["as fast as Keras on JAX at 16 BN", "ratio"] == 1.4
    assert needed.loc["the time of matrix products at 64 BN", "ratio"] == 1 / 0.6


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({"16_plain": 1.39}, []),
        ({"16_plain": 1.41}, ["Keras on JAX at 16 plain"]),
        ({"64_BN": 1.21}, ["matrix products at 64 BN"]),
        (
            {"256_BN": 2.51},
            [
                "fit at 256 BN, two at a time",
                "JAX at 256 BN",
                "loop at 256 BN",
                "matrix products at 256 BN",
            ],
        ),
        ({"sweep": 1.6}, ["Keras fit in the sweep"]),
    ],
)
def test_goals_that_fall_short(changes, short):
    goals = bench.judge(table(**changes))
    missed = goals[~goals["met"]]
    assert len(missed) == len(short)
    for goal, what in zip(missed["goal"], short, strict=True):
        assert goal.endswith(what)


def test_a_line_says_verdict_ratio_and_bound():
    lines = [bench.line(goal) for goal in bench.judge(table(sweep=4)).itertuples()]
    fit = "PASS   7.50 × as fast as Keras fit at 16 plain, two at a time (≥ 4)"
    assert fit in lines
    assert "FAIL   1.50 × as fast as Keras fit in the sweep (≥ 4)" in lines
    assert "PASS   1.67 × the time of matrix products at 64 BN (≤ 2)" in lines


def test_who_fails_is_named_once_and_the_others_go_on():
    entries = bench.ENTRIES[:3]
    rows, missing = race({TORCH: fails, OURS: lambda network: (1.0, 2.0)}, entries)
    assert missing == {
        TORCH: "ModuleNotFoundError: No module named 'torch' (at 16 plain)"
    }
    assert list(rows["name"]) == [OURS] * 3
    assert list(rows["network"]) == ["16 plain", "16 BN", "64 plain"]


def test_table_holds_medians_and_the_sums_of_the_sweep():
    turns = iter([5.0, 1.0, 2.0])
    rounds = [
        race({OURS: lambda _: (next(turns), 9.0)}, bench.ENTRIES[:1])[0]
        for _ in range(3)
    ]
    rounds.append(race({OURS: lambda _: (0.5, 1.0)}, bench.SWEEP_ENTRIES)[0])
    seconds = bench.tabulate(pd.concat(rounds), {})
    assert list(seconds.index) == list(MAKERS)
    assert list(seconds.columns) == list(table().columns)
    assert seconds.loc[OURS, ["16 plain", "sweep", "sweep, rest"]].tolist() == [
        2,
        5,
        10,
    ]
    assert np.isnan(seconds.loc[OURS, "64 BN"])
    assert seconds.loc[FIT].isna().all()


def test_an_unfinished_sweep_is_no_sum():
    rows, _ = race({FIT: lambda _: (0.5, 1.0)}, bench.SWEEP_ENTRIES[:4])
    assert np.isnan(bench.tabulate(rows, {FIT: "it broke"}).loc[FIT, "sweep"])


@pytest.mark.parametrize(
    ("seconds", "missing", "named"),
    [
        (table(), {}, []),
        (table(**{"256_BN": 2.5}), {}, ["0.56 × as fast as Keras on JAX at 256 BN"]),
        (table().drop(index=JAX).reindex(list(MAKERS)), {JAX: "no jax"},
         ["Keras on JAX is missing: no jax", "missing as fast as Keras on JAX"]),
    ],
)  # fmt: skip
def test_exit_names_what_falls_short(
    seconds, missing, named, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("BN_PLOTS", str(tmp_path))
    monkeypatch.setattr(bench, "measure", lambda: (seconds, missing))
    with pytest.raises(SystemExit) as end:
        bench.main()
    assert bool(end.value.code) == bool(named)
    for text in named:
        assert text in end.value.code
    printed = capsys.readouterr().out
    assert printed.count("PASS") + printed.count("FAIL") == 23
    saved = pd.read_csv(tmp_path / "bench" / "bench.csv", index_col=0)
    assert list(saved.columns) == list(table().columns)
    assert len(pd.read_csv(tmp_path / "bench" / "goals.csv")) == 23
    png = (tmp_path / "bench" / "bench.png").read_bytes()
    assert Image.open(io.BytesIO(png)).width >= 1000


def test_the_floor_trains_the_last_partial_batch_too():
    images, labels = np.zeros((50, 28, 28), np.float32), np.zeros(50, np.int32)
    run = bench_peers.matrix_products(images, labels, Network((8, 4), 16, None))
    assert run(50) > 0
