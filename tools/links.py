"""Write the repository's address into README and notebooks, with links to Colab."""

import argparse
import re
import sys
from pathlib import Path

from tools import notebooks

REPOSITORY = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9-]*/(?!\.\.?$)(?!.*\.git$)[\w.-]+", re.ASCII
)
CONSTANT = re.compile(r'^REPOSITORY = "[^"]*".*$', re.MULTILINE)
LINK = re.compile(r"\n\n\[Open in Colab\]\([^)]*\)")
ANSWERS = re.compile(r"^\*Answers .*\*$", re.MULTILINE)
START, END = "<!-- colab, by make links -->", "<!-- end of colab -->"


def colab(repository: str, name: str) -> str:
    """Return the address at which Colab opens a notebook of a GitHub repository."""
    place = f"{repository}/blob/main/notebooks/{name}.ipynb"
    return f"https://colab.research.google.com/github/{place}"


def link(root: Path, repository: str) -> None:
    """Write address and links; what an earlier run wrote is replaced.

    Parameters
    ----------
    root : top folder of the repository.
    repository : its name on GitHub, ``owner/name``.

    Raises
    ------
    ValueError
        If the name is not of that form, or a notebook or the README lacks the place
        to write to; then nothing is changed.
    """
    if not REPOSITORY.fullmatch(repository):
        raise ValueError(
            "REPO must be a repository on GitHub, as in REPO=owner/name, not "
            f"{repository!r}"
        )
    paths = notebooks.find(root / "notebooks")
    changed = {path: _linked(path, repository) for path in paths}
    links = [f"[{path.stem[:2]}]({colab(repository, path.stem)})" for path in paths]
    line = f"**Open in Colab:** {' · '.join(links)}"
    readme = root / "README.md"
    text = notebooks.between(readme.read_text(encoding="utf-8"), START, END, line)
    for path, nb in changed.items():
        notebooks.write(nb, path)
    notebooks.write_text(text, readme)


def _linked(path: Path, repository: str) -> notebooks.NotebookNode:
    nb, written = notebooks.read(path), 0
    answers = rf"\g<0>\n\n[Open in Colab]({colab(repository, path.stem)})"
    for cell in nb.cells:
        if "set-up" in cell.metadata.get("tags", []):
            constant = f'REPOSITORY = "https://github.com/{repository}"'
            cell.source, count = CONSTANT.subn(constant, cell.source)
            written += count
        elif cell.cell_type == "markdown" and ANSWERS.search(cell.source):
            text = LINK.sub("", cell.source)
            cell.source, count = ANSWERS.subn(answers, text, count=1)
            written += count
    if written != 2:
        raise ValueError(
            f"{path.name} lacks an *Answers* line, or REPOSITORY in its set-up cell"
        )
    return nb


def main() -> None:
    """Link to the repository given on the command line."""
    parser = argparse.ArgumentParser(prog="tools.links", description=main.__doc__)
    parser.add_argument("repository", help="its name on GitHub, owner/name")
    try:
        with notebooks.said_clearly():
            link(notebooks.ROOT, parser.parse_args().repository)
    except ValueError as error:
        sys.exit(str(error))
    print("README.md and notebooks link to Colab; commit and push them.")


if __name__ == "__main__":
    main()
