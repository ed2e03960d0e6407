"""The report's first page: findings, questions, a card per notebook, all claims."""

import base64
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment
from nbformat import NotebookNode
from PIL import Image

from helpers import claims
from tools import headlines, notebooks, playground

PICTURE = re.compile(r"!\[([^\]]*)\]\(\.\./(plots/[^)\s]+)\)")
QUESTION = re.compile(r"Q(\d)\.(\d)(?:–Q?(?:\1\.)?(\d))?")
GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε"}
GREEK |= {"varepsilon": "ε", "eta": "η", "lambda": "λ", "mu": "μ", "sigma": "σ"}
# A card is about 480 pixels wide: what is cropped to this many is legible on it.
LEGIBLE, PAPER = 1250, 248
# Where a notebook's first panel ends, as a share of the width, if no gap says so: the
# drawing of 01 has its widest gap behind an arrow.
ENDS = {"01_theory": 0.65}


@dataclass(frozen=True)
class Page:
    """What the first page shows of one notebook."""

    name: str
    nb: NotebookNode
    failure: str | None
    seconds: float

    @property
    def opening(self) -> str:
        """The first text."""
        texts = (c.source for c in self.nb.cells if c.cell_type == "markdown")
        return next(texts, "")

    @property
    def answers(self) -> str:
        """The line that names the questions the notebook answers."""
        lines = [
            line
            for cell in self.nb.cells
            if cell.cell_type == "markdown"
            for line in cell.source.splitlines()
        ]
        return next((line for line in lines if line.startswith("*Answers")), "")

    @property
    def finding(self) -> str:
        """The answer in plain words, if the first text has it."""
        return plain(notebooks.in_short(self.nb))

    def figures(self, folder: Path) -> Iterator[tuple[bytes, str]]:
        """All figures as PNG, with alt text; what the first text shows comes first.

        Parameters
        ----------
        folder : holds ``plots/``.
        """
        for alt, path in PICTURE.findall(self.opening):
            if (folder / path).is_file():
                yield (folder / path).read_bytes(), alt
        for cell in notebooks.code_cells(self.nb):
            for output in cell.outputs:
                if png := output.get("data", {}).get("image/png"):
                    alt = output.metadata.get("image/png", {}).get("alt", "")
                    yield base64.b64decode(png), alt

    def shows_its_own(self) -> bool:
        """Whether the picture in its first text is one that it made itself."""
        found = PICTURE.search(self.opening)
        return found is not None and found[2].split("/")[1] == self.name


def plain(text: str) -> str:
    """Write simple formulas without MathJax, which the first page does not load."""

    def write(formula: re.Match) -> str:
        letters = re.sub(r"\\(\w+)", lambda f: GREEK.get(f[1], f[1]), formula[1])
        return re.sub(r"[{}\\]", "", letters)

    return re.sub(r"\$([^$]+)\$", write, text)


def cards(pages: Sequence[Page], folder: Path) -> dict[str, tuple[str, str]]:
    """Give each notebook a picture that no other has, in base64, with alt text.

    A notebook whose first text shows a figure of its own chooses first.
    """
    taken: set[bytes] = set()
    chosen = {}
    for page in sorted(pages, key=lambda page: not page.shows_its_own()):
        for png, alt in page.figures(folder):
            if png not in taken:
                taken.add(png)
                panel = cropped(png, ENDS.get(page.name))
                chosen[page.name] = (base64.b64encode(panel).decode(), alt)
                break
    return chosen


