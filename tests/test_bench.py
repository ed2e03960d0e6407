"""The pure parts of the bench: races, ratios, goals, exit; nothing is timed."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tqdm import tqdm

from helpers import models
from tools import bench, bench_peers
from tools.bench_peers import (
    FIT,
    FLOOR,
    FLOOR_PAIR,
    JAX,
    MAKERS,
    OURS,
    PAIR,
    STUDIES,
    TORCH,
    Network,
)

# Seconds that meet every goal.
EPOCH = {FIT: 6.0, TORCH: 1.5, JAX: 1.4, OURS: 1.0, PAIR: 0.55, FLOOR: 0.6}
EPOCH |= {FLOOR_PAIR: 0.5}
STUDY = {FIT: 50.0, TORCH: 15.0, JAX: 20.0, OURS: 10.0}


def table(who: str = OURS, **changes: float) -> pd.DataFrame:
    """Return seconds as `tabulate` does, with those of one changed by column."""
    columns = [label for label, _ in bench.ENTRIES]
    seconds = pd.DataFrame(dict.fromkeys(columns, pd.Series(EPOCH)))
    seconds.insert(0, "study", pd.Series(STUDY))
    for label, value in changes.items():
        seconds.loc[who, label.replace("_", " ")] = value
    return seconds.reindex(list(MAKERS))


def race(epochs, entries):
    missing = {}
    with tqdm(disable=True) as bar:
        return bench.race(epochs, entries, missing, bar), missing


def fails(network):
    raise ModuleNotFoundError("No module named 'torch'\nmore")


def test_every_goal_of_the_project_is_judged():
    goals = bench.against_goals(table())
    assert len(goals) == 3 + 2 * 6 + 4
    assert goals["met"].all()
    needed = goals.set_index("goal")
    assert list(needed.index[:3]) == [
        "as fast as Keras fit in the study",
        "as fast as Keras on JAX in the study",
        "as fast as PyTorch, lean loop in the study",
    ]
    assert list(needed["least"][:3]) == [4, 1, 1]
    assert list(needed["ratio"][:3]) == [5, 2, 1.5]
    assert needed.loc["as fast as Keras on JAX at 16 BN", "ratio"] == 1.4
    floor = "the time of matrix products at 64 BN, both two at a time"
    assert needed.loc[floor, "ratio"] == 0.55 / 0.5
    assert needed.loc[floor, "most"] == 1.15


@pytest.mark.parametrize(
    ("who", "changes", "short"),
    [
        (OURS, {"16_plain": 1.39}, []),
        (OURS, {"16_plain": 1.41}, ["Keras on JAX at 16 plain"]),
        (PAIR, {"64_BN": 0.58}, ["products at 64 BN, both two at a time"]),
        (PAIR, {"16_BN": 9.0}, []),
        (OURS, {"256_BN": 1.6}, ["JAX at 256 BN", "loop at 256 BN"]),
        (OURS, {"study": 13}, ["fit in the study"]),
        (
            OURS,
            {"study": 21},
            ["fit in the study", "JAX in the study", "loop in the study"],
        ),
    ],
)
def test_goals_that_fall_short(who, changes, short):
    goals = bench.against_goals(table(who, **changes))
    missed = goals[~goals["met"]]
    assert len(missed) == len(short)
    for goal, what in zip(missed["goal"], short, strict=True):
        assert goal.endswith(what)


def test_a_line_says_verdict_ratio_and_bound():
    goals = bench.against_goals(table(study=20))
    lines = [bench.line(goal) for goal in goals.itertuples()]
    assert "FAIL   2.50 × as fast as Keras fit in the study (≥ 4)" in lines
    floor = "the time of matrix products at 64 BN, both two at a time (≤ 1.15)"
    assert f"PASS   1.10 × {floor}" in lines


def test_who_fails_is_named_once_and_the_others_go_on():
    entries = bench.ENTRIES[:3]
    rows, missing = race({TORCH: fails, OURS: lambda network: 1.0}, entries)
    assert missing == {
        TORCH: "ModuleNotFoundError: No module named 'torch' (at 16 plain)"
    }
    assert list(rows["name"]) == [OURS] * 3
    assert list(rows["network"]) == ["16 plain", "16 BN", "64 plain"]


def test_table_holds_medians_of_epochs_and_of_studies():
    turns = iter([5.0, 1.0, 2.0])
    rounds = [
        race({OURS: lambda _: next(turns)}, bench.ENTRIES[:1])[0] for _ in range(3)
    ]
    seconds = bench.tabulate(pd.concat(rounds), [(OURS, 9.0), (FIT, 7.0), (OURS, 5.0)])
    assert list(seconds.index) == list(MAKERS)
    assert list(seconds.columns) == list(table().columns)
    assert seconds.loc[OURS, ["study", "16 plain"]].tolist() == [7, 2]
    assert np.isnan(seconds.loc[OURS, "64 BN"])
    assert seconds.loc[FIT, "study"] == 7
    assert seconds.loc[TORCH].isna().all()


@pytest.mark.parametrize(
    ("seconds", "missing", "named"),
    [
        (table(), {}, []),
        # What the bare products leave is shown, and no failure.
        (table(PAIR, **{"64_plain": 9}), {}, []),
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
    assert printed.count("PASS") + printed.count("FAIL") == 19
    falls_short = (~bench.against_goals(seconds)["met"]).sum()
    assert printed.count("FAIL") == falls_short
    saved = pd.read_csv(tmp_path / "bench" / "bench.csv", index_col=0)
    assert list(saved.columns) == list(table().columns)
    assert len(pd.read_csv(tmp_path / "bench" / "goals.csv")) == 19
    png = (tmp_path / "bench" / "bench.png").read_bytes()
    assert Image.open(io.BytesIO(png)).width >= 1000


def test_the_floor_trains_the_last_partial_batch_too():
    images, labels = np.zeros((50, 28, 28), np.float32), np.zeros(50, np.int32)
    run = bench_peers.matrix_products(images, labels, Network((8, 4), 16, None))
    assert run(50) > 0


def test_the_floor_trains_several_at_a_time():
    images, labels = np.zeros((50, 28, 28), np.float32), np.zeros(50, np.int32)
    network = Network((8, 4), 16, None)
    assert bench_peers.matrix_products(images, labels, network, workers=2)(50) > 0


@pytest.mark.parametrize("name", [FIT, OURS])
def test_a_study_trains_the_number_of_runs_it_says(name, monkeypatch):
    monkeypatch.setattr(bench_peers, "STUDY_SEEDS", range(1))
    monkeypatch.setattr(bench_peers, "STUDY_IMAGES", 64)
    monkeypatch.setattr(bench_peers, "STUDY_VALIDATION", 20)
    monkeypatch.setattr(bench_peers, "STUDY_EPOCHS", 1)
    monkeypatch.setattr(bench_peers, "WIDTHS", (4,))
    images = np.random.default_rng(0).random((200, 28, 28), np.float32)
    labels = np.arange(200, dtype=np.int32) % 10
    monkeypatch.setattr(bench_peers, "_arrays", [images, labels])
    built = []
    mlp = models.mlp
    monkeypatch.setattr(models, "mlp", lambda *a, **k: built.append(k) or mlp(*a, **k))
    assert bench_peers.study(name) > 0
    kinds = [options["normalization"] for options in built]
    assert set(kinds) == {None, "batch"}
    assert set(STUDIES) == {FIT, TORCH, JAX, OURS}
