"""Merge the answers into one executed notebook to hand in, and its HTML page."""

import argparse
import asyncio
import base64
import calendar
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_markdown_cell
from tqdm import tqdm

from tools import notebooks, report

CHAPTERS = ("01", "02", "03", "04", "05", "06", "07", "11")
TOPIC = "BatchNormalization"
TITLE = "# Batch normalization: theory, experiments, verdicts"
LINK = re.compile(r"(?<!!)\[((?:[^][]|\[[^]]*\])*)\]\(((?:[^\s()]|\([^)\s]*\))+)\)")
IMAGE = re.compile(r"(!\[[^\]]*\]\()\.\./(plots/([^)\s]+))\)")
NOTEBOOK = re.compile(r"(\d\d)_\w+\.ipynb(?:#(.+))?")
FENCE = re.compile(r"(?ms)^```.*?^```[ \t]*$")
HEADING = re.compile(r"^(#+) +(.+?)[ \t]*$", re.MULTILINE)


def check_date(text: str) -> str:
    """Return a date such as ``20_November``, the beginning of the file's name.

    Raises
    ------
    ValueError
        If it is not a day, an underscore and the English name of its month.
    """
    day, _, month = text.partition("_")
    months = list(calendar.month_name)
    if month in months[1:]:
        # 2024 was a leap year: the 29th of February is a date.
        _, last = calendar.monthrange(2024, months.index(month))
        if re.fullmatch(r"[0-9]{1,2}", day) and 1 <= int(day) <= last:
            return text
    raise ValueError(
        f"DATE must be a day and a month, as in DATE=20_November, not {text!r}."
    )


def merge(root: Path) -> NotebookNode:
    """Return the chapters as one notebook, without outputs.

    The set-up cell stands once; headings are numbered by chapter, so that each has a
    name of its own; links between chapters lead there, others become plain text; all
    references are gathered at the end.

    Raises
    ------
    ValueError
        If a notebook is missing, or has no heading.
    """
    chapters = _chapters(root)
    tops = _tops(chapters)
    cells = [_front(chapters.pop("00"), tops)]
    references: dict[str, str] = {}
    for number, nb in chapters.items():
        for cell in nb.cells:
            is_setup = "set-up" in cell.metadata.get("tags", [])
            if cell.cell_type == "markdown":
                text, _, listed = cell.source.partition("## References")
                for line in re.findall(r"^- .+$", listed, re.MULTILINE):
                    # Chapters cite the same paper in more or fewer words.
                    address = re.search(r"\((https?://\S+?)\)", line)
                    references.setdefault(address[1] if address else line, line)
                if text := text.strip():
                    cells.append(new_markdown_cell(_rewrite(text, number, tops)))
            elif not (is_setup and number != CHAPTERS[0]):
                cells.append(cell)
    listed = "\n".join(sorted(references.values(), key=str.casefold))
    cells.append(new_markdown_cell(f"## References\n\n{listed}"))
    merged = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return notebooks.normalise(from_dict(merged))


def _chapters(root: Path) -> dict[str, NotebookNode]:
    """Return the first page and the chapters by their numbers."""
    found = {path.name[:2]: path for path in notebooks.find(root / "notebooks")}
    numbers = ("00", *CHAPTERS)
    if missing := [number for number in numbers if number not in found]:
        raise ValueError(
            f"notebooks/ lacks {', '.join(missing)}: restore it with git checkout."
        )
    return {number: notebooks.read(found[number]) for number in numbers}


def _tops(chapters: dict[str, NotebookNode]) -> dict[str, str]:
    """Return the anchor of each chapter's heading."""
    return {number: _anchor(_heading(number, chapters[number])) for number in CHAPTERS}


def _heading(number: str, nb: NotebookNode) -> str:
    text = "\n".join(c.source for c in nb.cells if c.cell_type == "markdown")
    heading = re.search(r"^# +(.+?)\s*$", text, re.MULTILINE)
    if heading is None:
        raise ValueError(f"notebook {number} lacks a heading: begin it with '# '")
    return _numbered(number, heading[1], top=True)


def _numbered(chapter: str, title: str, *, top: bool = False) -> str:
    """Return a heading's text with the number of its chapter before it."""
    number = re.match(r"(\d+)\. (.+)", title)
    if top or number is None:
        return f"{int(chapter)}{'.' * top} {title}"
    return f"{int(chapter)}.{number[1]} {number[2]}"


def _anchor(title: str) -> str:
    return title.replace(" ", "-")


def _moved(chapter: str, anchor: str) -> str:
    """Return where an anchor of a chapter is found in the merged notebook."""
    number = re.match(r"(\d+)\.-(.+)", anchor)
    if number is None:
        return f"#{int(chapter)}-{anchor}"
    return f"#{int(chapter)}.{number[1]}-{number[2]}"


