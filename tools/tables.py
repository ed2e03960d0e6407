"""Compare the tables that a run saved with the committed ones, as far as one may.

Trained numbers differ from one processor to another, so text must be equal and numbers
near: within half of the larger one and a quarter of the largest of their column.
That is generous, and still finds a dropped column, another label, another verdict or a
wrong order of magnitude. Times are left out.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

OF_THE_LARGER, OF_THE_COLUMN = 0.5, 0.25
TIME = re.compile(r"second|time", re.IGNORECASE)
NUMBER = re.compile(r"[-+\N{MINUS SIGN}]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
POWER = re.compile(r"·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def differences(found: Path, committed: Path) -> list[str]:
    """Return a sentence for each table of a folder that is not as committed.

    Parameters
    ----------
    found, committed : folders with a folder of CSV files for each notebook.
    """
    names = [
        {str(path.relative_to(folder)) for path in folder.glob("*/*.csv")}
        for folder in (found, committed)
    ]
    problems = [f"{name} is not committed" for name in sorted(names[0] - names[1])]
    problems += [f"{name} was not saved" for name in sorted(names[1] - names[0])]
    for name in sorted(names[0] & names[1]):
        problem = difference(*(read(folder / name) for folder in (found, committed)))
        if problem:
            problems.append(f"{name}: {problem}")
    return problems


def read(path: Path) -> pd.DataFrame:
    """Return a table as text, without what is a time."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table = table[[name for name in table if not TIME.search(name)]]
    table = table[~table.iloc[:, 0].str.match("(milli)?seconds")]
    return table[table["unit"] != "time"] if "unit" in table else table


def difference(found: pd.DataFrame, committed: pd.DataFrame) -> str | None:
    """Say where two tables of text differ first; None where they do not."""
    if list(found) != list(committed):
        return f"its columns are {list(found)}, committed are {list(committed)}"
    if len(found) != len(committed):
        return f"it has {len(found)} rows, committed are {len(committed)}"
    for column in committed:
        pairs = list(zip(found[column], committed[column], strict=True))
        largest = max((abs(n) for _, old in pairs for n in numbers(old)), default=0.0)
        for row, (new, old) in enumerate(pairs):
            if not near(new, old, OF_THE_COLUMN * largest):
                return f"{new!r} in column {column!r}, row {row}, was {old!r}"
    return None


def near(new: str, old: str, absolute: float) -> bool:
    """Whether two cells have the same words and numbers near each other."""
    if NUMBER.sub("#", _plain(new)) != NUMBER.sub("#", _plain(old)):
        return False
    left, right = np.array(numbers(new)), np.array(numbers(old))
    room = OF_THE_LARGER * np.maximum(abs(left), abs(right)) + absolute
    return bool((abs(left - right) <= room).all())


def numbers(cell: str) -> list[float]:
    """Return the numbers in a text, such as those of ``×1.2·10³ (+4.5 to +6)``."""
    found = NUMBER.findall(_plain(cell))
    return [float(n.replace("\N{MINUS SIGN}", "-").replace(",", "")) for n in found]


def _plain(cell: str) -> str:
    return POWER.sub(lambda power: f"e{power[1].translate(PLAIN)}", cell)
