"""Photograph the report's first page for README; needs Chromium."""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tools import notebooks

WIDTH, HEIGHT = 1100, 1400  # CSS pixels
# Without a window, and without a request that nobody asked for.
CHROMIUM = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
CHROMIUM += ["--no-first-run", "--disable-background-networking"]
CHROMIUM += ["--disable-component-update", "--disable-sync"]


def browse(page: Path, *options: str) -> subprocess.CompletedProcess:
    """Open a local page in headless Chromium, without a network, and return its output.

    Parameters
    ----------
    page : the HTML file.
    options : what Chromium is to do with it, such as ``--dump-dom``.
    """
    with TemporaryDirectory() as profile:
        command = [*CHROMIUM, f"--user-data-dir={profile}", "--enable-logging=stderr"]
        command += ["--virtual-time-budget=20000", *options, page.resolve().as_uri()]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False
        )


def photograph(page: Path, picture: Path) -> None:
    """Save the top of a page as PNG; an old picture survives a failure.

    Raises
    ------
    FileNotFoundError
        If the page or Chromium is missing.
    RuntimeError
        If Chromium makes no picture.
    """
    if not page.exists():
        raise FileNotFoundError(f"{page.name} is missing: run make report first.")
    if not shutil.which("chromium"):
        raise FileNotFoundError("Chromium is missing: install it, then run again.")
    picture.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=picture.parent) as folder:
        new = Path(folder) / "new.png"
        size = f"--window-size={WIDTH},{HEIGHT}"
        run = browse(page, "--hide-scrollbars", size, f"--screenshot={new}")
        if not new.exists():
            raise RuntimeError(f"Chromium made no picture: {run.stderr[-300:]}")
        new.replace(picture)


def main() -> None:
    """Make README's picture of the report in ``build/html/``."""
    page = notebooks.ROOT / "build/html/index.html"
    picture = notebooks.ROOT / "plots/report/index.png"
    with notebooks.said_clearly():
        try:
            photograph(page, picture)
        except (FileNotFoundError, RuntimeError) as error:
            sys.exit(str(error))
    print("plots/report/index.png")


if __name__ == "__main__":
    main()