def stacked(png: bytes) -> bytes:
    """Return a figure of two panels with the second below the first, for a phone."""
    image = _opened(png)
    width, height = image.size
    cut = _gap(image, 0, width // 3, width * 2 // 3, 0)
    if not cut:
        return png
    tall = Image.new("RGB", (max(cut, width - cut), 2 * height), "white")
    tall.paste(image.crop((0, 0, cut, height)), (0, 0))
    tall.paste(image.crop((cut, 0, width, height)), (0, height))
    return _packed(tall)


def cropped(png: bytes, end: float | None = None) -> bytes:
    """Return a figure's first panel as a small PNG; of a long one, the lowest.

    Panels that stand above one another have their axis labelled below the lowest.

    Parameters
    ----------
    end : where the panel ends, as a share of the width, if that is known.
    """
    image = _opened(png)
    width, height = image.size
    if end is not None:
        width = int(end * width)
    elif width > LEGIBLE:
        width = _gap(image, 0, width * 2 // 5, LEGIBLE, width)
    image = image.crop((0, 0, width, height))
    top = 0
    if height > 0.8 * width:
        highest, lowest = height - int(0.8 * width), height - width * 2 // 5
        top = _gap(image, 1, highest, lowest, height - int(0.62 * width) - 1)
    image = image.crop((0, top, width, height))
    image.thumbnail((960, 960))
    return _packed(image)


def _opened(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as opened:
        return opened.convert("RGB")


def _packed(image: Image.Image) -> bytes:
    with io.BytesIO() as packed:
        image.quantize(128).save(packed, "png", optimize=True)
        return packed.getvalue()


def _gap(image: Image.Image, axis: int, start: int, end: int, otherwise: int) -> int:
    """Return the middle of the widest blank strip across an image, if there is one."""
    blank = (np.asarray(image).min(axis=2) >= PAPER).all(axis=axis)
    widest, middle, run = 0, otherwise, 0
    for place in range(start, min(end, len(blank))):
        run = run + 1 if blank[place] else 0
        if run > widest:
            widest, middle = run, place - run // 2
    return middle


def questions(section: str) -> list[str]:
    """Return the questions that a heading names in parentheses, as in (Q2.1–Q2.3)."""
    found = []
    for part, first, last in QUESTION.findall(section):
        numbers = range(int(first), int(last or first) + 1)
        found += [f"Q{part}.{number}" for number in numbers]
    return found


def rows(known: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what is known of every claim, in words, with the address of its page."""
    listed = []
    for _, row in known.iterrows():
        one = headlines.finding(row)
        kind, interval = row["verdict"], ""
        if row["n_replications"]:
            ends = (row["effect"], row["low"], row["high"], row["margin"])
            interval = claims.interval_bar(*ends, row["verdict"])
        if row["unit"] == claims.MEASURED_ANEW:
            kind = "measured anew"
        elif not row["n_replications"]:
            kind = "not on record"
        listed.append(
            {
                "notebook": row["notebook"],
                "found": one,
                "address": page_address(one.link),
                "kind": kind,
                "bar": interval,
                "chapter": row["chapter"],
                "group": headlines.group(row["limit"]),
                "questions": questions(row["section"]),
            }
        )
    return listed


def page_address(link: str) -> str:
    """Return the exported page a link to a notebook leads to."""
    return link.replace(".ipynb", ".html", 1)


def render(pages: Sequence[Page], folder: Path, environment: Environment) -> str:
    """Return the first page.

    Parameters
    ----------
    pages : the notebooks, in their order.
    folder : holds ``plots/``.
    environment : of the exporter, with its filters.
    """
    known = claims.results()
    listed, shown = rows(known), headlines.front(known)
    found = [headlines.conclusion(p.nb) for p in pages if p.name == headlines.LAST]
    lead, picture = [], folder / shown.picture
    if shown.lead and picture.is_file():
        whole = picture.read_bytes()
        lead = [base64.b64encode(png).decode() for png in (whole, stacked(whole))]
    # The policy allows this script alone, by its hash.
    script = (Path(__file__).parent / "templates/offline/contents.js").read_text(
        encoding="utf-8"
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    table = next(filter(None, (notebooks.questions(page.nb) for page in pages)), "")
    return environment.get_template("contents.html.j2").render(
        pages=pages,
        pictures=cards(pages, folder),
        questions=plain(table),
        front=shown,
        found=plain("".join(found)),
        lead=lead,
        sums={name: sum(n.values()) for name, n in shown.tally.items()},
        texts=headlines,
        claims=listed,
        kinds=list(dict.fromkeys([*claims.VERDICT_COLOURS, *_each(listed, "kind")])),
        chapters=_each(listed, "chapter"),
        asked=sorted({q for row in listed for q in row["questions"]}),
        colours=claims.VERDICT_COLOURS,
        bar=claims.bar,
        to_page=page_address,
        playground=playground.PAGE,
        script=script,
        digest=digest,
    )


def _each(listed: Sequence[dict], name: str) -> list[str]:
    return list(dict.fromkeys(row[name] for row in listed))
