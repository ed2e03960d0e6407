"""Write ``assignment/marking_guide.md``, by which a person marks, from its sources.

Questions, points and the model answers of essays stand in the assignment's notebook,
the slips that the program knows beside its formulas, all else in ``marking.toml``.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from assignment import formulas, tables
from tools import assignment, feedback, notebooks

NAME = "marking_guide.md"
PAGE = "marking_guide.html"
NOTEBOOKS = "../notebooks/"  # as seen from the guide
SLIPS = {  # that the program knows, with their prices
    "Q1.3-forward": formulas.FORWARD,
    "Q1.3-backward": formulas.PATHS | formulas.AVERAGED,
    "Q1.3-moving": formulas.MOVING,
    "Q1.3-inference": formulas.INFERENCE,
    "Q2.5": tables.INTERVAL,
}
INTRODUCTION = """\
# Marking guide

*For those who mark. A class gets the edition without it; anybody can read it here. \
Written by `make assignment` from [marking.toml](marking.toml) and \
[assignment.ipynb](assignment.ipynb): change those.*

For each question: its text, a model answer, what earns points, typical errors, and \
where the notebooks show the evidence.

- **Points.** Some tables have parts that add up; a part that is half right (one \
advantage of two with evidence) earns half of it. Others have full, half and no \
points; points between these are fine. Words are a guide: short costs nothing if all \
is there.
- **A typical error** is paid once, in the question whose list names it, and never \
again where it comes back. Where parts add up it costs at most the part it stands for, \
named in brackets. In the other tables all errors of an answer together cost at most \
the step from full to half, and an answer at half loses no more; but where an error \
is marked *(the main thing)*, the answer earns a fifth at most.
- **Judged by a program** is what `make grade` judges; the table says what it gives. A \
row with a minus is a slip it knows, in the words the student reads. What forward paid \
for costs nothing in backward and inference.
- **In free form** says what earns these points in a notebook that was not written \
into our form. There, sizes, seeds and data sets are the student's own: judge whether \
they are named, reasoned and the same for both networks. The convention of another \
library is right in that library.
- **Numbers** in a model answer are those of one solution. A student's own count, and \
an honest answer that they support is right, even if it differs.

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


def questions(nb: NotebookNode) -> dict[str, str]:
    """Return the text of each question, by item.

    It is what stands under a heading, from its cell to the next one's. A heading
    without an item belongs to the items before: training, to the networks.
    """
    sections: list[tuple[list[str], list[str]]] = []
    for cell in nb.cells:
        kinds, named = assignment.tags(cell)
        if cell.cell_type == "markdown" and "essay" not in kinds:
            if cell.source.startswith("#"):
                sections.append(([], []))
            sections[-1][0].append(cell.source)
        elif "points" in named:
            sections[-1][1].append(named["id"])
    found: dict[str, list[str]] = {}
    before: list[str] = []
    for texts, items in sections[1:]:  # the first is the title
        before = items or before
        for item in before:
            found.setdefault(item, []).extend(texts)
    return {item: "\n\n".join(texts) for item, texts in found.items()}


def quoted(question: str) -> str:
    """Quote a question without its headings, and without room for an answer."""
    kept = re.sub(r"^(#+ .*|\*My prediction:\* …)\n*", "", question, flags=re.MULTILINE)
    return re.sub(r"^", "> ", kept.strip(), flags=re.MULTILINE).replace("> \n", ">\n")


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


def rows(item: str, entry: Mapping, of: float) -> list[str]:
    """Return the table of what earns points: parts or levels, slips, and nothing."""
    *earned, none = feedback.rows(entry, of)
    told = [f"| **{points:g}** | {text} |" for points, text in earned]
    for slip in SLIPS.get(item, {}).values():
        told.append(f"| **−{slip.price:g}** | “{slip.says}” |")
    title = "points, added up" if "parts" in entry else "points"
    return [f"| {title} | for |", "|---|---|", *told, f"| **0** | {none[1]} |"]


def section(
    item: str, entry: Mapping, of: float, question: str, answer: str, judge: str
) -> str:
    """Return what the guide says of one item of the assignment."""
    lines = [f'<a id="{item}"></a>', ""]
    lines += [f"## {entry['question']}: {entry['title']} ({of:g} points)", ""]
    lines += [f"*Judged by a {judge}.*", "", quoted(question), ""]
    lines += [f"**Model answer.** {answer}", "", *rows(item, entry, of), ""]
    if "free" in entry:
        lines += [f"**In free form.** {entry['free']}", ""]
    lines += ["**Typical errors**", ""]
    for mistake in entry["mistakes"]:
        see = f" See {linked(mistake['see'])}." if "see" in mistake else ""
        lines.append(f"- {mistake['says']}{see}")
    evidence = " · ".join(linked(link) for link in entry["evidence"])
    return "\n".join([*lines, "", f"**Evidence:** {evidence}", ""])


def sections(root: Path) -> Iterator[str]:
    """Return the guide's sections: introduction and rubric, then item by item.

    Raises
    ------
    ValueError
        If an item has no model answer, or two of them.
    """
    nb = notebooks.read(root / "assignment" / assignment.NAME)
    guide, essays = feedback.marking(root), model_answers(nb)
    points = assignment.items(nb, "hidden") | assignment.items(nb, "essay")
    told, texts = [], questions(nb)
    for group, items in guide["groups"].items():
        names = [f"[{guide[i]['question']} {guide[i]['title']}](#{i})" for i in items]
        total = sum(points[item] for item in items)
        told.append(f"| {group} | {total:g} | {' · '.join(names)} |")
    yield INTRODUCTION + "\n".join(told) + "\n"
    for item in sorted(points, key=list(guide).index):
        answer = guide[item].get("model")
        if (answer is None) == (item not in essays):
            raise ValueError(
                f"marking.toml: {item!r} needs one model answer: `model` where a "
                "program judges, an essay cell of the notebook where a person does"
            )
        judge = "person" if item in essays else "program"
        answer = essays[item] if answer is None else answer
        yield section(item, guide[item], points[item], texts[item], answer, judge)


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
    print(f"assignment/{NAME}: for those who mark")


if __name__ == "__main__":
    main()
