"""Replications of tiny notebooks, whose effects are made up from their seeds."""

import os
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from scipy import stats

from helpers import claims
from tools import notebooks, replicate

TRIES = """
import os
from pathlib import Path
{first}
rows = ["claim,seed,treatment,control"]
for key in {keys}:
    for seed in range(first_seed, first_seed + 5):
        rows.append(f"{{key}},{{seed}},{{0.55 + seed % 7 / 1000}},{{0.4}}")
folder = Path(os.environ["BN_PLOTS"]) / {stem!r}
folder.mkdir(exist_ok=True)
(folder / "effects.csv").write_text("\\n".join(rows))
"""
CLAIM = """
[claims.{key}]
statement = "{key}"
sentence = "it"
notebook = "{stem}"
section = "One"
measure = "it"
claimed = "higher"
unit = "{unit}"
primary = true
"""


def add_notebook(root: Path, stem: str, *keys: str, first: str = "") -> None:
    """Write a notebook that tries the keys; `first` runs in it before."""
    set_seed = new_code_cell(
        "first_seed = 0  # any\nn_seeds = 5", metadata={"tags": ["parameters"]}
    )
    tries = new_code_cell(TRIES.format(stem=stem, keys=keys, first=first))
    (root / "notebooks").mkdir(exist_ok=True)
    nb = new_notebook(cells=[new_markdown_cell("# One"), set_seed, tries])
    nbformat.write(nb, root / f"notebooks/{stem}.ipynb")


def register(root: Path, **keys: str) -> None:
    """Write a registry: the notebook of each key, its unit after a colon."""
    text = '[sentences.it]\ntext = "It"\nchapter = "one"\n'
    for key, place in keys.items():
        stem, _, unit = place.partition(":")
        text += CLAIM.format(key=key, stem=stem, unit=unit or "accuracy")
    (root / "claims.toml").write_text(text)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Make a repository with three claims in two notebooks."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers/data.py").write_text("x = 1\n")
    add_notebook(tmp_path, "03_a", "a", "b", "slow")
    add_notebook(tmp_path, "04_b", "c")
    register(tmp_path, a="03_a", b="03_a", slow="03_a:time", c="04_b:factor")
    claims.registry.cache_clear()
    yield tmp_path
    claims.registry.cache_clear()


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the tool as the Makefile does; return its exit code and what it printed."""

    def main(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["tool", *arguments])
        code = None
        try:
            replicate.main()
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().out

    return main


def record(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "record").iterdir()}


def test_each_job_is_on_record_with_its_own_seeds_and_time_is_left_out(root, run):
    code, printed = run("--replications", "0-1")
    assert code is None, printed
    assert "4 jobs, 0 of them on record" in printed
    effects = claims.read_effects(root / "record/effects.csv")
    assert list(effects.columns) == claims.EFFECTS
    assert set(effects["claim"]) == {"a", "b", "c"}
    seeds = effects.groupby(["claim", "replication"])["seed"].agg(list)
    for (_, replication), found in seeds.items():
        assert found == list(range(100 * replication, 100 * replication + 5))
    assert not list((root / "build").iterdir()), "a scratch folder was left behind"
    nb = (root / "notebooks/03_a.ipynb").read_text()
    assert "first_seed = 0  # any" in nb, "the notebook was changed"


def test_a_second_call_runs_only_what_is_missing_or_made_by_other_code(root, run):
    run("--replications", "0")
    _, printed = run("--replications", "0-1")
    assert "4 jobs, 2 of them on record" in printed
    whole = record(root)
    _, printed = run("--replications", "0-1")
    assert "4 jobs, 4 of them on record" in printed
    assert record(root) == whole
    add_notebook(root, "04_b", "c", first="# a remark")
    _, printed = run("--replications", "0-1")
    assert "4 of them on record" in printed, "a remark counted as code"
    add_notebook(root, "04_b", "c", first="x = 2")
    _, printed = run("--replications", "0-1")
    assert "2 of them on record" in printed
    (root / "helpers/data.py").write_text("x = 2\n")
    add_notebook(root, "04_b", "c", first="x = 3")
    _, printed = run("--replications", "0-1", "--same-numbers")
    assert "4 of them on record" in printed
    (root / "helpers/data.py").write_text("x = 3\n")
    _, printed = run("--replications", "0-1")
    assert "0 of them on record" in printed


def test_interrupted_and_resumed_equals_uninterrupted(root, run):
    run("--replications", "0-1")
    whole = record(root)
    for path in (root / "record").iterdir():
        path.unlink()
    run("--replications", "1", "04_b")
    run("--replications", "0")
    run("--replications", "0-1")
    assert record(root) == whole


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux tells")
def test_a_job_has_one_processor_however_many_run(root, run):
    first = "assert len(os.sched_getaffinity(0)) == 1, 'threads change numbers'"
    add_notebook(root, "04_b", "c", first=first)
    assert run("--replications", "0", "--jobs", "1")[0] in (None, 0)


def test_the_record_is_of_the_code_that_stands_here():
    old = [
        f"{row.notebook}, replication {row.replication}"
        for row in pd.read_csv(notebooks.ROOT / "record/jobs.csv").itertuples()
        if (row.code, row.helpers) != replicate.code_of(notebooks.ROOT, row.notebook)
    ]
    assert not old, f"of other code: {old}: run `make replicate`, see CONTRIBUTING.md"


def test_two_at_a_time_find_what_one_does(root, run):
    run("--replications", "0-1")
    whole = record(root)
    for path in (root / "record").iterdir():
        path.unlink()
    run("--replications", "0-1", "--jobs", "2")
    assert record(root) == whole


def test_a_job_that_fails_is_named_and_the_others_go_on(root, run):
    add_notebook(root, "03_a", "a", "b", first="assert first_seed != 100, 'no luck'")
    code, printed = run("--replications", "0-1")
    assert code == "1 jobs failed; all others are in record/."
    assert "FAILED: 03_a, replication 1: code cell 2" in printed
    assert "AssertionError: no luck" in printed
    effects = claims.read_effects(root / "record/effects.csv")
    assert set(effects.loc[effects["claim"] == "a", "replication"]) == {0}
    assert set(effects.loc[effects["claim"] == "c", "replication"]) == {0, 1}
    code, printed = run("--replications", "0-1")
    assert "4 jobs, 3 of them on record" in printed


def test_a_claim_that_was_not_tried_fails_its_job(root, run):
    add_notebook(root, "03_a", "a")
    code, printed = run("--replications", "0", "03_a")
    assert "it did not try b" in printed
    assert code


PARENT = pytest.mark.skipif(os.name == "nt", reason="there it may be a launcher")
KILLED_ONCE = """
mark = Path("..", "mark")
if not mark.exists():
    mark.touch()
    os.kill({pid}, 9)
