"""Write what is on record into texts: the README's headlines, a notebook's number.

What the README opens with is what the report's first page opens with: both render
:func:`front`.
"""

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pandas as pd
from nbformat import NotebookNode

from helpers import claims
from tools import notebooks

START, END = "<!-- headlines, by make refresh -->", "<!-- end of headlines -->"
FRONT = ("<!-- front, by make refresh -->", "<!-- end of front -->")
# In a notebook's first text, between two lines: a claim with verdict and effect.
KEY_NUMBER = re.compile(
    r"(<!-- on record: ([\w-]+) -->\n).*?(<!-- end of record -->)", re.DOTALL
)

VERDICTS = tuple(claims.VERDICT_COLOURS)
LEAD = "larger-rates"  # the claim that is shown first, with a picture
PICTURE = "rates.png"  # of the notebook that tries it
ALT = (
    "Validation accuracy, and the share of runs that failed, against the learning "
    "rate: the normalized network still works at rates at which the plain one fails."
)
CAPTION = (
    "One panel shows the accuracy after a short training for each learning rate, the "
    "other the share of runs that failed: those that diverged or got fewer than half "
    "of the validation images right. Orange is the plain network, blue the "
    "batch-normalized one; both have two layers of 64 ReLU units and train on "
    "Fashion-MNIST with SGD. The picture is of one study of five seeds; the verdict "
    "rests on all replications. In all of them the rates double from one to the next, "
    "so the factor is a coarse one: its interval covers seeds and images, not this "
    "step."
)
STRONGEST = 3
LAST = "11_verdict"  # the notebook that draws the conclusion
EVERY = f"notebooks/{LAST}.ipynb#6.-All-verdicts-(Q3.2)"
ASKED = "notebooks/00_start_here.ipynb#1.-The-assignment,-question-by-question"
ASSIGNMENT = (
    "The notebooks answer an assignment: [its questions, and where each is answered]"
    "({})."
)
GROUPS = ("benefits and other claims", "limits")  # by whether the sentence is a limit
HOLDS = (
    "*Supported* means that a claim holds, not that batch normalization wins: a "
    "supported limit speaks against it."
)
RULE = (
    "Chosen by rule among the other primary claims: the most important ones, marked "
    "before they were replicated. For: a benefit that is supported, "
    "or a limit that is contradicted. Against: a limit that is supported, or a benefit "
    "that is contradicted. The strongest have the interval that lies farthest beyond "
    "the margin, counted in margins; units differ, so the order is a guide."
)


@dataclass(frozen=True)
class Finding:
    """A claim and what is on record of it, in words."""

    statement: str
    link: str  # to its section, from the folder of notebooks
    verdict: str
    effect: str
    interval: str
    n_replications: int

    @property
    def said(self) -> str:
        """The effect with its interval."""
        return f"{self.effect} ({self.interval})" if self.interval else self.effect


@dataclass(frozen=True)
class Front:
    """What a visitor sees first, on the report's first page and in the README."""

    lead: Finding | None
    picture: str  # its path below the repository
    tally: dict[str, dict[str, int]]  # replicated claims, by group and verdict
    anew: int  # claims that each run measures anew
    supporting: list[Finding]
    opposing: list[Finding]


def finding(row: pd.Series) -> Finding:
    """Put a row of :func:`claims.results` in words."""
    effect, interval = "not on record yet", ""
    if row["n_replications"]:
        ends = (row["effect"], row["low"], row["high"])
        effect, low, high = (claims.describe(value, row["unit"]) for value in ends)
        low = low.removesuffix(" points").removesuffix(" %")
        interval = f"{low} to {high}"
    names = ("statement", "link", "verdict")
    said = {name: row[name] for name in names}
    return Finding(
        **said,
        effect=effect,
        interval=interval,
        n_replications=int(row["n_replications"]),
    )


def group(limit: bool) -> str:
    """Return the group of a claim, by whether its sentence is a limit."""
    return GROUPS[bool(limit)]


def conclusion(nb: NotebookNode) -> str:
    """Return the first two sentences of what a notebook says in short."""
    return " ".join(re.split(r"(?<=[.!?]) ", notebooks.in_short(nb))[:2])


