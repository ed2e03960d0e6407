"""Where the notebooks' figures, tables and records go, and how they get there whole."""

import os
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def plots(notebook: str) -> Path:
    """Folder for what a notebook saves, made if it is missing.

    Below ``plots/``, or below the folder that the variable ``BN_PLOTS`` names, so
    that tests and reports leave the committed files alone.
    """
    folder = Path(os.environ.get("BN_PLOTS") or ROOT / "plots") / notebook
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def records() -> Path:
    """Folder of what all notebooks have saved: ``plots/``.

    Or the folder that the variable ``BN_RECORDS`` names, so that a report draws its
    conclusions from the run it shows.
    """
    return Path(os.environ.get("BN_RECORDS") or ROOT / "plots")


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: an old version survives a full disk.

    Raises
    ------
    OSError
        If it cannot be written; names the file and says that nothing was changed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot save {path.name} in {path.parent.name}/ ({error.strerror}); what "
            "was there is unchanged: free space, make the folder or allow writing, "
            "then run again",
        ) from error
    finally:
        with suppress(OSError):  # its folder may be none
            temporary.unlink(missing_ok=True)