"""


def test_a_kernel_that_dies_costs_its_job_one_more_try(root, run):
    add_notebook(root, "04_b", "c", first=KILLED_ONCE.format(pid="os.getpid()"))
    assert run("--replications", "0")[0] is None
    add_notebook(root, "04_b", "c", first="os.kill(os.getpid(), 9)")
    _, printed = run("--replications", "0")
    assert f"FAILED: 04_b, replication 0: {replicate.DIED}" in printed


@PARENT
def test_a_process_that_dies_costs_its_jobs_one_more_try(root, run):
    add_notebook(root, "04_b", "c", first=KILLED_ONCE.format(pid="os.getppid()"))
    assert run("--replications", "0-1", "--jobs", "2")[0] is None
    effects = claims.read_effects(root / "record/effects.csv")
    assert len(effects) == 2 * 3 * 5


@PARENT
def test_a_cluster_that_loses_a_worker_finds_what_one_process_does(root, run):
    run("--replications", "0-1")
    whole = record(root)
    for path in (root / "record").iterdir():
        path.unlink()
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster:
        # The kernel's parent is the worker; its nanny starts another.
        add_notebook(root, "04_b", "c", first=KILLED_ONCE.format(pid="os.getppid()"))
        code, _ = run("--replications", "0-1", "--scheduler", cluster.scheduler_address)
    assert code is None
    assert (root / "mark").exists(), "no worker was killed"
    found = record(root)
    assert found["effects.csv"] == whole["effects.csv"]
    assert found["verdicts.csv"] == whole["verdicts.csv"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("treatment", "treated"),
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("0.4", "nan", 1),
        lambda text: text + text.splitlines()[1] + "\n",
        lambda text: text.replace(",0.4", ",much", 1),
    ],
)
def test_a_corrupt_record_is_refused(root, run, damage):
    run("--replications", "0", "04_b")
    path = root / "record/effects.csv"
    before = damage(path.read_text())
    path.write_text(before)
    code, _ = run("--replications", "1")
    assert "record/effects.csv is damaged" in code
    assert "git checkout" in code
    assert path.read_text() == before


def test_what_is_asked_in_another_way_is_refused_with_a_remedy(root, run):
    for arguments, words in {
        ("--replications", "one"): "'one' is no number or range",
        ("--replications", "5-2"): "'5-2' is no number or range",
        ("--replications", ""): "names none",
        ("--jobs", "0"): "JOBS must be 1 or more",
        ("05_c",): "05_c tries no claim that can be replicated",
        ("--scheduler", "tcp://127.0.0.1:1"): "no scheduler answers",
    }.items():
        assert words in run(*arguments)[0]
    assert replicate.read_replications("0,3,5-7 5") == [0, 3, 5, 6, 7]
    nb = new_notebook(cells=[new_code_cell("first_seed = 0")])
    with pytest.raises(ValueError, match="'first_seed = <number>'"):
        replicate.with_first_seed(nb, 100)


def test_verdicts_are_derived_from_the_effects_alone(root, run):
    run("--replications", "0-2")
    verdicts = pd.read_csv(root / "record/verdicts.csv").set_index("claim")
    effects = pd.read_csv(root / "record/effects.csv")
    effects["effect"] = effects["treatment"] - effects["control"]
    ratio = effects["claim"] == "c"
    effects.loc[ratio, "effect"] = np.log(effects["treatment"] / effects["control"])
    table = effects.pivot_table("effect", "replication", "claim")
    for key, means in table.items():
        test = stats.ttest_1samp(means, 0)
        low, high = test.confidence_interval(0.95)
        assert verdicts.loc[key, "effect"] == pytest.approx(np.mean(means))
        assert verdicts.loc[key, ["low", "high"]].tolist() == pytest.approx([low, high])
        margin = np.log(1.25) if key == "c" else 0.005
        one = stats.ttest_1samp(means, margin, alternative="greater")
        assert verdicts.loc[key, "p"] == pytest.approx(one.pvalue, rel=1e-6)
