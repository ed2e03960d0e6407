"""Write ``assignment/marking_guide.md``, by which a person marks, from its sources.

Points and the model answers of essays stand in the assignment's notebook, all else in
``marking.toml``.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from tools import assignment, feedback, notebooks

NAME = "marking_guide.md"
PAGE = "marking_guide.html"
NOTEBOOKS = "../notebooks/"  # as seen from the guide
INTRODUCTION = """\
# Marking guide

*For who marks; students do not get it. Written by `make assignment` from \
[marking.toml](marking.toml) and [assignment.ipynb](assignment.ipynb): change those.*

For each question: a model answer, what earns full, half and no points, typical \
errors, and where the notebooks show the evidence. Points between these are fine.

`make grade` judges the questions marked *program*. The guide lists them all the same, \
for notebooks that were not written into our form. There, sizes, seeds and data sets \
are the student's own: judge whether they are named, reasoned and the same for both \
networks. The numbers in a model answer are those of one solution. A student's own \
numbers count, and an honest answer that they support is right, even if it differs.

Q2.2, Q2.3 and Q2.4 are marked together: the network, its training, and its twin.

| rubric | points | questions |
|---|---|---|
"""


def model_answers(nb: NotebookNode) -> dict[str, str]:
    """Return the essays of the source notebook, by item."""
    found = {}
    for cell in nb.cells:
        kinds, named = assignment.tags(cell)
        if "essay" in kinds:
            found[named["id"]] = cell.source
    return found


def words(link: str) -> str:
    """Say where a link leads: the notebook's number, and its heading."""
    name, _, anchor = link.partition("#")
    heading = re.sub(r" \(Q[^)]*\)$", "", anchor.replace("-", " "))
    number, dot, title = heading.partition(". ")
    if dot and number.isdigit():
        return f"{name[:2]}, section {number}: {title}"
    return f"{name[:2]}: {heading}"


def linked(link: str) -> str:
    """Return a link to a notebook's section in Markdown."""
    return f"[{words(link)}]({NOTEBOOKS}{link})"


def section(item: str, entry: Mapping, of: float, answer: str, judge: str) -> str:
    """Return what the guide says of one item of the assignment."""
    rows = {"full": of, "half": of / 2, "none": 0.0}
    lines = [f'<a id="{item}"></a>', ""]
    lines += [f"## {entry['question']}: {entry['title']} ({of:g} points)", ""]
    lines += [f"*Judged by a {judge}.*", "", f"**Model answer.** {answer}", ""]
    lines += ["| points | for |", "|---|---|"]
    lines += [f"| **{points:g}** | {entry[row]} |" for row, points in rows.items()]
    lines += ["", "**Typical errors**", ""]
    for mistake in entry["mistakes"]:
        lines.append(f"- {mistake['says']} See {linked(mistake['see'])}.")
    evidence = " · ".join(linked(link) for link in entry["evidence"])
    return "\n".join([*lines, "", f"**Evidence:** {evidence}", ""])


def sections(root: Path) -> Iterator[str]:
    """Return the guide's parts: introduction and rubric, then item by item.

    Raises
    ------
    ValueError
        If an item has no model answer, or two of them.
    """
    nb = notebooks.read(root / "assignment" / assignment.NAME)
    guide, essays = feedback.marking(root), model_answers(nb)
    points = assignment.items(nb, "hidden") | assignment.items(nb, "essay")
    rows = []
    for group, items in guide["groups"].items():
        names = [f"[{guide[i]['question']} {guide[i]['title']}](#{i})" for i in items]
        total = sum(points[item] for item in items)
        rows.append(f"| {group} | {total:g} | {' · '.join(names)} |")
    yield INTRODUCTION + "\n".join(rows) + "\n"
    for item in sorted(points, key=list(guide).index):
        answer = guide[item].get("model")
        if (answer is None) == (item not in essays):
            raise ValueError(
                f"marking.toml: {item!r} needs one model answer: `model` where a "
                "program judges, an essay cell of the notebook where a person does"
            )
        judge = "person" if item in essays else "program"
        answer = essays[item] if answer is None else answer
        yield section(item, guide[item], points[item], answer, judge)


def text(root: Path) -> str:
    """Return the whole guide in Markdown."""
    return "\n".join(sections(root))


def write_page(root: Path, folder: Path, to_html: HTMLExporter) -> None:
    """Write the guide as a page of the report, if the repository has one."""
    path = root / "assignment" / NAME
    if not path.is_file():
        return
    guide = path.read_text(encoding="utf-8").replace(f"]({NOTEBOOKS}", "](")
    # The report has the notebooks' pages, but neither of the guide's sources.
    guide = re.sub(r"\[([\w.]+)\]\([\w.]+\)", r"`\1`", guide)
    nb = new_notebook(cells=[new_markdown_cell(guide)])
    where = {"name": path.stem, "path": str(root / "notebooks")}
    html, _ = to_html.from_notebook_node(nb, {"metadata": where, "report": True})
    notebooks.write_text(html, folder / PAGE)


def main() -> None:
    """Write the guide of this repository."""
    with notebooks.said_clearly():
        path = notebooks.ROOT / "assignment" / NAME
        notebooks.write_text(text(notebooks.ROOT), path)
    print(f"assignment/{NAME}: for who marks, not for students")


if __name__ == "__main__":
    main()
