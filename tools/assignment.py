"""Makes ``build/assignment.zip``, the edition one hands out, from its source notebook.

Tags of the source say what becomes of a cell: of a ``solution`` a stub is left, of an
``essay`` the place to write, of a ``hidden`` cell nothing.
"""

import argparse
import ast
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from helpers import files
from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "assignment" / "assignment.ipynb"
NAME = "assignment.ipynb"
HELPERS = ("__init__.py", "data.py", "quiet.py")  # what a student's notebook imports
DATA = ("README.md", "SHA256SUMS", "mnist", "fashion_mnist")
YOURS = "  # replace the dots"
ANSWER = "**Your answer to {}:**"
PLACE = "*Write here, in place of this line.*"
OLD = (2020, 1, 1, 0, 0, 0)  # the same time in every archive: the same bytes


def tags(cell: NotebookNode) -> tuple[set[str], dict[str, str]]:
    """Return the plain tags of a cell, and those of the form ``name=value``."""
    every = cell.metadata.get("tags", [])
    named = dict(tag.split("=", 1) for tag in every if "=" in tag)
    return {tag for tag in every if "=" not in tag}, named


def items(nb: NotebookNode, kind: str) -> dict[str, float]:
    """Return the points of each item that hidden cells, or essays, decide."""
    found = {}
    for cell in nb.cells:
        kinds, named = tags(cell)
        if kind in kinds and "points" in named:
            found[named["id"]] = float(named["points"])
    return found


def hidden(nb: NotebookNode) -> list[tuple[str, str]]:
    """Return each hidden question and the code that asks it, in order."""
    pairs = [(tags(cell), cell.source) for cell in nb.cells]
    return [(named["id"], code) for (kinds, named), code in pairs if "hidden" in kinds]


def stub(source: str, leaves: Iterable[str] = ()) -> str:
    """Return what is left of a solution: functions without bodies, names of values.

    Parameters
    ----------
    source : code of the cell; its functions keep first line and docstring.
    leaves : values that the student is to give, each on a line of its own.
    """
    lines, parts = source.split("\n"), []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            head = lines[node.lineno - 1 : node.body[0].end_lineno]
            parts.append("\n".join([*head, f"    ...{YOURS}"]))
    parts += [f"{name} = ...{YOURS}" for name in leaves]
    return "\n\n\n".join(parts)


def student(nb: NotebookNode) -> NotebookNode:
    """Return the notebook one hands out: no answers, no hidden cells, no outputs."""
    cells = []
    for cell in nb.cells:
        kinds, named = tags(cell)
        if "hidden" in kinds:
            continue
        cell = nbformat.from_dict({**cell, "metadata": {}})
        if "solution" in kinds:
            leaves = named.get("leaves", "").split("+")
            cell.source = stub(cell.source, filter(None, leaves))
            cell.metadata = {"tags": ["solution", f"id={named['id']}"]}
        elif "essay" in kinds:
            cell.source = f"{ANSWER.format(named['id'])}\n\n{PLACE}"
            cell.metadata = {"tags": ["essay", f"id={named['id']}"]}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    return notebooks.normalise(nbformat.from_dict({**nb, "cells": cells}))


def contents(root: Path, *, data: bool = False) -> dict[str, bytes]:
    """Return the files of the edition, by their names in the archive."""
    nb = student(notebooks.read(root / "assignment" / NAME))
    found = {
        NAME: (nbformat.writes(nb) + "\n").encode(),
        "README.md": (root / "assignment" / "students.md").read_bytes(),
    }
    for name in HELPERS:
        found[f"helpers/{name}"] = (root / "helpers" / name).read_bytes()
    if data:
        for name in DATA:
            place = root / "data" / name
            paths = sorted(place.iterdir()) if place.is_dir() else [place]
            for path in paths:
                found[str(path.relative_to(root))] = path.read_bytes()
    return found


def unpack(root: Path, folder: Path) -> None:
    """Write the edition to a folder, as a student has it, with the data beside it."""
    for name, content in contents(root).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).parent.chmod(0o755)  # whatever the umask: sandboxes read it
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o644)
    (folder / "data").symlink_to(root / "data")


def write(root: Path, *, data: bool = False) -> Path:
    """Write ``build/assignment.zip`` whole or not at all; return its path."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents(root, data=data).items():
            entry = zipfile.ZipInfo(name, OLD)
            entry.external_attr = 0o644 << 16  # else only the owner may read it
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    path = root / "build" / "assignment.zip"
    path.parent.mkdir(exist_ok=True)
    files.write(path, buffer.getvalue())
    return path


def main() -> None:
    """Make the archive for the options on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="store_true", help="put the data sets in too")
    options = parser.parse_args()
    with notebooks.said_clearly():
        path = write(notebooks.ROOT, data=options.data)
    size = path.stat().st_size / 1e3
    print(f"build/{path.name} ({size:,.0f} kB): hand it out as it is")


if __name__ == "__main__":
    main()