def front(known: pd.DataFrame) -> Front:
    """Return what is shown first of all that is known, see ``RULE``.

    Parameters
    ----------
    known : rows of :func:`claims.results`.
    """
    tried = known[known["n_replications"] > 0]
    replicated = tried[tried["unit"] != claims.MEASURED_ANEW]
    counts = replicated.groupby([replicated["limit"].map(group), "verdict"]).size()
    lead = finding(known.loc[LEAD]) if LEAD in replicated.index else None
    # How far the end of the interval that is nearer to zero lies beyond the margin.
    nearer = pd.concat([replicated["low"], -replicated["high"]], axis=1).max(axis=1)
    beyond = (nearer / replicated["margin"]).sort_values(ascending=False, kind="stable")
    ordered = replicated.loc[beyond.index]
    ordered = ordered[ordered["primary"].astype(bool) & (ordered.index != LEAD)]
    decided = ordered[ordered["verdict"].isin(["supported", "contradicted"])]
    speaks_for = (decided["verdict"] == "supported") != decided["limit"].astype(bool)

    def strongest(rows: pd.DataFrame) -> list[Finding]:
        return [finding(row) for _, row in rows.head(STRONGEST).iterrows()]

    return Front(
        lead=lead,
        picture=f"plots/{known.loc[LEAD, 'notebook']}/{PICTURE}" if lead else "",
        tally={
            name: {one: int(counts.get((name, one), 0)) for one in VERDICTS}
            for name in GROUPS
        },
        anew=int((tried["unit"] == claims.MEASURED_ANEW).sum()),
        supporting=strongest(decided[speaks_for]),
        opposing=strongest(decided[~speaks_for]),
    )


def front_text(known: pd.DataFrame, found: str) -> str:
    """Return the README's opening in Markdown.

    Parameters
    ----------
    known : rows of :func:`claims.results`.
    found : the conclusion, in a sentence or two.
    """
    shown, lines = front(known), [found, "", ASSIGNMENT.format(ASKED), ""]
    if lead := shown.lead:
        lines += [f"[![{ALT}]({shown.picture})](notebooks/{lead.link})", ""]
        lines += [
            f"**[{lead.statement}](notebooks/{lead.link})**: *{lead.verdict}*, "
            f"{lead.effect} (95 % interval {lead.interval}; {lead.n_replications} "
            f"replications). {CAPTION}",
            "",
        ]
    sums = {name: sum(counts.values()) for name, counts in shown.tally.items()}
    lines.append(f"| {sum(sums.values())} claims | {' | '.join(VERDICTS)} |")
    lines.append(f"|---|{'---|' * len(VERDICTS)}")
    for name, counts in shown.tally.items():
        cells = [f"[{count}]({EVERY})" for count in counts.values()]
        lines.append(f"| {sums[name]} {name} | {' | '.join(cells)} |")
    lines += [
        *("", HOLDS, ""),
        "| strongest findings for batch normalization | strongest against it |",
        "|---|---|",
    ]
    for pair in zip_longest(shown.supporting, shown.opposing):
        sides = [_cell(one) if one else "" for one in pair]
        lines.append(f"| {' | '.join(sides)} |")
    return "\n".join([*lines, "", f"*{RULE}*"]).strip()


def _cell(one: Finding) -> str:
    return f"[{one.statement}](notebooks/{one.link}): *{one.verdict}*, {one.said}"


def table() -> str:
    """Markdown table of the primary claims, each a link to its experiment."""
    every = claims.results()
    lines = ["| claim | verdict | effect, 95 % interval | replications |"]
    lines += ["|---|---|---|---|"]
    for _, row in every[every["primary"]].iterrows():
        one = finding(row)
        lines.append(
            f"| [{one.statement}](notebooks/{one.link}) | *{one.verdict}* "
            f"| {one.said} | {one.n_replications} |"
        )
    return "\n".join(lines)


def key_number(key: str, known: pd.DataFrame) -> str:
    """Say in a line of Markdown what is on record of a claim.

    Raises
    ------
    ValueError
        If the claim is not registered.
    """
    if key not in known.index:
        raise ValueError(f"claims.toml has no claim {key!r}, which a text names")
    row = known.loc[key]
    ends = (row["effect"], row["low"], row["high"])
    effect, low, high = (claims.describe(value, row["unit"]) for value in ends)
    return (
        f"\n> **{row['statement']}**: *{row['verdict']}*, {effect} (95 % interval "
        f"{low} to {high}; {row['n_replications']} replications)\n"
    )


def with_key_numbers(text: str, known: pd.DataFrame) -> str:
    """Return a text with what is on record put between its markers."""
    return KEY_NUMBER.sub(
        lambda found: f"{found[1]}{key_number(found[2], known)}\n{found[3]}", text
    )


def update(root: Path) -> None:
    """Put what is on record between the markers of the README and of notebooks.

    Raises
    ------
    ValueError
        If the README lacks a marker.
    """
    readme, known = root / "README.md", claims.results()
    text = readme.read_text(encoding="utf-8")
    last = root / "notebooks" / f"{LAST}.ipynb"
    found = conclusion(notebooks.read(last)) if last.is_file() else ""
    text = notebooks.between(text, *FRONT, front_text(known, found))
    notebooks.write_text(notebooks.between(text, START, END, table()), readme)
    for path in notebooks.find(root / "notebooks"):
        nb = notebooks.read(path)
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = with_key_numbers(cell.source, known)
        notebooks.write(nb, path)
