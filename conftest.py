"""Settings with which the bare ``pytest --nbval notebooks/`` works.

They stand here and not in ``addopts`` because they must hold from a subfolder and in
the workers of pytest-xdist too. Nothing beyond requirements.txt is imported.
"""

import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def pytest_configure(config):
    """Use this environment's Python, the sanitizing rules and scratch plots."""
    option = config.option
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
        config.add_cleanup(scratch.cleanup)


def pytest_collectstart(collector):
    """Leave HTML and stderr out of the comparison, as nbval does with images."""
    if type(collector).__name__ == "IPyNbFile":
        collector.skip_compare += ("text/html", "stderr")