def _address(target: str, chapter: str, tops: dict[str, str]) -> str | None:
    """Return the new address of a link; None if what it names is left behind."""
    if target.startswith("#"):
        return _moved(chapter, target[1:])
    if re.match(r"\w+:", target):
        return target
    other = NOTEBOOK.fullmatch(target)
    if other is None or other[1] not in tops:
        return None
    return _moved(other[1], other[2]) if other[2] else f"#{tops[other[1]]}"


def _rewrite(text: str, chapter: str, tops: dict[str, str]) -> str:
    """Return a text cell as it stands in the merged notebook."""

    def link(found: re.Match) -> str:
        address = _address(found[2], chapter, tops)
        return found[1] if address is None else f"[{found[1]}]({address})"

    def heading(found: re.Match) -> str:
        title = _numbered(chapter, found[2], top=found[1] == "#")
        return f"#{found[1]} {title}"

    return _outside_fences(
        text, lambda part: HEADING.sub(heading, LINK.sub(link, part))
    )


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    parts, at = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, change(text[at:])])


def _front(nb: NotebookNode, tops: dict[str, str]) -> NotebookNode:
    """Return the first cell: title and the table from question to section."""
    table = notebooks.questions(nb)
    rows = [row for row in table.splitlines() if not row.startswith("| beyond")]
    text = _rewrite("\n".join(rows).strip(), "00", tops)
    return new_markdown_cell(f"{TITLE}\n\n*Answers Q1.1 to Q3.2.*\n\n{text}")


def relink_outputs(nb: NotebookNode, tops: dict[str, str]) -> None:
    """Make links in executed tables lead to the sections of the merged notebook."""

    def link(found: re.Match) -> str:
        address = _address(found[1], CHAPTERS[-1], tops)
        return 'href="#"' if address is None else f'href="{address}"'

    for cell in notebooks.code_cells(nb):
        for output in cell.outputs:
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = re.sub(r'href="([^"]+)"', link, data["text/html"])


def attach(nb: NotebookNode, folder: Path) -> None:
    """Put the images of text cells into the notebook, which is handed in alone.

    Parameters
    ----------
    folder : holds ``plots/``.

    Raises
    ------
    ValueError
        If there is no such image.
    """
    for cell in nb.cells:
        if cell.cell_type != "markdown":
            continue
        for _, path, name in IMAGE.findall(cell.source):
            if not (folder / path).is_file():
                raise ValueError(f"there is no image {path}: run make refresh")
            png = base64.b64encode((folder / path).read_bytes()).decode()
            attachments = cell.setdefault("attachments", {})
            attachments[name.replace("/", "-")] = {"image/png": png}
        cell.source = IMAGE.sub(
            lambda found: f"{found[1]}attachment:{found[3].replace('/', '-')})",
            cell.source,
        )


def submission(root: Path, date: str) -> Path:
    """Write the executed notebook and its page to ``submission/``; return the former.

    Raises
    ------
    ValueError
        If the date is not one.
    RuntimeError
        If a cell fails; then nothing is written.
    """
    name = f"{check_date(date)}_{TOPIC}"
    nb = merge(root)
    cells = len(notebooks.code_cells(nb))
    style = "{l_bar}{bar}| {n_fmt} of {total_fmt} cells, {elapsed}"
    with (
        tqdm(total=cells, bar_format=style, disable=None, file=sys.stdout) as bar,
        notebooks.scratch(root) as folder,
    ):
        run = notebooks.execute(nb, root / "notebooks", folder / "plots", bar.update)
        if failure := asyncio.run(run):
            raise RuntimeError(f"Nothing was written: {failure}")
        attach(nb, folder)  # as this run drew them
    relink_outputs(nb, _tops(_chapters(root)))
    nb = notebooks.normalise(nb)
    html, _ = report.exporter().from_notebook_node(nb, {"metadata": {"name": name}})
    folder = root / "submission"
    folder.mkdir(exist_ok=True)
    notebooks.write(nb, folder / f"{name}.ipynb")
    notebooks.write_text(html, folder / f"{name}.html")
    return folder / f"{name}.ipynb"


def main() -> None:
    """Make the submission for the date given on the command line."""
    parser = argparse.ArgumentParser(prog="tools.submission", description=main.__doc__)
    parser.add_argument("date", help="day and month, as in 20_November")
    date, start = parser.parse_args().date, time.perf_counter()
    try:
        with notebooks.said_clearly():
            path = submission(notebooks.ROOT, date)
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))
    minutes = (time.perf_counter() - start) / 60
    print(f"submission/{path.name} and .html, executed in {minutes:.0f} minutes")


if __name__ == "__main__":
    main()
