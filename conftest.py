"""Settings with which the bare ``pytest --nbval notebooks/`` works.

They stand here and not in ``addopts`` because they must hold from a subfolder and in
the workers of pytest-xdist too. Nothing beyond requirements.txt is imported.
"""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools import cores, scratch, tables

ROOT = Path(__file__).resolve().parent
# The instructor's: tools run it, without its answers, or where it is graded.
collect_ignore_glob = ["assignment/*.ipynb"]
SCRATCH = pytest.StashKey[Path]()
PROBLEMS = pytest.StashKey[list[str]]()


def pytest_configure(config):
    """Use this environment's Python, the sanitizing rules and scratch plots."""
    option = config.option
    if hasattr(config, "workerinput"):  # of xdist: each to processors of its own
        stack = ExitStack()
        mine = stack.enter_context(cores.own(config.workerinput["workercount"]))
        cores.keep(0, mine)
        config.add_cleanup(stack.close)
    if not (getattr(option, "nbval", False) or getattr(option, "nbval_lax", False)):
        return
    if hasattr(config, "workerinput") and "BN_PLOTS" not in os.environ:
        # Found by the workers alone, who would share out cells and write into plots/.
        pytest.exit(f"name what is to be run: pytest --nbval {ROOT}/notebooks", 4)
    if config.args_source is config.ArgsSource.TESTPATHS:  # nothing was named
        # Not the whole path: pytest takes no [ ] there, and a folder may have them.
        config.args = [os.path.relpath(ROOT / "notebooks")]
    # Both options have an older name, too.
    if not option.current_env:
        option.nbval_current_env = option.nbval_kernel_name is None
    if (option.nbval_sanitize_with or option.sanitize_with) is None:
        option.nbval_sanitize_with = str(ROOT / "sanitize.cfg")
    if getattr(option, "dist", "no") in ("load", "loadgroup", "worksteal"):
        option.dist = "loadfile"  # a cell needs those before it
    if not hasattr(config, "workerinput"):  # xdist's workers inherit what is set here
        folder = tempfile.TemporaryDirectory(prefix="bn-run-")
        plots = Path(folder.name) / "plots"
        try:
            scratch.copy(ROOT / "plots", plots)
        except OSError as error:
            raise pytest.UsageError(
                f"plots/ cannot be copied to {folder.name} "
                f"({error.strerror or error}): make room there, or let TMPDIR name "
                "another folder, then run again"
            ) from None
        for name in scratch.READERS_OWN:
            os.environ.pop(name, None)
        os.environ.update(scratch.surroundings({}, Path(folder.name)))
        os.environ["BN_PLOTS"] = str(plots)
        config.stash[SCRATCH] = plots
        config.add_cleanup(folder.cleanup)


def pytest_collectstart(collector):
    """Leave HTML and stderr out of the comparison, as nbval does with images."""
    if type(collector).__name__ == "IPyNbFile":
        collector.skip_compare += ("text/html", "stderr")


@pytest.hookimpl(tryfirst=True)  # before xdist tells what there is
def pytest_collection_finish(session):
    """Put cells in their order; refuse a choice that leaves out what they need."""
    chosen: dict[Path, list[int]] = {}
    places = [i for i, x in enumerate(session.items) if type(x).__name__ == "IPyNbCell"]
    cells = [session.items[place] for place in places]  # by --ff, failed ones first
    cells.sort(key=lambda cell: (cell.path, cell.cell_num))
    for place, cell in zip(places, cells, strict=True):
        session.items[place] = cell
        chosen.setdefault(cell.path, []).append(cell.cell_num)
    for path, numbers in chosen.items():
        if numbers != list(range(len(numbers))):
            raise pytest.UsageError(
                f"a cell of {path.name} needs those before it: choose whole notebooks, "
                "without -k, --lf, --sw or ::Cell"
            )


def pytest_sessionfinish(session):
    """Compare the tables the notebooks saved with the committed ones."""
    plots = session.config.stash.get(SCRATCH, None)
    if plots is not None:
        problems = tables.differences(plots, ROOT / "plots")
        session.config.stash[PROBLEMS] = problems
        if problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Name the tables that are not as committed."""
    problems = config.stash.get(PROBLEMS, [])
    if problems:
        terminalreporter.section("tables that differ from plots/", red=True)
        terminalreporter.write_line("\n".join(problems))
