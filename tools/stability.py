"""Re-execute the notebooks that give verdicts with other seeds: do the verdicts hold?

Everything runs on copies: the committed notebooks and ``plots/`` stay as they are.
"""

import argparse
import asyncio
import copy
import re
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from nbformat import NotebookNode

from tools import notebooks

FIRST_SEEDS = "100 1000 10000"
COMMITTED, FAILED = "committed", "failed"
CHANGED, UNCHANGED = "≠ ", "  "
WIDTH = 88
# A plain number and nothing else: part of an expression must not be replaced.
ASSIGNMENT = re.compile(
    r"^(first_seed[ \t]*=[ \t]*)(\d+(?:_\d+)*)(?=[ \t]*(?:#.*)?$)", re.MULTILINE
)


@dataclass(frozen=True)
class Trial:
    """A notebook with its own ``first_seed`` and the verdicts on record."""

    path: Path
    nb: NotebookNode
    first_seed: int
    record: pd.DataFrame


def read_seeds(text: str) -> list[int]:
    """Return the first seeds of the blocks, written with spaces between them.

    Raises
    ------
    ValueError
        If there is none, one is not a whole number from 0, or one stands twice.
    """
    example = f'write them as in FIRST_SEEDS="{FIRST_SEEDS}".'
    words = text.split()
    if not words:
        raise ValueError(f"FIRST_SEEDS names no block of seeds: {example}")
    for word in words:
        if not word.isdecimal():
            raise ValueError(
                f"FIRST_SEEDS: {word!r} is not a whole number from 0: {example}"
            )
    seeds = [int(word) for word in words]
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise ValueError(
                f"FIRST_SEEDS: {seed} stands twice: name each block once, "
                "for the same seeds give the same verdicts."
            )
    return seeds


def record_of(path: Path, plots: Path) -> Path:
    """Return where a notebook records its verdicts."""
    return plots / path.stem / "verdicts.csv"


def choose(names: Sequence[str], root: Path) -> list[Path]:
    """Return the named notebooks, or all that give verdicts.

    Raises
    ------
    ValueError
        If one does not exist or gives no verdicts, or none at all gives any.
    """
    plots = root / "plots"
    paths = list(dict.fromkeys(Path(name).resolve() for name in names))
    for path in paths:
        if not path.is_file():
            raise ValueError(
                f"There is no notebook {path.name}: name a file of notebooks/."
            )
        if not record_of(path, plots).is_file():
            raise ValueError(
                f"{path.name} gives no verdicts: name a notebook that has a "
                f"plots/{path.stem}/verdicts.csv, which make refresh writes."
            )
    with_verdicts = [
        path
        for path in notebooks.find(root / "notebooks")
        if record_of(path, plots).is_file()
    ]
    if not (paths or with_verdicts):
        raise ValueError("No notebook gives verdicts: run make refresh, then this.")
    return paths or with_verdicts


def parameters(nb: NotebookNode) -> list[NotebookNode]:
    """Return the code cells tagged ``parameters``."""
    return [
        cell
        for cell in notebooks.code_cells(nb)
        if "parameters" in cell.metadata.get("tags", [])
    ]


def with_first_seed(nb: NotebookNode, seed: int) -> NotebookNode:
    """Return a copy of a notebook with another ``first_seed``."""
    nb = copy.deepcopy(nb)
    for cell in parameters(nb):
        cell.source = ASSIGNMENT.sub(rf"\g<1>{seed}", cell.source)
    return nb


def read_record(path: Path) -> pd.DataFrame:
    """Return claim, verdict and unit; no rows where nothing was recorded."""
    columns = ["claim", "verdict", "unit"]
    if not path.is_file():
        return pd.DataFrame(columns=columns, dtype=str)
    return pd.read_csv(path, usecols=columns, dtype=str, keep_default_na=False)


def read_trial(path: Path, root: Path) -> Trial:
    """Return a notebook, its ``first_seed`` and its verdicts.

    Raises
    ------
    ValueError
        If its parameters do not set ``first_seed`` to a number.
    """
    nb = notebooks.read(path)
    found = [ASSIGNMENT.search(cell.source) for cell in parameters(nb)]
    match = next(filter(None, found), None)
    if match is None:
        raise ValueError(
            f"{path.name} has no line 'first_seed = <number>' in a cell tagged "
            "'parameters': add it there, and take all seeds from it."
        )
    record = read_record(record_of(path, root / "plots"))
    return Trial(path, nb, int(match[2]), record)


def by_claim(record: pd.DataFrame) -> pd.Series:
    """Return the verdict of each claim, without the timing claims."""
    # Timings depend on the machine more than on the seeds.
    rows = record[record["unit"] != "time"]
    # A claim recorded twice shows both verdicts: neither may hide the other.
    return rows.groupby("claim", sort=False)["verdict"].agg(", ".join)


