"""What is kept of each graded submission, and the table of all scores."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from assignment.marks import Mark
from helpers import files

REFERENCE = "(reference solution)"
STARTS = tuple("=+-@\t\r'")  # of a cell that is more than text
# What may begin a cell inside of one: a formula, but no list and no number. Of a run of
# line ends the last alone is looked behind: a text of a million takes no hours.
INNER = r"([;\t\r\n][^\S\t\r\n]*)(?=[=@]|[+-][^\r\n]*[(|!])"
LONGEST = 180  # bytes of a name that is part of a file's name


@dataclass(frozen=True)
class Result:
    """All that is kept of a graded submission."""

    student: str
    name: str  # of the notebook
    version: str  # of notebook and checks together
    marks: dict[str, Mark]
    essays: dict[str, str]
    note: str = ""  # what went wrong with the run as a whole
    notebook: str = ""  # as run, without what may harm; JSON
    seconds: float = 0.0
    attempts: list[str] = field(default_factory=list)  # how runs ended before their end


def path_of(folder: Path, student: str) -> Path:
    """Return where a student's result is kept."""
    return folder / "results" / f"{stem(student)}.json"


def stem(student: str) -> str:
    """Return a student's name as files can have it: not too long."""
    if len(student.encode()) <= LONGEST:
        return student
    return f"{student[:40]}-{hashlib.sha256(student.encode()).hexdigest()[:16]}"


def save(result: Result, folder: Path) -> None:
    """Keep a result, whole or not at all."""
    path = path_of(folder, result.student)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, json.dumps(asdict(result)).encode())


def load(folder: Path, student: str) -> Result | None:
    """Return a result that is kept; None if there is none, or it is damaged."""
    return _load(path_of(folder, student))


def _load(path: Path) -> Result | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        marks = {item: Mark(**mark) for item, mark in kept.pop("marks").items()}
        return Result(**kept, marks=marks)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula, nor any part of it.

    A spreadsheet may take a semicolon, a tab or a line's end for the end of a cell.
    """
    text = re.sub(INNER, r"\1'", text)
    return f"'{text}" if text[:1] in STARTS else text


def label(name: str) -> str:
    """Return a name that no spreadsheet takes for a number or a date, and rewrites."""
    return f"'{name}" if name[:1].isdigit() else cell(name)


def uncell(text: str) -> str:
    """Return what stood in a cell before an apostrophe was put before it."""
    marked = text[1:2] in STARTS or text[1:2].isdigit()
    text = text[1:] if text[:1] == "'" and marked else text
    return re.sub(INNER.replace("(?=", "'(?="), r"\1", text)


def write_scores(results: Sequence[Result], folder: Path) -> None:
    """Write ``scores.csv``: a row for each student and item that is judged by code."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["student", "item", "points", "of", "message"])
    for result in sorted(results, key=lambda result: result.student):
        for item, mark in result.marks.items():
            row = [cell(result.student), item, f"{mark.points:g}", f"{mark.of:g}"]
            table.writerow([*row, cell(mark.message)])
    files.write(folder / "scores.csv", buffer.getvalue().encode("utf-8-sig"))


def every(folder: Path) -> list[Result]:
    """Return all results that are kept, but that of the reference solution."""
    paths = sorted((folder / "results").glob("*.json"))
    found = [_load(path) for path in paths]
    return [r for r in found if r is not None and r.student != REFERENCE]
