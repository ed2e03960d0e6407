"""Write the headline verdicts, as notebook 00 saved them, into the README."""

import csv
from pathlib import Path

from tools import notebooks

SAVED = Path("plots", "00_start_here", "headlines.csv")
START, END = "<!-- headlines, by make refresh -->", "<!-- end of headlines -->"


def table(root: Path) -> str:
    """Markdown table of the saved headlines, each claim a link to its experiment."""
    records = sorted((root / "plots").glob("*/verdicts.csv"))
    section = {row["claim"]: row["section"] for path in records for row in _rows(path)}
    rows = [
        f"| [{row['claim']}](notebooks/{section[row['claim']]}) | *{row['verdict']}* "
        f"| {row['effect']} |"
        for row in _rows(root / SAVED)
    ]
    return "\n".join(["| claim | verdict | effect |", "|---|---|---|", *rows])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def update(root: Path) -> None:
    """Put the table between the two markers of the README, once there is one.

    Raises
    ------
    ValueError
        If the README lacks a marker.
    """
    if not (root / SAVED).exists():
        return
    readme = root / "README.md"
    before, start, rest = readme.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"README.md lacks {START} or {END}: put them back")
    text = f"{before}{START}\n{table(root)}\n{END}{after}"
    notebooks.write_text(text, readme)
