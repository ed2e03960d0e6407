"""The repository's address in README and notebooks, and the cell that clones it."""

import ast
import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import links, notebooks

ROOT = Path(__file__).resolve().parent.parent
EDITION, NEEDED = 1, "b4542787"  # see `test_notebooks_say_which_edition_they_need`


def setup_cells(root: Path) -> dict[str, str]:
    """Return the source of each notebook's set-up cell."""
    return {
        path.stem: cell.source
        for path in notebooks.find(root / "notebooks")
        for cell in notebooks.code_cells(notebooks.read(path))
        if "set-up" in cell.metadata.get("tags", [])
    }


@pytest.fixture(autouse=True)
def own_git(monkeypatch):
    """Keep git from the repository that a hook runs in, and from the reader's home."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


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
    paths = notebooks.find(ROOT / "notebooks")
    assert len(cells) == len(paths)
    assert len(set(cells.values())) == 1
    for path in paths:  # collapsed, in Jupyter and in Colab
        first, *_ = notebooks.code_cells(notebooks.read(path))
        assert first.metadata["cellView"] == "form", path.name
        assert first.metadata["jupyter"]["source_hidden"], path.name


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
    links.link(copy, "a-b/c.d")
    second = contents(copy)
    assert not any("someone/study" in text for text in second.values())
    links.link(copy, "someone/study")
    assert contents(copy) == first


@pytest.mark.parametrize(
    "name",
    [
        *("", "study", "https://github.com/someone/study", "a/b/c", "a b/c", "a/b;"),
        *("a/b.git", "a/..", "github.com/a"),
    ],
)
def test_a_wrong_name_is_refused_and_nothing_is_written(copy, name):
    before = contents(copy)
    with pytest.raises(ValueError, match=r"as in REPO=owner/name, not ") as caught:
        links.link(copy, name)
    assert repr(name) in str(caught.value)
    assert contents(copy) == before


def test_files_that_cannot_be_written_are_said(monkeypatch):
    def refuse(root, repository):
        raise PermissionError(
            errno.EACCES, "Permission denied", str(root / "README.md")
        )

    monkeypatch.setattr("sys.argv", ["links", "someone/study"])
    monkeypatch.setattr(links, "link", refuse)
    with pytest.raises(SystemExit, match=r"^README\.md cannot be written \(Permission"):
        links.main()


def test_a_readme_without_the_place_is_named_and_nothing_is_written(copy):
    readme = copy / "README.md"
    readme.write_text(readme.read_text().replace(links.END, ""))
    before = contents(copy)
    with pytest.raises(ValueError, match="README.md lacks"):
        links.link(copy, "someone/study")
    assert contents(copy) == before


def set_up(
    folder: Path, url: str | None, before: str = "", **variables
) -> subprocess.CompletedProcess:
    """Run the set-up cell in a folder, as Colab would, after some code."""
    source = next(iter(setup_cells(ROOT).values()))
    source = links.CONSTANT.sub('REPOSITORY = ""', source)  # `make links` may have been
    source += "\nimport helpers; print(helpers.__file__)"
    environment = {key: os.environ[key] for key in os.environ if key != "BN_REPO_URL"}
    environment |= ({} if url is None else {"BN_REPO_URL": url}) | variables
    return subprocess.run(
        [sys.executable, "-I", "-c", before + source],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def address(tmp_path):
    """Return the address of a repository with the helpers."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "helpers", source / "helpers")
    (source / "tools").mkdir()
    for name in ("claims.toml", "tools/worker.py"):
        shutil.copy(ROOT / name, source / name)
    who = ["-c", "user.name=A", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "All"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    return source.as_uri()


@pytest.fixture
def empty(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def assert_works(run, folder):
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).is_relative_to(folder)


def assert_says(run, message):
    assert (run.stdout, run.stderr.strip(), run.returncode) == ("", message, 1)


def test_the_set_up_cell_clones_the_repository_once(address, empty):
    for url in (address, None):  # the second time it is there
        assert_works(set_up(empty, url), empty / "batch-normalization")


def needs(code: str) -> set[str]:
    """Return the names in helpers that code uses, and the arguments it names."""
    nodes = list(ast.walk(ast.parse(code)))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("helpers")
        for alias in node.names
    }
    used = set(imported.values())
    for node in nodes:
        match node:
            case ast.Attribute(ast.Name(name), attribute) if name in imported:
                used.add(f"{imported[name]}.{attribute}")
            case ast.Call(ast.Attribute(ast.Name(name), attribute)) if name in imported:
                arguments = [f"({keyword.arg})" for keyword in node.keywords]
                used |= {f"{imported[name]}.{attribute}{a}" for a in arguments}
            case ast.Call(ast.Name(name)) if name in imported:
                used |= {f"{imported[name]}({k.arg})" for k in node.keywords}
    return used


def test_needs_are_names_and_named_arguments():
    code = "from helpers import data as d\nfrom helpers.runs import own\nimport keras\n"
    code += "own(d.load('x', n=1), k=keras.ops.abs(x=2))"
    named = {"helpers.data", "helpers.data.load", "helpers.data.load(n)"}
    assert needs(code) == named | {"helpers.runs.own", "helpers.runs.own(k)"}


