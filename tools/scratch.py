"""What a run of notebooks has to itself: a folder, and surroundings as they come."""

import shutil
from collections.abc import Mapping
from pathlib import Path

# How the reader's terminal, Python and Matplotlib are set up.
READERS_OWN = (
    *("JUPYTER_COLUMNS", "JUPYTER_LINES", "NO_COLOR", "TTY_COMPATIBLE"),
    *("TTY_INTERACTIVE", "MPLBACKEND", "MATPLOTLIBRC", "TF_CPP_MIN_LOG_LEVEL"),
    "TF_CPP_MAX_VLOG_LEVEL",
    # IPython runs the second in every kernel.
    *("PYTHONOPTIMIZE", "PYTHONSTARTUP", "PYTHONWARNINGS"),
)
# `summary()` would be as wide as the terminal, and files written in its encoding.
AS_IT_COMES = {"COLUMNS": "80", "LINES": "24", "PYTHONUTF8": "1"}


def surroundings(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment without what is the reader's own and shows in outputs.

    Parameters
    ----------
    environ : the environment as it is.
    folder : where IPython keeps its profile, instead of the reader's home.
    """
    kept = {name: value for name, value in environ.items() if name not in READERS_OWN}
    return kept | AS_IT_COMES | {"IPYTHONDIR": str(folder / "ipython")}


def copy(source: Path, target: Path) -> None:
    """Copy the files of a folder, to be written to even if those cannot be."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
