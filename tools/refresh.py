"""Re-execute notebooks in place; rewrite their figures, their tables, the README's."""

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path

from tools import cores, headlines, notebooks


def refresh(path: Path, root: Path) -> str | None:
    """Re-execute one notebook; on success replace it and its folder of ``plots/``.

    Returns
    -------
    str or None
        What failed, in which case nothing was changed.
    """
    nb = notebooks.read(path)
    with notebooks.scratch(root) as folder:
        plots = folder / "plots"
        # What the notebook no longer writes must not survive.
        shutil.rmtree(plots / path.stem, ignore_errors=True)
        # One processor, as for a replication: threads change trained numbers.
        with cores.own(cores.number()) as processors:
            run = notebooks.execute(nb, path.parent, plots, processors=processors)
            failure = asyncio.run(run)
        if failure is None:
            notebooks.write(notebooks.normalise(nb), path)
            notebooks.replace_folder(plots / path.stem, root / "plots" / path.stem)
    return failure


def refresh_all(paths: list[Path], root: Path) -> int:
    """Refresh notebooks one after another, so that timings are undisturbed.

    Returns
    -------
    int
        How many failed.
    """
    failed = 0
    for path in paths:
        print(f"{path.name} …", end=" ", flush=True)
        start = time.perf_counter()
        failure = refresh(path, root)
        failed += failure is not None
        print(failure or f"{time.perf_counter() - start:.0f} s", flush=True)
    return failed


def tables(paths: list[Path], root: Path) -> dict[Path, bytes]:
    """Return the tables that notebooks have saved."""
    folders = [root / "plots" / path.stem for path in paths]
    return {
        table: table.read_bytes()
        for folder in folders
        for table in sorted(folder.glob("*.csv"))
    }


def refresh_what_depends(paths: list[Path], root: Path) -> int:
    """Refresh notebooks, then the readers: those named, or all if a table changed.

    Returns
    -------
    int
        How many failed.
    """
    first, readers = notebooks.in_order(paths)
    before = tables(first, root)
    failed = refresh_all(first, root)
    if tables(first, root) != before:
        _, readers = notebooks.in_order(notebooks.find(root / "notebooks"))
    return failed + refresh_all(readers, root)


def main() -> None:
    """Refresh the notebooks named on the command line, or all of them."""
    parser = argparse.ArgumentParser(prog="tools.refresh", description=main.__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path)
    folder = notebooks.ROOT / "notebooks"
    paths = [
        path.resolve() if path.suffix else folder / f"{path.name}.ipynb"
        for path in parser.parse_args().notebooks
    ]
    for path in paths:
        if path.suffix != ".ipynb" or not path.is_file():
            sys.exit(f"There is no notebook {path.name}: name a file of notebooks/.")
    paths = paths or notebooks.find(folder)
    said = "Interrupted: the notebook it was at, and those after it, are as before."
    with notebooks.said_clearly(said):
        failed = refresh_what_depends(paths, notebooks.ROOT)
        headlines.update(notebooks.ROOT)
    if failed:
        sys.exit(f"{failed} failed; files of a failed notebook are as they were.")


if __name__ == "__main__":
    main()
