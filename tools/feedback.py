"""What graders and students read: ``make feedback`` writes it into ``build/grades/``.

One sheet of all essays, to be filled in; a page a student; and the totals.
"""

import csv
import html
import io
import logging
import re
import signal
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bleach
import nbformat
import pandas as pd
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from tqdm import tqdm

from helpers import files
from tools import assignment, kept, notebooks

SHEET = ["item", "student", "points", "of", "comment", "essay", "rubric"]
SHOWN = ("image/png", "image/jpeg", "text/plain")
TAGS = {
    *("a", "b", "blockquote", "br", "code", "del", "div", "em", "hr", "i", "img", "li"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "span", "strong", "sub"),
    *("sup", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50em; margin: 2em auto;
  padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1em 0 }
td, th { border: 1px solid #bbb; padding: .25em .6em; text-align: left;
  vertical-align: top }
td.points { white-space: nowrap }
tr.lost td { background: #fdf3e7 }
pre { overflow-x: auto; background: #f6f6f6; padding: .5em; margin: .3em 0 }
img { max-width: 100% }
.jp-InputPrompt, .jp-OutputPrompt, .prompt { display: none }
"""
PICTURE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]+")
LONGEST, WIDEST = 50_000, 1_000  # characters of an output, and of a line of it
PATIENCE = 60  # seconds for a page
# Even if a tag came through, the page could neither run nor load anything.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Essay:
    """A person's verdict on an essay; no points yet: None."""

    points: float | None
    comment: str


UNREAD = Essay(None, "")


# --- the sheet -----------------------------------------------------------------------


def marking(root: Path) -> dict[str, dict]:
    """Return the marking guide, by item, and the rubric's groups under `groups`."""
    text = (root / "assignment" / "marking.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def rows(entry: Mapping, of: float) -> list[tuple[float, str]]:
    """Return what earns how many points of an item, for a sheet or the guide.

    Parameters
    ----------
    entry : of the marking guide; its parts add up, or else it has three levels.
    of : the item's points.
    """
    none = (0.0, entry["none"])
    if "parts" in entry:
        return [*((part["points"], part["for"]) for part in entry["parts"]), none]
    return [(of, entry["full"]), (of / 2, entry["half"]), none]


def write_sheet(
    results: Sequence[kept.Result],
    points: Mapping[str, float],
    guide: Mapping[str, Mapping],
    folder: Path,
) -> None:
    """Write ``essays.csv``, question by question; what was filled in stays.

    Also that of students who are not among the results: it is somebody's work.
    """
    known = read_sheet(folder, points)
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(SHEET)
    for item, of in points.items():
        told = [f"{earned:g}: {text}" for earned, text in rows(guide[item], of)]
        rubric = " ".join(["These add up."] * ("parts" in guide[item]) + told)
        for result in results:
            marked = known.get((result.student, item), UNREAD)
            given = "" if marked.points is None else f"{marked.points:g}"
            row = [given, f"{of:g}", marked.comment]
            row += [result.essays.get(item, ""), rubric]
            row = [item, kept.label(result.student), *map(kept.cell, row)]
            table.writerow(row)
    here = {result.student for result in results}
    for (student, item), marked in known.items():
        if student not in here and marked != UNREAD:
            given = "" if marked.points is None else f"{marked.points:g}"
            row = [given, f"{points[item]:g}", kept.cell(marked.comment), "", ""]
            table.writerow([item, kept.label(student), *row])
    files.write(folder / "essays.csv", buffer.getvalue().encode("utf-8-sig"))


def read_sheet(
    folder: Path, points: Mapping[str, float]
) -> dict[tuple[str, str], Essay]:
    """Return what was filled in, by student and item.

    Raises
    ------
    ValueError
        If it is no table in UTF-8, lacks a column or has one more, a row's points are
        no number from 0 to what the item is worth, or two rows differ on one essay.
    """
    path = folder / "essays.csv"
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            "essays.csv is not in UTF-8: save it from the spreadsheet as CSV UTF-8, "
            "then run again"
        ) from None
    # Spreadsheets write what their country uses.
    mark = max(",;\t", key=text.partition("\n")[0].count)
    csv.field_size_limit(2**31 - 1)  # of an answer; the usual one is 131,072
    table = csv.DictReader(io.StringIO(text), delimiter=mark, restval="")
    lines = list(table)
    for row in lines:
        if None in row:  # more values than columns
            raise ValueError(
                f"essays.csv: the row of {row.get('student')}, {row.get('item')} has "
                "too many values: put a comment that holds a comma in quotation marks"
            )
    if extra := [name for name in table.fieldnames or () if name not in ("", *SHEET)]:
        raise ValueError(
            f"essays.csv has the column {extra[0]}, which would be lost: move it to "
            "another file, or its text into the column comment"
        )
    if missing := set(SHEET[:5]) - set(table.fieldnames or ()):
        raise ValueError(
            f"essays.csv lacks the columns {', '.join(sorted(missing))}: restore them, "
            "or remove the file and run make feedback for an empty one"
        )
    found: dict[tuple[str, str], Essay] = {}
    for row in lines:
        student, item = kept.uncell(row["student"]), row["item"]
        given = _number(row["points"], points.get(item), student, item)
        essay = Essay(given, kept.uncell(row["comment"]))
        before = found.get((student, item), UNREAD)
        if UNREAD not in (essay, before) and essay != before:
            raise ValueError(
                f"essays.csv has two different marks of {student}, {item}: leave one "
                "or, if a spreadsheet has made one name out of several, as of long "
                "numbers, restore the names"
            )
        found[student, item] = before if essay == UNREAD else essay
    return found


def strangers(
    results: Sequence[kept.Result], essays: Mapping[tuple[str, str], Essay]
) -> list[str]:
    """Return the students that the sheet has marks or comments of, and nobody else."""
    here = {result.student for result in results}
    marked = {student for (student, _), essay in essays.items() if essay != UNREAD}
    return sorted(marked - here)


def _number(text: str, of: float | None, student: str, item: str) -> float | None:
    text = text.strip().removeprefix("'").replace(",", ".")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if of is None or not 0 <= value <= of:
        valid = "an item of the assignment" if of is None else f"0 to {of:g}"
        raise ValueError(
            f"essays.csv: {student}, {item} has the points {text!r}: give {valid}"
        )
    return value


# --- totals --------------------------------------------------------------------------


def write_totals(
    results: Sequence[kept.Result],
    essays: Mapping[tuple[str, str], Essay],
    points: Mapping[str, float],
    groups: Mapping[str, Sequence[str]],
    folder: Path,
) -> None:
    """Write ``totals.csv``: points of each group of the rubric; what is unmarked."""
    rows = []
    for result in results:
        earned = {item: mark.points for item, mark in result.marks.items()}
        given = {item: essays.get((result.student, item)) for item in points}
        earned |= {i: e.points for i, e in given.items() if e and e.points is not None}
        row: dict[str, str | float] = {"student": kept.cell(result.student)}
        row |= {
            group: sum(earned.get(i, 0) for i in of) for group, of in groups.items()
        }
        row["total"] = sum(earned.values())
        row["of"] = sum(mark.of for mark in result.marks.values()) + sum(
            points.values()
        )
        row["not yet marked"] = " ".join(item for item in points if item not in earned)
        rows.append(row)
    table = pd.DataFrame(rows).to_csv(index=False, float_format="%g")
    files.write(folder / "totals.csv", table.encode("utf-8-sig"))


# --- pages ---------------------------------------------------------------------------


def page(
    result: kept.Result,
    essays: Mapping[tuple[str, str], Essay],
    points: Mapping[str, float],
) -> str:
    """Return a student's page: points, messages, comments, the notebook as it ran."""
    rows = [
        _row(item, mark.points, mark.of, mark.message)
        for item, mark in result.marks.items()
    ]
    for item, of in points.items():
        essay = essays.get((result.student, item), UNREAD)
        rows.append(_row(item, essay.points, of, essay.comment or "read by a person"))
    note = f"<p>{html.escape(result.note)}</p>" if result.note else ""
    ended = "".join(f"<li>{html.escape(text)}</li>" for text in result.attempts)
    if ended:
        note += (
            f"<p>These were stopped, or ended the run and were left out:</p>"
            f"<ul>{ended}</ul>"
        )
    name = html.escape(result.student)
    colours = HtmlFormatter().get_style_defs(".highlight")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>{STYLE}{colours}</style>
</head>
<body>
<h1>{name}</h1>
{note}
<table>
<tr><th>question</th><th>points</th><th>remarks</th></tr>
{"".join(rows)}
</table>
<h2>Your notebook, as it ran</h2>
{body(result.notebook)}
</body>
</html>
"""


def _row(item: str, points: float | None, of: float, message: str) -> str:
    given = "–" if points is None else f"{points:g}"
    lost = ' class="lost"' if points is not None and points < of else ""
    return (
        f'<tr{lost}><td>{html.escape(item)}</td><td class="points">{given} of {of:g}'
        f"</td><td>{html.escape(message)}</td></tr>\n"
    )


def body(notebook: str) -> str:
    """Return a notebook as HTML in which nothing can run, load or lead elsewhere.

    Text outputs stand as text, pictures as PNG or JPEG; HTML is left out where there is
    text for it, as for tables.
    """
    if not notebook:
        return "<p>There is none that could be run.</p>"
    try:
        with _at_most(PATIENCE):
            rendered = _rendered(nbformat.reads(notebook, as_version=4))
            return bleach.clean(
                rendered,
                tags=TAGS,
                attributes=_allowed,
                protocols={"data", "http", "https"},
                strip=True,
            )
    except Exception:  # a student wrote it: the others' pages must be made
        return "<p>It cannot be shown here: open the file that was handed in.</p>"


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Give up after a while: some texts take Markdown's rules for ever."""

    def late(*_) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _rendered(nb: NotebookNode) -> str:
    for cell in notebooks.code_cells(nb):
        cell.outputs = _harmless(cell.outputs)
    logging.getLogger("traitlets").setLevel(logging.ERROR)  # students' alt texts
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True)
    rendered, _ = exporter.from_notebook_node(nb)
    return rendered


def _harmless(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    """Return outputs with nothing but pictures and text, of bearable length."""
    shown: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if shown and shown[-1].get("name") == output.name:
                shown[-1].text += output.text
            else:
                shown.append(output)
        elif output.output_type == "error":
            output.traceback = [_short(text) for text in output.traceback]
            shown.append(output)
        else:
            data = {key: output.data[key] for key in SHOWN if key in output.data}
            if "text/plain" in data:
                data["text/plain"] = _short(data["text/plain"])
            if data:
                shown.append(nbformat.v4.new_output("display_data", data))
    for output in shown:
        if output.output_type == "stream":
            output.text = _short(output.text)
    return shown


def _short(text: str) -> str:
    """Return a text as a terminal would leave it, and not too much of it."""
    lines = text[:LONGEST].replace("\r\n", "\n").split("\n")
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines]
    return "\n".join(line[:WIDEST] + "…" * (len(line) > WIDEST) for line in lines)


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return True
    if tag == "img":
        return name == "alt" or (name == "src" and bool(PICTURE.fullmatch(value)))
    return tag == "a" and name == "href" and value.startswith(("http:", "https:"))


# --- the command ---------------------------------------------------------------------


def feedback(root: Path, folder: Path, results: Sequence[kept.Result]) -> None:
    """Write sheet, totals and pages for these results."""
    source = notebooks.read(root / "assignment" / assignment.NAME)
    points, guide = assignment.items(source, "essay"), marking(root)
    write_sheet(results, points, guide, folder)
    essays = read_sheet(folder, points)
    write_totals(results, essays, points, guide["groups"], folder)
    if others := strangers(results, essays):
        print(
            f"essays.csv marks {', '.join(others)}, of whom nothing was graded here: "
            "these marks are kept, and count in no total"
        )
    pages = folder / "pages"
    pages.mkdir(exist_ok=True)
    style = "{l_bar}{bar}| {n_fmt} of {total_fmt} pages, {remaining} left"
    for result in tqdm(results, bar_format=style, disable=None, file=sys.stdout):
        text = page(result, essays, points)
        notebooks.write_text(text, pages / f"{kept.stem(result.student)}.html")


def main() -> None:
    """Write them for all that was graded."""
    folder = notebooks.ROOT / "build" / "grades"
    results = kept.every(folder)
    if not results:
        sys.exit("Nothing was graded yet: run make grade SUBMISSIONS=folder first.")
    try:
        with notebooks.said_clearly():
            feedback(notebooks.ROOT, folder, results)
    except ValueError as error:
        sys.exit(str(error))
    print("build/grades/: essays.csv, totals.csv and pages/")


if __name__ == "__main__":
    main()
