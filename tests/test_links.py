"""The repository's address in README and notebooks, and the cell that clones it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import links, notebooks

ROOT = Path(__file__).resolve().parent.parent


def setup_cells(root: Path) -> dict[str, str]:
    """Return the source of each notebook's set-up cell."""
    return {
        path.stem: cell.source
        for path in notebooks.find(root / "notebooks")
        for cell in notebooks.code_cells(notebooks.read(path))
        if "set-up" in cell.metadata.get("tags", [])
    }


@pytest.fixture
def copy(tmp_path):
    """Copy what `make links` writes to."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def contents(root: Path) -> dict[str, str]:
    files = [root / "README.md", *notebooks.find(root / "notebooks")]
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def test_all_notebooks_have_the_same_set_up_cell():
    cells = setup_cells(ROOT)
    assert len(cells) == len(notebooks.find(ROOT / "notebooks"))
    assert len(set(cells.values())) == 1


def test_links_and_address_are_written_and_written_anew(copy):
    links.link(copy, "someone/study")
    first = contents(copy)
    for name, text in first.items():
        if name == "README.md":
            assert text.count("https://colab.research.google.com/") == len(first) - 1
        else:
            address = f"github/someone/study/blob/main/notebooks/{name})"
            assert text.count(address) == 1
            assert (
                text.count('REPOSITORY = \\"https://github.com/someone/study\\"') == 1
            )
    links.link(copy, "a.b/c-d")
    second = contents(copy)
    assert not any("someone/study" in text for text in second.values())
    links.link(copy, "someone/study")
    assert contents(copy) == first


@pytest.mark.parametrize(
    "name", ["", "study", "https://github.com/someone/study", "a/b/c", "a b/c", "a/b;"]
)
def test_a_wrong_name_is_refused_and_nothing_is_written(copy, name):
    before = contents(copy)
    with pytest.raises(ValueError, match=r"as in REPO=owner/name, not ") as caught:
        links.link(copy, name)
    assert repr(name) in str(caught.value)
    assert contents(copy) == before


def test_a_readme_without_the_place_is_named_and_nothing_is_written(copy):
    readme = copy / "README.md"
    readme.write_text(readme.read_text().replace(links.END, ""))
    before = contents(copy)
    with pytest.raises(ValueError, match="README.md lacks"):
        links.link(copy, "someone/study")
    assert contents(copy) == before


def set_up(folder: Path, url: str | None) -> subprocess.CompletedProcess:
    """Run the set-up cell in a folder, as Colab would."""
    source = next(iter(setup_cells(ROOT).values()))
    environment = {key: os.environ[key] for key in os.environ if key != "BN_REPO_URL"}
    return subprocess.run(
        [sys.executable, "-I", "-c", f"{source}\nprint(quiet.__file__)"],
        cwd=folder,
        env=environment | ({} if url is None else {"BN_REPO_URL": url}),
        capture_output=True,
        text=True,
    )


def test_the_set_up_cell_clones_the_repository_once(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "helpers", source / "helpers")
    who = ["-c", "user.name=A", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "All"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    for url in (source.as_uri(), None):  # the second time it is there
        run = set_up(empty, url)
        assert run.returncode == 0, run.stderr
        assert Path(run.stdout.strip()).is_relative_to(empty / "batch-normalization")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "Set BN_REPO_URL to the repository's address, then run again."),
        ("file:///nowhere/at/all", "cannot be cloned: check the address"),
    ],
)
def test_the_set_up_cell_says_what_is_wrong_with_the_address(tmp_path, url, message):
    run = set_up(tmp_path, url)
    assert run.returncode == 1
    assert re.search(re.escape(message), run.stderr)
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []
