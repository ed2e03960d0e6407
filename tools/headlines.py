"""Write the headline verdicts, those of the primary claims, into the README."""

from pathlib import Path

from helpers import claims
from tools import notebooks

START, END = "<!-- headlines, by make refresh -->", "<!-- end of headlines -->"


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


def update(root: Path) -> None:
    """Put the table between the two markers of the README.

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
