"""Find, execute, normalise and write notebooks: what the other tools share."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal
from nbformat import NotebookNode, ValidationError

from tools import cores
from tools import scratch as own

ROOT = Path(__file__).resolve().parent.parent

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "name": "python",
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
IN_SHORT = re.compile(r"^\*\*In short\.\*\*\s*(.+?)(?:\n\s*\n|\Z)", re.M | re.S)
READER = "reads-record"  # the tag of the cell that does
KEPT_CELL_METADATA = ("tags", "jupyter", "cellView")


def find(folder: Path) -> list[Path]:
    """Return the notebooks of a folder, in the order of their numbers."""
    return sorted(folder.glob("*.ipynb"))


class DamagedError(ValueError):
    """A file holds no notebook."""


def read(path: Path) -> NotebookNode:
    """Return a notebook.

    Raises
    ------
    DamagedError
        If the file holds none, as after a merge that left its marks.
    """
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, TypeError, LookupError, AttributeError, ValidationError):
        raise DamagedError(
            f"{path.name} holds no notebook: restore it, as by git checkout, then run "
            "again."
        ) from None


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    """Return the code cells of a notebook that have code."""
    return [c for c in nb.cells if c.cell_type == "code" and c.source.strip()]


def reads_record(nb: NotebookNode) -> bool:
    """Whether a notebook reads the record, or what other notebooks have saved."""
    return any(READER in cell.metadata.get("tags", []) for cell in nb.cells)


def in_order(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Return the notebooks that read no other, and those that do and run after them."""
    first: list[Path] = []
    readers: list[Path] = []
    for path in sorted(paths):
        (readers if reads_record(read(path)) else first).append(path)
    return first, readers


def questions(nb: NotebookNode) -> str:
    """Return the tables that lead from question and rubric to section, in Markdown."""
    text = "\n\n".join(c.source for c in nb.cells if c.cell_type == "markdown")
    section = r"^## [^\n]*question by question\n(.*?)(?=^## |\Z)"
    found = re.search(section, text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def in_short(nb: NotebookNode) -> str:
    """Return the answer in plain words that a notebook's first text gives, if any."""
    texts = (cell.source for cell in nb.cells if cell.cell_type == "markdown")
    found = IN_SHORT.search(next(texts, ""))
    return " ".join(found[1].split()) if found else ""


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """Make a folder in ``build/`` with a copy of ``plots/``; remove it at the end."""
    build, plots = root / "build", root / "plots"
    build.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=build, prefix="run-") as name:
        folder = Path(name)
        (folder / "plots").mkdir()
        own.copy(plots, folder / "plots")
        yield folder


@contextmanager
def said_clearly(interrupted: str = "Interrupted: all is as before.") -> Iterator[None]:
    """End the program with one sentence at Ctrl-C, or at a file that is in the way."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(interrupted)
    except DamagedError as error:
        sys.exit(str(error))
    except OSError as error:
        if error.filename is None:  # it says all by itself
            sys.exit(str(error))
        name = Path(error.filename).name
        problem = error.strerror or str(error)
        sys.exit(
            f"{name} cannot be written ({problem}): make room or allow writing, then "
            "run again."
        )


async def execute(
    nb: NotebookNode,
    folder: Path,
    plots: Path,
    on_cell: Callable[[], object] = lambda: None,
    processors: set[int] | None = None,
) -> str | None:
    """Run all cells of a notebook in a fresh kernel, and store their outputs in it.

    Parameters
    ----------
    nb : the notebook; outputs it brings along are dropped first.
    folder : the kernel's working directory.
    plots : where the notebook's helpers write figures and tables, and find others'.
    on_cell : called after each code cell.
    processors : those the kernel is kept to, if any.

    Returns
    -------
    str or None
        The cell that failed and its error; None when all cells ran.
    """
    cells, current = code_cells(nb), 0
    for cell in cells:
        cell.outputs, cell.execution_count = [], None

    def started(cell: NotebookNode, **_) -> None:
        nonlocal current
        current = cells.index(cell)

    def start(**_) -> None:
        # nbclient would end one kernel and go on: Ctrl-C is meant for everything.
        with suppress(NotImplementedError):  # on Windows, where it does not
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        kernel: Any = client.km  # whose provisioner is one with a process
        cores.keep(kernel.provisioner.pid, processors)

    client = _client(
        nb,
        timeout=1200,
        iopub_timeout=60,  # outputs of a busy machine come late
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        extra_arguments=["--log-level=CRITICAL"],  # not on encryption, or Ctrl-C
        resources={"metadata": {"path": str(folder)}},
        on_notebook_start=start,
        on_cell_execute=started,
        on_cell_executed=lambda **_: on_cell(),
    )
    try:
        here = {"BN_PLOTS": str(plots), "BN_RECORDS": str(plots)}
        await client.async_execute(
            env=own.surroundings(os.environ, plots.parent) | here
        )
    except (CellControlSignal, RuntimeError) as error:
        line = cells[current].source.strip().partition("\n")[0]
        return f"code cell {current + 1} ({line}): {_in_a_line(error)}"
    return None


def _client(nb: NotebookNode, **settings: Any) -> NotebookClient:
    """Return a client of this Python's kernel, whatever else is called ``python3``."""
    client = NotebookClient(nb, kernel_name="python3", **settings)
    client.create_kernel_manager().kernel_spec_manager.kernel_dirs = []
    return client


def _in_a_line(error: Exception) -> str:
    """Return name and first line of a kernel's error."""
    name = getattr(error, "ename", type(error).__name__)
    value = str(getattr(error, "evalue", error)).strip().partition("\n")[0]
    return f"{name}: {value}"


def normalise(nb: NotebookNode) -> NotebookNode:
    """Return a notebook without what differs from run to run or editor to editor."""
    nb = nbformat.from_dict({**nb, "metadata": METADATA, "nbformat_minor": 5})
    for index, cell in enumerate(nb.cells):
        cell.id = f"cell-{index:02d}"
        for key in set(cell.metadata) - set(KEPT_CELL_METADATA):
            del cell.metadata[key]
    nbformat.validate(nb)
    return nb


def between(text: str, start: str, end: str, content: str) -> str:
    """Return the README with something else between two markers.

    Raises
    ------
    ValueError
        If it lacks a marker.
    """
    before, found_start, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not found_start or not found_end:
        raise ValueError(f"README.md lacks {start} or {end}: put them back")
    return f"{before}{start}\n{content}\n{end}{after}"


def write(nb: NotebookNode, path: Path) -> None:
    """Write a notebook as a whole or not at all."""
    write_text(nbformat.writes(nb) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write a text file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(new: Path, old: Path) -> None:
    """Put a scratch folder in the place of another; where there is none, remove it."""
    for attempt in range(10):
        try:
            if old.exists():  # goes with the scratch folder
                old.replace(new.with_name(f"{new.name}.old{attempt}"))
            if new.exists():
                old.parent.mkdir(exist_ok=True)
                new.replace(old)
        except OSError:  # another run of the tool was between the two steps
            if attempt == 9:
                raise
        else:
            return
