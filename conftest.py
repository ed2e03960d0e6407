"""Settings with which the bare ``pytest --nbval notebooks/`` works.

They stand here and not in ``addopts`` because they must hold from a subfolder and in
the workers of pytest-xdist too. Nothing beyond requirements.txt is imported.
"""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools import cores, tables

ROOT = Path(__file__).resolve().parent
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
    option.nbval_current_env = option.nbval_kernel_name is None
    if option.nbval_sanitize_with is None:
        option.nbval_sanitize_with = str(ROOT / "sanitize.cfg")
    # A progress bar shows on slow machines only, and outputs must not depend on that.
    os.environ["TQDM_DISABLE"] = "1"
    if not hasattr(config, "workerinput"):  # xdist's workers inherit the variable
        scratch = tempfile.TemporaryDirectory(prefix="bn-plots-")
        shutil.copytree(ROOT / "plots", scratch.name, dirs_exist_ok=True)
        os.environ["BN_PLOTS"] = scratch.name
        config.stash[SCRATCH] = Path(scratch.name)
        config.add_cleanup(scratch.cleanup)


def pytest_collectstart(collector):
    """Leave HTML and stderr out of the comparison, as nbval does with images."""
    if type(collector).__name__ == "IPyNbFile":
        collector.skip_compare += ("text/html", "stderr")


def pytest_sessionfinish(session):
    """Compare the tables the notebooks saved with the committed ones."""
    scratch = session.config.stash.get(SCRATCH, None)
    if scratch is not None:
        problems = tables.differences(scratch, ROOT / "plots")
        session.config.stash[PROBLEMS] = problems
        if problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Name the tables that are not as committed."""
    problems = config.stash.get(PROBLEMS, [])
    if problems:
        terminalreporter.section("tables that differ from plots/", red=True)
        terminalreporter.write_line("\n".join(problems))
