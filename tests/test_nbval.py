"""What `pytest --nbval` compares: a wrong text fails, images, HTML and times do not."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat import v4

from tools import tables

ROOT = Path(__file__).resolve().parent.parent


def notebook(path: Path, printed: str, shown: str) -> None:
    """Write a notebook of two cells with the outputs that are stored in it."""
    show = "display({'text/plain': 'two', 'text/html': '<b>new</b>'}, raw=True)"
    data = {"text/plain": shown, "text/html": "<b>old</b>"}
    cells = [
        v4.new_code_cell("print('one')", outputs=[v4.new_output("stream")]),
        v4.new_code_cell(show, outputs=[v4.new_output("display_data", data)]),
    ]
    cells[0].outputs[0].update(name="stdout", text=printed)
    for count, cell in enumerate(cells, 1):
        cell.execution_count = count
    nbformat.write(v4.new_notebook(cells=cells), path)


def nbval(folder: Path) -> str:
    """Run nbval as the repository does, on notebooks that lie elsewhere."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "conftest", folder]
    command += ["-p", "no:cacheprovider", "--rootdir", folder]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    return ended.stdout


def test_a_wrong_text_fails_and_a_right_one_passes(tmp_path):
    notebook(tmp_path / "right.ipynb", "one\n", "two")
    notebook(tmp_path / "wrong.ipynb", "eins\n", "zwei")
    said = nbval(tmp_path)
    assert "2 failed, 2 passed" in said, said
    assert "right.ipynb" not in said.partition("short test summary")[2]


TABLE = pd.DataFrame(
    {
        "claim": ["faster", "cheaper in time", "seconds an epoch"],
        "effect": ["×2.04 (+1.5 to +2.5)", "×1.2·10⁶", "5"],
        "size": ["0.52", "-0.04", "5"],
        "unit": ["factor", "time", ""],
        "seconds": ["3", "4", "5"],
    }
)


@pytest.fixture
def folders(tmp_path):
    """Return a function that saves a run's table beside the committed one."""

    def save(found: pd.DataFrame) -> list[str]:
        for name, table in {"found": found, "committed": TABLE}.items():
            (tmp_path / name / "05").mkdir(parents=True, exist_ok=True)
            table.to_csv(tmp_path / name / "05" / "table.csv", index=False)
        return tables.differences(tmp_path / "found", tmp_path / "committed")

    return save


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("size", 0, "0.40"),
        ("effect", 0, "×2.90 (+1.1 to +3.5)"),
        ("seconds", 0, "3000"),
        ("claim", 1, "rows on time are left out"),
        ("size", 2, "50"),
    ],
)
def test_another_processors_numbers_pass(folders, column, row, value):
    table = TABLE.copy()
    table.loc[row, column] = value
    assert folders(table) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="size"), "its columns are"),
        (lambda t: t.iloc[1:], "it has 0 rows"),  # but that on time
        (lambda t: t.replace("faster", "slower"), "'slower' in column 'claim'"),
        (lambda t: t.replace("0.52", "5.2"), "'5.2' in column 'size'"),
        (lambda t: t.replace("0.52", "-0.52"), "'-0.52' in column 'size'"),
        (lambda t: t.replace("0.52", "nan"), "'nan' in column 'size'"),
    ],
)
def test_what_is_no_matter_of_the_processor_fails(folders, change, said):
    (problem,) = folders(change(TABLE))
    assert problem.startswith("05/table.csv: ")
    assert said in problem


def test_a_table_that_only_one_side_has_is_named(tmp_path):
    for name, file in {"found": "new.csv", "committed": "old.csv"}.items():
        (tmp_path / name / "05").mkdir(parents=True)
        TABLE.to_csv(tmp_path / name / "05" / file, index=False)
    assert tables.differences(tmp_path / "found", tmp_path / "committed") == [
        "05/new.csv is not committed",
        "05/old.csv was not saved",
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("×2.04", [2.04]),
        ("−5.21 points", [-5.21]),
        ("259 ± 40", [259, 40]),
        ("×7.57 to ×19.43", [7.57, 19.43]),
        ("×1.2·10⁻³", [1.2e-3]),
        ("16,000 images", [16000]),
        ("none", []),
    ],
)
def test_numbers_in_a_text(cell, expected):
    assert tables.numbers(cell) == expected
