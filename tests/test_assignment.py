"""The edition one hands out holds no answers; its source and its rubric agree."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest

from tools import assignment, notebooks

ROOT = Path(__file__).resolve().parent.parent
SOURCE = notebooks.read(assignment.SOURCE)
GUIDE = tomllib.loads((ROOT / "assignment" / "marking.toml").read_text())


@pytest.fixture(scope="module")
def archive():
    """The files of the zip, by name."""
    return assignment.contents(ROOT)


@pytest.fixture(scope="module")
def edition(archive):
    return nbformat.reads(archive[assignment.NAME].decode(), as_version=4)


def tagged(kind: str) -> list:
    return [cell for cell in SOURCE.cells if kind in assignment.tags(cell)[0]]


def answers_in(source: str) -> list[str]:
    """Return the lines of a solution that a stub must not show."""
    shown = set(assignment.stub(source).splitlines())
    lines = [line.strip() for line in source.splitlines() if line not in shown]
    return [line for line in lines if len(line) > 20]


def test_the_archive_holds_the_notebook_and_what_loads_the_data(archive):
    assert set(archive) == {
        *("assignment.ipynb", "README.md"),
        *("helpers/__init__.py", "helpers/data.py", "helpers/quiet.py"),
    }


def test_no_file_of_the_archive_holds_an_answer(archive):
    text = b"\n".join(archive.values()).decode()
    cells = [json.loads(archive[assignment.NAME])["cells"]]
    text += "\n".join("".join(cell["source"]) for cell in cells[0])
    hidden = [line for cell in tagged("hidden") for line in cell.source.splitlines()]
    solved = [line for cell in tagged("solution") for line in answers_in(cell.source)]
    sentences = [
        sentence
        for cell in tagged("essay")
        for sentence in re.split(r"(?<=[.:?]) ", cell.source)
    ]
    # What a text or a check tells is no secret.
    solutions = tagged("solution")
    told = "\n".join(cell.source for cell in SOURCE.cells if cell not in solutions)
    secrets = [line for line in solved if line not in told]
    assert len(secrets) > 30
    sentences = [sentence for sentence in sentences if len(sentence) > 15]
    for secret in (*secrets, *sentences, *hidden[:1]):
        assert secret not in text, secret
    for module in ("marks", "formulas", "networks", "tables", "exam", "asking"):
        assert f"import {module}" not in text
    for known in ("Mistake(", "t_interval", "def decide", "batch_statistics"):
        assert known not in text


def test_no_file_of_the_archive_tells_how_answers_are_marked(archive):
    text = b"\n".join(archive.values()).decode()
    told = "\n".join(
        "".join(cell["source"])
        for cell in json.loads(archive[assignment.NAME])["cells"]
    )
    for item, entry in GUIDE.items():
        if item == "groups":
            continue
        fields = {"full", "half", "none", "model", "free"} & set(entry)
        marks = [entry[field] for field in fields]
        marks += [part["for"] for part in entry.get("parts", ())]
        for secret in (*marks, *(mistake["says"] for mistake in entry["mistakes"])):
            assert secret not in text + told, secret
    assert "marking" not in text + told
    assert "Typical errors" not in text + told


def test_the_data_come_along_when_asked(tmp_path, monkeypatch):
    names = assignment.contents(ROOT, data=True)
    assert "data/mnist/train-images-idx3-ubyte.gz" in names
    assert "data/SHA256SUMS" in names


def test_the_archive_is_the_same_every_time(tmp_path):
    for name in ("assignment/assignment.ipynb", "assignment/students.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "helpers").symlink_to(ROOT / "helpers")
    first = assignment.write(tmp_path).read_bytes()
    assert assignment.write(tmp_path).read_bytes() == first
    with zipfile.ZipFile(io.BytesIO(first)) as opened:
        modes = {entry.external_attr >> 16 for entry in opened.infolist()}
        assert modes == {0o644}  # whoever unpacks it, all may read it
        assert opened.testzip() is None
        assert assignment.NAME in opened.namelist()


def test_the_students_notebook_is_valid_and_was_not_run(edition):
    nbformat.validate(edition)
    for cell in notebooks.code_cells(edition):
        ast.parse(cell.source)
        assert cell.outputs == []
        assert cell.execution_count is None
    assert not [c for c in edition.cells if "hidden" in assignment.tags(c)[0]]


def test_stubs_keep_signature_docstring_and_names():
    source = (
        '@cache\ndef f(x, y=1):\n    """Return it.\n\n    All of it.\n    """\n'
        "    return x\n\n\nimport os\nz = f(2)\n"
    )
    left = assignment.stub(source, ["z", "w"])
    assert (
        'def f(x, y=1):\n    """Return it.\n\n    All of it.\n    """\n    ...' in left
    )
    assert "return x" not in left
    assert re.search(r"^z = \.\.\.", left, re.MULTILINE)
    assert re.search(r"^w = \.\.\.", left, re.MULTILINE)
    ast.parse(left)


def test_points_add_up_to_the_rubric():
    points = assignment.items(SOURCE, "hidden") | assignment.items(SOURCE, "essay")
    of_groups = {
        group: sum(points[item] for item in items)
        for group, items in GUIDE["groups"].items()
    }
    assert list(of_groups.values()) == [30, 40, 20, 10]
    listed = [item for items in GUIDE["groups"].values() for item in items]
    assert sorted(listed) == sorted(points)


def test_the_texts_name_the_points_of_the_tags():
    points = assignment.items(SOURCE, "hidden") | assignment.items(SOURCE, "essay")
    text = "\n".join(c.source for c in SOURCE.cells if c.cell_type == "markdown")
    told = {
        "Q1.1": r"## Q1\.1 .*\((\d+) points\)",
        "Q1.2": r"## Q1\.2 .*\((\d+) points\)",
        "Q1.3-forward": r"### Forward \((\d+) points\)",
        "Q1.3-backward": r"### Backward \((\d+) points\)",
        "Q1.3": r"### In words \((\d+) points\)",
        "Q2.1": r"## Q2\.1 .*\((\d+) points\)",
        "Q2.4": r"## Q2\.2 to Q2\.4 .*\((\d+) points\)",
        "Q2.5": r"## Q2\.5 .*\((\d+) points\)",
        "Q2.6": r"## Q2\.6 .*\((\d+) points\)",
        "Q3.1": r"## Q3\.1 .*\((\d+) points\)",
        "Q3.2": r"## Q3\.2 .*\((\d+) points\)",
        "Presentation": r"## Presentation \((\d+) points\)",
    }
    for item, pattern in told.items():
        assert float(re.search(pattern, text)[1]) == points[item], item
    table = SOURCE.cells[0].source
    given = [int(n) for n in re.findall(r"\| (\d+) \|$", table, re.MULTILINE)]
    assert sum(given) == 100


def test_every_item_has_a_marking_guide_and_every_essay_a_model_answer():
    points = assignment.items(SOURCE, "hidden") | assignment.items(SOURCE, "essay")
    for item in points:
        entry = GUIDE[item]
        fields = {"question", "title", "none", "mistakes", "evidence"}
        fields |= {"parts"} if "parts" in entry else {"full", "half"}
        assert fields == set(entry) - {"model", "free"}
        assert ("model" in entry) == ("free" in entry)
        assert all({"says"} <= set(m) <= {"says", "see"} for m in entry["mistakes"])
        if "parts" in entry:
            assert sum(part["points"] for part in entry["parts"]) == points[item]
    for cell in tagged("essay"):
        assert len(cell.source.split()) >= 40


@pytest.mark.parametrize("packed", ["whole", "cut", ""])
def test_the_first_cell_finds_the_helpers_or_says_what_to_do(edition, tmp_path, packed):
    """As in Colab, where the notebook stands alone; TensorFlow is left out here."""
    if packed:
        with zipfile.ZipFile(tmp_path / "assignment.zip", "w") as archive:
            archive.writestr("helpers/__init__.py", "")
            archive.writestr("helpers/quiet.py", "print('found')")
            archive.writestr(assignment.NAME, "the empty notebook")
    if packed == "cut":  # the upload has not ended
        path = tmp_path / "assignment.zip"
        path.write_bytes(path.read_bytes()[:-30])
    mine = tmp_path / assignment.NAME
    mine.write_text("my work")
    setup = notebooks.code_cells(edition)[0].source
    ended = subprocess.run(
        [sys.executable, "-c", setup], cwd=tmp_path, capture_output=True, text=True
    )
    assert mine.read_text() == "my work"
    if packed == "whole":
        assert ended.stdout == "found\n"
    elif packed:
        assert ended.stderr.startswith("assignment.zip is not complete: wait until its")
    else:
        assert ended.stderr.startswith("The folder helpers/ is missing. Put assignment")


@pytest.mark.parametrize("place", ["here", "on the path"])
def test_the_first_cell_leaves_the_helpers_of_another_course_alone(
    edition, tmp_path, place
):
    mine, course = tmp_path / "mine", tmp_path / "course"
    mine.mkdir()
    with zipfile.ZipFile(mine / "assignment.zip", "w") as archive:
        archive.writestr("helpers/__init__.py", "")
        archive.writestr("helpers/quiet.py", "print('found')")
    other = (mine if place == "here" else course) / "helpers.py"
    other.parent.mkdir(exist_ok=True)
    other.write_text("theirs = 1")
    ended = subprocess.run(
        [sys.executable, "-c", notebooks.code_cells(edition)[0].source],
        cwd=mine, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(course)},
    )  # fmt: skip
    assert other.read_text() == "theirs = 1"
    if place == "here":
        assert ended.stderr.startswith("Another course's helpers are here: put this")
        assert not (mine / "helpers").exists()
    else:
        assert ended.stdout == "found\n"


def test_every_experiment_is_preceded_by_a_prediction(edition):
    texts = [cell.source for cell in edition.cells]
    for call in ("histories = ", "runs = compare(", "sweep = run_sweep()"):
        at = next(i for i, text in enumerate(texts) if call in text)
        before = "\n".join(texts[max(0, at - 3) : at])
        assert "*My prediction:*" in before, call