def test_notebooks_say_which_edition_they_need():
    """An old copy has all files and lacks functions: the set-up cell knows by this."""
    used: set[str] = set()
    for path in notebooks.find(ROOT / "notebooks"):
        cells = notebooks.code_cells(notebooks.read(path))
        used |= needs("\n".join(cell.source for cell in cells))
    digest = hashlib.sha256(" ".join(sorted(used)).encode()).hexdigest()[:8]
    assert digest == NEEDED, (
        "notebooks use something else of helpers: if it is something new, raise "
        "EDITION in helpers/__init__.py, here and in all set-up cells; then set NEEDED "
        f"to {digest}"
    )
    stated = f"EDITION = {EDITION}"
    assert stated in next(iter(setup_cells(ROOT).values())).splitlines()[7]
    assert (ROOT / "helpers/__init__.py").read_text().endswith(f"\n{stated}\n")


def test_without_git_the_set_up_cell_names_it_and_works_afterwards(address, empty):
    said = set_up(empty, address, PATH=str(empty))
    assert_says(said, "Install git or copy the repository here, then run again.")
    assert_works(set_up(empty, address), empty / "batch-normalization")
    shutil.move(empty / "batch-normalization", empty / "copied")
    assert_works(set_up(empty / "copied", None, PATH=str(empty)), empty / "copied")


def no_copy(clone: Path) -> str:
    remedy = "move it away, check BN_REPO_URL, then run again."
    return f"{clone} is no whole, new copy: {remedy}"


def leave_what_git_writes_first(clone):
    shutil.rmtree(clone / "helpers")
    shutil.rmtree(clone / "tools")


def leave_half_the_files(clone):
    for path in sorted((clone / "helpers").glob("[m-z]*.py")):
        path.unlink()
    shutil.rmtree(clone / "tools")


def leave_all_helpers(clone):
    shutil.rmtree(clone / "tools")


def leave_an_empty_folder(clone):
    shutil.rmtree(clone)
    clone.mkdir()


@pytest.mark.parametrize(
    "interrupt",
    [
        *(leave_what_git_writes_first, leave_half_the_files, leave_all_helpers),
        leave_an_empty_folder,
    ],
)
def test_half_a_clone_is_named_and_cloned_anew(address, empty, interrupt):
    clone = empty / "batch-normalization"
    set_up(empty, address)
    interrupt(clone)
    for _ in range(2):
        assert_says(set_up(empty, address), no_copy(clone))
    clone.rename(empty / "away")
    assert_works(set_up(empty, address), clone)


def test_a_folder_of_the_same_name_and_another_repository_are_left_alone(
    address, empty
):
    clone = empty / "batch-normalization"
    clone.mkdir()
    (clone / "mine.txt").touch()
    assert_says(set_up(empty, address), no_copy(clone))
    clone.rename(empty / "mine")
    subprocess.run(["git", "init", "-q", empty / "other"], check=True)
    said = set_up(empty, (empty / "other").as_uri())
    assert said.stderr.strip().endswith(no_copy(clone))
    clone.rename(empty / "away")
    assert_works(set_up(empty, address), clone)


def test_a_folder_that_is_gone_is_named(address, empty):
    gone = "import os, shutil; shutil.rmtree(os.getcwd())\n"
    said = "Restart the kernel or copy the repository here, then run again."
    assert_says(set_up(empty, address, before=gone), said)


def test_a_folder_with_helpers_of_its_own_is_passed_over(address, empty):
    (empty / "helpers").mkdir()
    for name in ("__init__", "data", "quiet"):  # as the assignment has them
        shutil.copy(ROOT / f"helpers/{name}.py", empty / "helpers")
    for url in (address, None):
        assert_works(set_up(empty, url), empty / "batch-normalization")


@pytest.mark.parametrize("content", ["", f"EDITION = {EDITION - 1}\n"])
def test_an_old_copy_is_named_and_works_once_it_is_new(address, empty, content):
    subprocess.run(["git", "clone", "-q", address, empty / "mine"], check=True)
    (empty / "mine" / "helpers" / "__init__.py").write_text(content)
    inside = empty / "mine" / "notebooks"
    inside.mkdir()
    said = f"{empty / 'mine'} is no whole, new copy: git pull, "
    said += "then run again."
    assert_says(set_up(inside, None), said)
    subprocess.run(["git", "checkout", "-q", "."], cwd=empty / "mine", check=True)
    assert_works(set_up(inside, None), empty / "mine")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "Git cannot clone '': see why, or set BN_REPO_URL."),
        (
            "file:///nowhere/at/all",
            "Git cannot clone 'file:///nowhere/at/all': see why",
        ),
    ],
)
def test_the_set_up_cell_says_what_is_wrong_with_the_address(tmp_path, url, message):
    run = set_up(tmp_path, url)
    assert run.returncode == 1
    assert re.search(re.escape(message), run.stderr)
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []
