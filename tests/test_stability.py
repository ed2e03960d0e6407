"""Do verdicts hold with other seeds? On tiny notebooks, whose verdicts are made up."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import notebooks, stability

RECORDS = """
import os
from pathlib import Path
folder = Path(os.environ["BN_PLOTS"]) / {stem!r}
folder.mkdir(exist_ok=True)
rows = ["claim,verdict,unit", *{rows}]
(folder / "verdicts.csv").write_text("\\n".join(rows))
Path("left_behind.txt").write_text("in the folder of the run")
"""
HOLDS = "Water is wet,supported,accuracy"
LONG = "A claim with so many words that they do not fit into one line " * 2


def add_notebook(root: Path, stem: str, rows: str, *committed: str, seed="0") -> None:
    """Write a notebook, and the record of an earlier run.

    `rows` is the code of a list that may depend on `first_seed`.
    """
    set_seed = new_code_cell(
        f"first_seed = {seed}  # any\nn_seeds = 5", metadata={"tags": ["parameters"]}
    )
    record = new_code_cell(RECORDS.format(stem=stem, rows=rows))
    cells = [new_markdown_cell("# One"), new_code_cell("2 + 2"), set_seed, record]
    (root / "notebooks").mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=cells), root / f"notebooks/{stem}.ipynb")
    if committed:
        (root / "plots" / stem).mkdir(parents=True)
        text = "\n".join(["claim,verdict,unit", *committed])
        (root / "plots" / stem / "verdicts.csv").write_text(text)


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the tool as the Makefile does, on the repository in `tmp_path`."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)

    def main(*arguments: str) -> SimpleNamespace:
        monkeypatch.setattr("sys.argv", ["tool", *arguments])
        before = files(tmp_path)
        with pytest.raises(SystemExit) as end:
            stability.main()
        assert files(tmp_path) == before, "files were changed or left behind"
        code = end.value.code
        return SimpleNamespace(code=code, printed=capsys.readouterr().out)

    return main


def row(printed: str, claim: str) -> list[str]:
    """Return the verdicts printed below a claim."""
    lines = printed.splitlines()
    below = lines[lines.index(f"  {claim}") + 1]
    return re.split(r"\s{2,}", below.strip())


def table(*columns: dict[str, str] | None) -> pd.DataFrame:
    """Return the comparison of a record, which comes first, with blocks 1, 2, …."""
    committed, *blocks = (c if c is None else pd.Series(c, dtype=str) for c in columns)
    return stability.compare(committed, dict(enumerate(blocks, 1)))


def test_verdicts_that_hold(run, tmp_path):
    add_notebook(tmp_path, "01_none", "[]")
    add_notebook(tmp_path, "02_holds", f"[{HOLDS!r}]", HOLDS, seed="1_000")
    result = run("--first-seeds=1000 7")
    assert result.code == 0
    assert "01_none" not in result.printed
    progress = r"02_holds\.ipynb, first_seed (\d+) … \d+ s\n"
    assert re.findall(progress, result.printed) == ["1000", "7"]
    assert "  1000 (committed)    1000" in result.printed
    assert row(result.printed, "Water is wet") == ["supported"] * 3
    assert stability.CHANGED not in result.printed
    assert result.printed.endswith(
        "\n\nNone of 1 verdicts changed and none of 2 runs failed; "
        "timing claims left out: 0.\n"
    )


def test_changed_verdicts_are_marked_and_failures_named(run, tmp_path):
    verdict = "'supported' if first_seed < 1000 else 'no effect'"
    flips = f"['Fire is cold,' + ({verdict}) + ',factor', {HOLDS!r}"
    flips += ", f'It is quick,verdict {first_seed},time']"
    timing = "It is quick,undecided,time"
    flip = "Fire is cold,supported,factor"
    add_notebook(tmp_path, "01_fails", f"[1 / (first_seed - 100) and {HOLDS!r}]", HOLDS)
    add_notebook(tmp_path, "02_flips", flips, flip, HOLDS, timing)
    result = run("--first-seeds=100 1000")
    assert result.code == 1
    first, second = result.printed.split("\n\n")[1:3]
    assert "failed: code cell 3 (import os): ZeroDivisionError" in result.printed
    assert first.startswith("01_fails.ipynb")
    assert row(first, "Water is wet") == ["supported", "failed", "supported"]
    assert second.startswith("02_flips.ipynb")
    assert row(second, "Fire is cold") == ["supported", "supported", "≠ no effect"]
    assert row(second, "Water is wet") == ["supported"] * 3
    assert "It is quick" not in result.printed
    assert result.printed.endswith(
        "\n\n1 of 3 verdicts changed (marked ≠) and 1 of 4 runs failed; "
        "timing claims left out: 1.\n"
    )


def test_a_failure_alone_is_no_success(run, tmp_path):
    add_notebook(tmp_path, "01_fails", "[nothing]", HOLDS)
    add_notebook(tmp_path, "02_other", "[nothing]", HOLDS)
    named = str(tmp_path / "notebooks/01_fails.ipynb")
    result = run("--first-seeds=5", named, named)
    assert result.code == 1
    assert "NameError: name 'nothing' is not defined" in result.printed
    assert "None of 1 verdicts changed and 1 of 1 runs failed" in result.printed
    assert "02_other" not in result.printed


def test_a_record_no_longer_written_is_a_change(run, tmp_path):
    add_notebook(tmp_path, "01_old", "[]", HOLDS)
    path = tmp_path / "notebooks/01_old.ipynb"
    nb = notebooks.read(path)
    del nb.cells[-1]
    notebooks.write(nb, path)
    result = run("--first-seeds=5")
    assert result.code == 1
    assert row(result.printed, "Water is wet") == ["supported", "≠ missing"]


def test_missing_and_new_claims_are_changes():
    compared = table({"b": "supported"}, {"a": "no effect"}, {"b": "supported"}, None)
    assert compared.index.tolist() == ["b", "a"]
    assert stability.changes(compared).to_numpy().tolist() == [
        [False, True, False, False],
        [False, True, False, False],
    ]
    trial = stability.Trial(Path("x.ipynb"), new_notebook(), 0, pd.DataFrame())
    shown = stability.show(trial, compared)
    assert row(shown, "b") == ["supported", "≠ missing", "supported", "failed"]
    assert row(shown, "a") == ["(new)", "≠ no effect", "–", "failed"]


def test_timing_claims_are_left_out_and_doubles_are_not_hidden():
    rows = [("b", "supported", "accuracy"), ("t", "supported", "time")]
    rows += [("a", "no effect", "factor"), ("b", "undecided", "accuracy")]
    record = pd.DataFrame(rows, columns=["claim", "verdict", "unit"])
    assert list(stability.by_claim(record).items()) == [
        ("b", "supported, undecided"),
        ("a", "no effect"),
    ]
    timing = stability.by_claim(record[record["unit"] == "time"])
    compared = stability.compare(timing, {1: timing, 2: None})
    assert compared.shape == (0, 3)
    trial = stability.Trial(Path("x.ipynb"), new_notebook(), 0, record)
    assert "0 (committed)    1" in stability.show(trial, compared)
    assert not stability.changes(compared).any(axis=None)
    assert stability.summarise([trial], [compared], 1) == (
        "None of 0 verdicts changed and 1 of 2 runs failed; timing claims left out: 1."
    )


def test_the_table_fits_a_terminal_and_its_columns_align():
    trial = stability.Trial(Path("x.ipynb"), new_notebook(), 0, pd.DataFrame())
    verdict = {LONG.strip(): "contradicted"}
    other = {LONG.strip(): "no effect"}
    lines = stability.show(trial, table(verdict, other, verdict, other)).splitlines()
    assert max(map(len, lines)) <= stability.WIDTH
    assert " ".join(" ".join(lines[2:-1]).split()) == LONG.strip()
    heading, last = lines[1], lines[-1]
    assert re.split(r"\s{2,}", heading.strip()) == ["0 (committed)", "1", "2", "3"]
    starts = [m.start() for m in re.finditer(r"\S+(?: \S+)*", heading)]
    assert [last[at : at + 2] for at in starts] == ["co", "no", "co", "no"]
    assert [last[at - 2] for at in starts[1:]] == ["≠", " ", "≠"]


def test_only_the_parameters_of_a_copy_change():
    tagged = {"tags": ["parameters", "other"]}
    source = "n_seeds = 5\nfirst_seed = 0  # first_seed = 0\nx = first_seed"
    cells = [new_code_cell(source, metadata=tagged), new_code_cell("first_seed = 0")]
    nb = new_notebook(cells=cells)
    changed = stability.with_first_seed(nb, 1000)
    assert changed.cells[0].source == source.replace("= 0 ", "= 1000 ")
    assert changed.cells[1].source == "first_seed = 0"
    assert nb.cells[0].source == source


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("100 -1", "'-1' is not a whole number from 0"),
        ("1.5", "'1.5' is not a whole number from 0"),
        ("100,1000", "'100,1000' is not a whole number from 0"),
        ("7 100 0100", "100 stands twice: name each block once"),
        (" ", "FIRST_SEEDS names no block of seeds: write them as in"),
    ],
)
def test_bad_seeds_are_named(run, tmp_path, text, complaint):
    add_notebook(tmp_path, "01_fine", f"[{HOLDS!r}]", HOLDS)
    result = run(f"--first-seeds={text}")
    assert complaint in result.code
    assert result.printed == ""


def test_default_blocks_are_valid():
    assert stability.read_seeds(stability.FIRST_SEEDS) == [100, 1000, 10000]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("99_none.ipynb", "There is no notebook 99_none.ipynb: name a file of"),
        ("02_none.ipynb", "02_none.ipynb gives no verdicts: name a notebook that"),
    ],
)
def test_bad_notebooks_are_named(run, tmp_path, name, complaint):
    add_notebook(tmp_path, "01_fine", f"[{HOLDS!r}]", HOLDS)
    add_notebook(tmp_path, "02_none", f"[{HOLDS!r}]")
    folder = tmp_path / "notebooks"
    result = run(str(folder / "01_fine.ipynb"), str(folder / name))
    assert complaint in result.code
    assert result.printed == ""


@pytest.mark.parametrize("seed", ["10 + 5", "int(3)", "0; x = 1", "1.5"])
def test_a_notebook_without_a_plain_first_seed_is_named(run, tmp_path, seed):
    add_notebook(tmp_path, "01_fine", f"[{HOLDS!r}]", HOLDS)
    add_notebook(tmp_path, "02_odd", f"[{HOLDS!r}]", HOLDS, seed=seed)
    result = run()
    assert result.code.startswith("02_odd.ipynb has no line 'first_seed = <number>'")
    assert result.printed == ""


def test_nothing_to_check_is_said(run, tmp_path):
    add_notebook(tmp_path, "01_none", "[]")
    assert "No notebook gives verdicts" in run().code


def test_make_passes_seeds_and_notebooks_on():
    command = ["make", "-n", "-C", notebooks.ROOT, "stability", "NOTEBOOKS=a.ipynb"]
    commands = subprocess.run(
        [*command, "FIRST_SEEDS=1 2"], capture_output=True, text=True, check=True
    ).stdout
    assert "-m tools.stability --first-seeds='1 2' a.ipynb\n" in commands
