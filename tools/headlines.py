"""Write what is on record into texts: the README's headlines, a notebook's number."""

import re
from pathlib import Path

import pandas as pd

from helpers import claims
from tools import notebooks

START, END = "<!-- headlines, by make refresh -->", "<!-- end of headlines -->"
# In a notebook's first text, between two lines: a claim with verdict and effect.
KEY_NUMBER = re.compile(
    r"(<!-- on record: ([\w-]+) -->\n).*?(<!-- end of record -->)", re.DOTALL
)


def table() -> str:
    """Markdown table of the primary claims, each a link to its experiment."""
    every = claims.results()
    lines = ["| claim | verdict | effect, 95 % interval | replications |"]
    lines += ["|---|---|---|---|"]
    for row in every[every["primary"]].itertuples():
        effect = "not on record yet"
        if row.n_replications:
            ends = (row.effect, row.low, row.high)
            found, low, high = (claims.describe(value, row.unit) for value in ends)
            effect = f"{found} ({low} to {high})"
        lines.append(
            f"| [{row.statement}](notebooks/{row.link}) | *{row.verdict}* | {effect} "
            f"| {row.n_replications} |"
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
    readme = root / "README.md"
    before, start, rest = readme.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"README.md lacks {START} or {END}: put them back")
    text = f"{before}{START}\n{table()}\n{END}{after}"
    notebooks.write_text(text, readme)
    known = claims.results()
    for path in notebooks.find(root / "notebooks"):
        nb = notebooks.read(path)
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = with_key_numbers(cell.source, known)
        notebooks.write(nb, path)