def run(trial: Trial, seed: int, root: Path) -> tuple[pd.Series, str | None]:
    """Execute a notebook with another ``first_seed`` in a scratch folder.

    Returns
    -------
    tuple of Series and str or None
        The verdict of each claim, and what failed.
    """
    nb = with_first_seed(trial.nb, seed)
    with notebooks.scratch(root) as folder:
        (folder / "notebooks").mkdir()
        record = record_of(trial.path, folder / "plots")
        record.unlink()  # the copy must not pass for what this run gave
        failure = asyncio.run(
            notebooks.execute(nb, folder / "notebooks", folder / "plots")
        )
        return by_claim(read_record(record)), failure


def run_blocks(
    trial: Trial, seeds: Sequence[int], root: Path
) -> dict[int, pd.Series | None]:
    """Run a notebook block after block, with a line of progress each.

    Returns
    -------
    dict
        The verdicts of each block; None where the notebook failed.
    """
    blocks = {}
    for seed in seeds:
        print(f"{trial.path.name}, first_seed {seed} …", end=" ", flush=True)
        start = time.perf_counter()
        verdicts, failure = run(trial, seed, root)
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
        if failure:
            print(wrap(f"{FAILED}: {failure}"), flush=True)
        blocks[seed] = None if failure else verdicts
    return blocks


def compare(
    committed: pd.Series, blocks: Mapping[int, pd.Series | None]
) -> pd.DataFrame:
    """Return verdicts, a row a claim, a column a block; empty where one is absent.

    The column of a failed block says so in every row.
    """
    complete = {seed: block for seed, block in blocks.items() if block is not None}
    table = pd.concat({COMMITTED: committed} | complete, axis=1, sort=False)
    return table.fillna("").reindex(columns=[COMMITTED, *blocks], fill_value=FAILED)


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """Return where a block's verdict is not the committed one; a failure is none."""
    return table.ne(table[COMMITTED], axis=0) & table.ne(FAILED)


def wrap(text: str) -> str:
    """Return text in lines that a terminal shows whole, with a hanging indent."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )


def show(trial: Trial, table: pd.DataFrame) -> str:
    """Write a notebook's table: the claim in its own lines, its verdicts below."""
    changed = changes(table)
    shown = (UNCHANGED + table.replace("", "–")).mask(
        changed, CHANGED + table.replace("", "missing")
    )
    new = table[COMMITTED] == ""
    shown[COMMITTED] = shown[COMMITTED].mask(new, UNCHANGED + "(new)")
    blocks = [f"{UNCHANGED}{seed}" for seed in table.columns[1:]]
    heading = [f"{UNCHANGED}{trial.first_seed} ({COMMITTED})", *blocks]
    rows = shown.to_numpy().tolist()
    width = 2 + max(len(text) for row in [heading, *rows] for text in row)

    def line(row: Sequence[str]) -> str:
        return ("    " + "".join(text.ljust(width) for text in row)).rstrip()

    lines = [f"{trial.path.name}, by first_seed", line(heading)]
    for claim, row in zip(table.index, rows, strict=True):
        lines += [wrap(claim), line(row)]
    return "\n".join(lines)


def summarise(
    trials: Sequence[Trial], tables: Sequence[pd.DataFrame], failed: int
) -> str:
    """Say in a sentence how many verdicts changed, runs failed, claims were left out.

    Parameters
    ----------
    trials : the notebooks.
    tables : their tables, as :func:`compare` returns them.
    failed : how many runs failed.
    """
    claims, runs = sum(map(len, tables)), sum(table.shape[1] - 1 for table in tables)
    changed = sum(int(changes(table).any(axis=1).sum()) for table in tables)
    timing = sum(int((trial.record["unit"] == "time").sum()) for trial in trials)
    return (
        f"{changed or 'None'} of {claims} verdicts changed"
        f"{f' (marked {CHANGED.strip()})' if changed else ''} and "
        f"{failed or 'none'} of {runs} runs failed; timing claims left out: {timing}."
    )


def main() -> None:
    """Check the notebooks named on the command line, or all that give verdicts."""
    parser = argparse.ArgumentParser(prog="tools.stability", description=main.__doc__)
    parser.add_argument("notebooks", nargs="*")
    parser.add_argument("--first-seeds", default=FIRST_SEEDS, help='as in "100 1000"')
    arguments, root = parser.parse_args(), notebooks.ROOT
    try:
        seeds = read_seeds(arguments.first_seeds)
        paths = choose(arguments.notebooks, root)
        trials = [read_trial(path, root) for path in paths]
    except ValueError as error:
        sys.exit(str(error))
    with notebooks.said_clearly():
        blocks = [run_blocks(trial, seeds, root) for trial in trials]
    tables = [
        compare(by_claim(trial.record), found)
        for trial, found in zip(trials, blocks, strict=True)
    ]
    for trial, table in zip(trials, tables, strict=True):
        print(f"\n{show(trial, table)}")
    failed = sum(block is None for found in blocks for block in found.values())
    print(f"\n{summarise(trials, tables, failed)}")
    sys.exit(failed > 0 or any(changes(table).any(axis=None) for table in tables))


if __name__ == "__main__":
    main()
