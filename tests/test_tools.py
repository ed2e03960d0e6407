"""The report, the refresh and the pages they make, on tiny repositories."""

import asyncio
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import claims
from tools import headlines, notebooks, picture, refresh, report

INTRODUCTION = r"""# Waves & *more*

*Answers Q1.* [Next](02_broken.ipynb#Part), [a paper](https://doi.org/10.1/x.ipynb),
[read me](../README.md), [data](../data/README.md)

## The assignment, question by question

| question | where |
|---|---|
| Q1 | [there](02_broken.ipynb#Part) |

## Formulas

$$\hat x = \frac{x - \mu}{\boldsymbol{\sigma}} \qquad y = \gamma \hat x + \beta$$

| symbol | meaning |
|--------|---------|
| $\mu$  | mean    |
"""
ALT = 'A single dot, "white" & small, on nothing'
FIGURE = f"""
import base64, os
from pathlib import Path
from IPython.display import display
plots = Path(os.environ["BN_PLOTS"])
png = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2GwAAAABJ"
    "RU5ErkJggg=="
)
(plots / "01_fine").mkdir(exist_ok=True)
(plots / "01_fine" / "dot.png").write_bytes(png)
(plots / "01_fine" / "result.txt").write_text("from this run")
display({{"image/png": base64.b64encode(png).decode()}}, raw=True,
        metadata={{"image/png": {{"alt": {ALT!r}, "width": 300}}}})
"""
SEES_OTHERS = "print((plots / '02_broken' / 'old.csv').read_text())"
READS_RESULT = """# Set-up
import os
from pathlib import Path
print((Path(os.environ["BN_RECORDS"]) / "01_fine" / "result.txt").read_text())"""
MARKERS = [*headlines.FRONT, headlines.START, headlines.END]
BROKEN = [READS_RESULT, "", "raise ValueError('no such digit\\nmore')", "1 + 1"]


def make_repository(root: Path) -> Path:
    """Write a notebook that works, one that fails, and plots of an earlier run."""
    fine = [new_markdown_cell(INTRODUCTION), *map(new_code_cell, (FIGURE, SEES_OTHERS))]
    fine[1].metadata = {"jupyter": {"source_hidden": True}, "collapsed": True}
    broken = [new_markdown_cell("# Broken\n\n## Part"), *map(new_code_cell, BROKEN)]
    broken[1].metadata = {"tags": [notebooks.READER]}
    (root / "notebooks").mkdir()
    for name, cells in {"01_fine": fine, "02_broken": broken}.items():
        nbformat.write(new_notebook(cells=cells), root / f"notebooks/{name}.ipynb")
        (root / "plots" / name).mkdir(parents=True)
        (root / "plots" / name / "old.csv").write_text("from before")
    (root / "README.md").write_text("\n".join(MARKERS))
    return root


def known() -> pd.DataFrame:
    """Return what `claims.results` would: a claim on record and one that is not."""
    shared = {"notebook": "01_fine", "link": "01_fine.ipynb#A-(Q1)", "unit": "factor"}
    shared |= {"section": "A (Q1.1–Q1.3)", "chapter": "training", "limit": False}
    shared |= {"margin": np.log(1.25)}
    ends = {"effect": np.log(2), "low": np.log(1.5), "high": np.log(3)}
    one = {"statement": "It <works>", "verdict": "supported", "primary": True}
    other = {"statement": "It lasts", "verdict": "undecided", "primary": False}
    rows = [shared | one | ends | {"n_replications": 10}]
    rows += [shared | other | dict.fromkeys(ends, np.nan) | {"n_replications": 0}]
    return pd.DataFrame(rows, index=pd.Index(["works", "lasts"], name="claim"))


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def run_main(module, root: Path, *arguments: str) -> SimpleNamespace:
    """Run a tool as the Makefile does, on another repository."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setattr(notebooks, "ROOT", root)
        patch.setattr("sys.argv", ["tool", *arguments])
        patch.setattr(claims, "results", known)
        try:
            module.main()
            code = 0
        except SystemExit as end:
            code = end.code
    return SimpleNamespace(root=root, code=code, printed=printed.getvalue())


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    root = make_repository(tmp_path_factory.mktemp("reported"))
    before = files(root)
    result = run_main(report, root)
    result.pages = files(root / "build" / "html")
    result.unchanged = all(files(root)[name] == before[name] for name in before)
    result.html = result.pages["01_fine.html"].decode()
    result.soup = BeautifulSoup(result.html, "html.parser")
    return result


def test_normalise_is_idempotent_and_keeps_what_matters():
    nb = new_notebook(metadata={"widgets": {}, "title": "x"})
    kept = {"tags": ["a"], "cellView": "form"}
    nb.cells = [new_code_cell("1", metadata={**kept, "execution": {}})]
    once = notebooks.normalise(nb)
    assert notebooks.normalise(once) == once
    assert once.cells[0].metadata == kept
    assert once.cells[0].id == "cell-00"
    assert once.metadata == notebooks.METADATA


def test_refresh_goes_on_after_a_failure_and_leaves_no_difference(tmp_path):
    root = make_repository(tmp_path)
    untouched = (root / "notebooks/02_broken.ipynb").read_bytes()
    result = run_main(refresh, root)
    assert "1 failed" in result.code
    assert "02_broken.ipynb … code cell 2 (raise ValueError" in result.printed
    assert "ValueError: no such digit\n" in result.printed
    assert (root / "notebooks/02_broken.ipynb").read_bytes() == untouched
    first = files(root)
    assert {name for name in first if name.startswith("plots")} == {
        "plots/01_fine/dot.png",
        "plots/01_fine/result.txt",  # and no stale old.csv
        "plots/02_broken/old.csv",
    }
    assert "from before" in first["notebooks/01_fine.ipynb"].decode()
    assert "It <works>" in first["README.md"].decode()
    assert run_main(refresh, root, str(root / "notebooks/01_fine.ipynb")).code == 0
    assert files(root) == first


def test_refresh_names_a_missing_notebook(tmp_path):
    result = run_main(refresh, tmp_path, "notebooks/99_none.ipynb")
    assert "There is no notebook 99_none.ipynb" in result.code


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\n{}\n", "[1]", "{}", '{"cells": 3}'])
def test_refresh_names_what_is_no_notebook(tmp_path, text):
    root = make_repository(tmp_path)
    (root / "notebooks/03_merged.ipynb").write_text(text)
    (root / "README.txt").write_text("words")
    before = files(root)
    result = run_main(refresh, root, str(root / "notebooks/03_merged.ipynb"))
    assert "03_merged.ipynb holds no notebook: restore it" in result.code
    result = run_main(refresh, root, str(root / "README.txt"))
    assert "There is no notebook README.txt" in result.code
    assert files(root) == before


def test_interrupted_write_leaves_the_notebook(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    path.write_text("old")

    def full(temporary, text, **_):
        temporary.write_bytes(b"ha")
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        notebooks.write(new_notebook(), path)
    assert files(tmp_path) == {"a.ipynb": b"old"}


def test_report_names_the_failure_and_exports_the_rest(reported):
    assert reported.code == 1
    assert "FAILED: 02_broken.ipynb, code cell 2 (raise ValueError" in reported.printed
    assert "build/html/index.html" in reported.printed
    assert set(reported.pages) == {
        *("index.html", "playground.html", "01_fine.html", "02_broken.html")
    }
    assert "no such digit" in reported.pages["02_broken.html"].decode()
    # The last notebook reads what the others have recorded in this run.
    assert ">from this run" in reported.pages["02_broken.html"].decode()
    index = BeautifulSoup(reported.pages["index.html"], "html.parser")
    assert [a["href"] for a in index.select("h3 a")] == [
        "01_fine.html",
        "02_broken.html",
    ]
    assert index.select_one("h3 a").text == "01 Waves & more"
    assert "Answers Q1." in index.text
    # What failed stands before all else; how long it took, at the end.
    first = index.select_one("[role=alert]")
    assert "ValueError: no such digit" in first.text
    assert first.a["href"] == "02_broken.html"
    assert not first.find_all_previous("h2")
    assert index.select("h2")[-1].text == "How long it took"
    assert "ran" not in index.select_one(".cards").text.lower().split()


def test_the_index_leads_from_each_question_to_its_section(reported):
    index = BeautifulSoup(reported.pages["index.html"], "html.parser")
    (row,) = index.select("table:not(:has(caption)) tbody tr")
    assert row.a["href"] == "02_broken.html#Part"
    assert "Formulas" not in index.text


def test_the_index_lists_every_verdict_with_its_experiment(reported):
    index = BeautifulSoup(reported.pages["index.html"], "html.parser")
    group, row, other = index.select("table:has(caption) tbody tr")
    assert group.text == "01 Waves & more"
    cells = [cell.text.strip() for cell in row.select("td")]
    assert cells == ["It <works>", "supported", "×2.00", "×1.50 to ×3.00"]
    assert row["data-question"] == "Q1.1|Q1.2|Q1.3"
    ends = (np.log(2), np.log(1.5), np.log(3), np.log(1.25))
    drawn = claims.interval_bar(*ends, "supported")
    assert str(row.select_one(".bn-interval")) == str(
        BeautifulSoup(drawn, "html.parser").span
    )
    assert claims.bar("supported") in row.select("td")[1]["style"]
    assert row.a["href"] == "01_fine.html#A-(Q1)"
    assert [cell.text for cell in other.select("td")][1:] == [
        "undecided not on record",
        "–",
        " ",
    ]
    assert index.caption.text.startswith("2 claims")


def test_report_touches_nothing_but_build(reported):
    assert reported.unchanged
    assert [path.name for path in (reported.root / "build").iterdir()] == ["html"]


def test_pages_load_nothing(reported):
    for page in reported.pages.values():
        soup = BeautifulSoup(page, "html.parser")
        assert not soup.select("script[src], link, iframe, object, embed")
        assert all(image["src"].startswith("data:") for image in soup.select("img"))
        assert not any(re.search(r"url\(|@import", css.text) for css in soup("style"))
        policy = soup.select_one("meta[http-equiv=Content-Security-Policy]")["content"]
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert len(page) < 5e6
    assert "require.js" not in reported.html
    assert any("mjx-container" in script.text for script in reported.soup("script"))


def test_slides_are_no_page(tmp_path):
    path = tmp_path / "talk.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Talk")]), path)
    config = notebooks.ROOT / "tools" / "nbconvert_config.py"
    command = ["jupyter", "nbconvert", "--config", config, "--to", "slides", path]
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    assert "Reveal.initialize" in (tmp_path / "talk.slides.html").read_text("utf-8")


def test_page_is_accessible_and_linked(reported):
    soup = reported.soup
    assert soup.html["lang"] == "en"
    assert soup.title.text.startswith("Waves & more")
    assert soup.img["alt"] == ALT
    assert soup.img["width"] == "300"
    assert [a["href"] for a in soup.select(".text a")] == [
        "02_broken.html#Part",
        "https://doi.org/10.1/x.ipynb",
        "index.html",
        "02_broken.html#Part",
    ]
    assert [code.has_attr("open") for code in soup.select("details.code")] == [
        False,
        False,
    ]
    assert soup.select_one(".scroll > table")


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium on this machine")
def test_browser_renders_formulas_without_a_complaint(reported):
    run = picture.browse(reported.root / "build/html/01_fine.html", "--dump-dom")
    assert ":CONSOLE" not in run.stderr  # errors, and requests the policy blocked
    soup = BeautifulSoup(run.stdout, "html.parser")
    assert len(soup.select("mjx-container")) == 2
    for element in soup.select("script, style, pre, mjx-container"):
        element.decompose()
    assert not re.search(r"[$\\]", soup.text)


def test_a_kernel_that_dies_is_reported_and_the_rest_goes_on(tmp_path):
    root = make_repository(tmp_path)
    dying = new_notebook(cells=[new_code_cell("import os\nos._exit(1)")])
    nbformat.write(dying, root / "notebooks/02_broken.ipynb")
    result = run_main(report, root)
    assert result.code == 1
    assert "FAILED: 02_broken.ipynb, code cell 1 (import os): DeadKernel" in (
        result.printed
    )
    assert "dot" in files(root / "build/html")["01_fine.html"].decode()


@pytest.mark.parametrize("tool", [report, refresh])
def test_where_nothing_can_be_written_one_sentence_says_so(tmp_path, tool):
    root = make_repository(tmp_path)
    (root / "build").write_text("a file in the way")
    before = files(root)
    result = run_main(tool, root)
    assert result.code.startswith("build cannot be written (")
    assert result.code.endswith("make room or allow writing, then run again.")
    assert files(root) == before


def test_a_disk_that_fills_up_leaves_the_pages_of_the_last_report(
    tmp_path, monkeypatch
):
    root = make_repository(tmp_path)
    run_main(report, root)
    before = files(root)
    write_text = Path.write_text

    def full(path, text, **options):
        if path.name == "index.html":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_text(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    result = run_main(report, root)
    assert result.code.startswith("index.html cannot be written (No space left")
    assert files(root) == before


def test_two_reports_at_once_both_succeed(tmp_path):
    root = make_repository(tmp_path)
    code = "import sys; from pathlib import Path; from tools import report; "
    code += "report.report(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(root)]
    both = [
        subprocess.Popen(command, cwd=notebooks.ROOT, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in both:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint.decode()
    assert set(files(root / "build")) == {
        f"html/{name}.html" for name in ("index", "playground", "01_fine", "02_broken")
    }


def test_another_kernel_of_the_same_name_is_not_taken(tmp_path, monkeypatch):
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    other = {"argv": ["false"], "display_name": "other", "language": "python"}
    spec.write_text(json.dumps(other))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    cell = new_code_cell("import sys; print(sys.executable)")
    nb = new_notebook(cells=[cell])
    failure = asyncio.run(notebooks.execute(nb, tmp_path, tmp_path / "plots"))
    assert failure is None
    assert nb.cells[0].outputs[0].text.strip() == sys.executable


def test_a_folder_is_replaced_even_if_another_run_comes_between(tmp_path, monkeypatch):
    new, old = tmp_path / "run" / "html", tmp_path / "html"
    for folder, text in ((new, "mine"), (old, "before")):
        folder.mkdir(parents=True)
        (folder / "page").write_text(text)
    exists, calls = Path.exists, []

    def meddle(path, **options):
        found = exists(path, **options)
        if path == new and not calls:  # between the two steps
            calls.append(path)
            old.mkdir()
            (old / "page").write_text("the other's")
        return found

    monkeypatch.setattr(Path, "exists", meddle)
    notebooks.replace_folder(new, old)
    assert (old / "page").read_text() == "mine"
    assert calls


MAKE = pytest.mark.skipif(os.name == "nt", reason="make sets up a Unix environment")


@MAKE
def test_makefile_lists_its_commands():
    help_text = subprocess.run(
        ["make", "-C", notebooks.ROOT], capture_output=True, text=True, check=True
    ).stdout
    for target in ("report", "test", "lab", "refresh", ".venv"):
        assert f"make {target}" in help_text


@pytest.fixture
def house(tmp_path):
    """Return a folder with the Makefile and an environment, finished and up to date."""
    for name in ("Makefile", "constraints.txt", *notebooks.ROOT.glob("requirements*")):
        shutil.copy(notebooks.ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".venv" / ".ready").touch()
    return tmp_path


def dry_run(house: Path, *targets: str) -> str:
    """Return the commands that make would run."""
    command = ["make", "-n", *targets]
    return subprocess.run(
        command, cwd=house, capture_output=True, text=True, check=True
    ).stdout


@MAKE
@pytest.mark.parametrize(
    ("command", "name", "flag"),
    [("grade", "TRUST", "--trust"), ("assignment", "DATA", "--data")],
)
def test_a_no_is_not_taken_for_a_yes(house, command, name, flag):
    assert flag in dry_run(house, command, f"{name}=1")
    assert flag not in dry_run(house, command, f"{name}=0")


@MAKE
def test_commands_outlive_a_move_of_the_folder(house):
    # Scripts begin with the path of the folder that they were installed in.
    said = dry_run(house, "lint", "unit", "notebooks", "lab", "report", "refresh")
    assert set(re.findall(r"\.venv/bin/(\S+)", said)) == {"python"}


@MAKE
@pytest.mark.parametrize(("user", "root"), [("0", True), ("1000", False)])
def test_the_lab_opens_for_root_as_in_the_dev_container(house, monkeypatch, user, root):
    (house / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (house / "id").chmod(0o755)
    monkeypatch.setenv("PATH", str(house), prepend=os.pathsep)
    assert ("--allow-root" in dry_run(house, "lab")) == root


def test_a_tool_that_is_interrupted_while_it_loads_says_so():
    code = "import tools; raise KeyboardInterrupt"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=notebooks.ROOT, capture_output=True, text=True
    )
    assert ended.stderr == "Interrupted: nothing was begun.\n"


@MAKE
@pytest.mark.parametrize("home", ["nowhere", "home"])
def test_the_lab_opens_where_there_is_no_home(house, home):
    (house / "home").mkdir()
    python = house / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text('#!/bin/sh\ntest "$1" = -c || (cd "$HOME" && touch it && pwd)\n')
    python.chmod(0o755)
    ended = subprocess.run(
        ["make", "-s", "lab"],
        cwd=house,
        env=os.environ | {"HOME": str(house / home)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert (ended.stdout.strip() == str(house / "home")) == (home == "home")


@MAKE
def test_an_environment_whose_python_is_gone_is_made_anew(house):
    assert "-m venv" not in dry_run(house, "lab")
    (house / ".venv" / "bin" / "python").unlink()
    (house / ".venv" / "bin" / "python").symlink_to(house / "gone")
    assert "-m venv --clear .venv" in dry_run(house, "lab")


def test_ctrl_c_ends_a_command_by_a_sentence():
    with (
        pytest.raises(SystemExit, match="^Half is done.$"),
        notebooks.said_clearly("Half is done."),
    ):
        raise KeyboardInterrupt


STUB = """#!/bin/sh
echo "$@" >> called
if [ "$1 $2" = "-m venv" ]; then mkdir -p .venv/bin; cp $0 .venv/bin; sleep 1; fi
"""


def stub(path: Path) -> Path:
    """Write a Python that notes what it is told."""
    path.unlink(missing_ok=True)
    path.write_text(STUB)
    path.chmod(0o755)
    return path


@MAKE
@pytest.mark.skipif(not shutil.which("flock"), reason="nothing here keeps a lock")
def test_of_two_first_commands_one_installs_and_the_other_waits(house):
    shutil.rmtree(house / ".venv")
    command = ["make", ".venv", f"PYTHON={stub(house / 'python')}"]
    both = [subprocess.Popen(command, cwd=house) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    called = (house / "called").read_text()
    assert called.count("-m venv --clear .venv") == 1
    assert called.count("pip install --quiet --disable-pip-version-check uv") == 1


@MAKE
def test_an_environment_that_stays_empty_is_not_taken_for_a_finished_one(house):
    """As where pip.conf has a target: pip ends well, and installs elsewhere."""
    shutil.rmtree(house / ".venv")
    python = stub(house / "python")
    python.write_text(STUB.replace("\n", '\n[ "$2" != "import tqdm" ] || exit 1\n', 1))
    command = ["make", ".venv", f"PYTHON={python}"]
    ended = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert ended.returncode
    assert "pip or uv installs elsewhere: take target" in ended.stdout
    assert not (house / ".venv" / ".ready").exists()


@MAKE
@pytest.mark.parametrize("name", ["O'Brien's", "a$b", "two words", "é", "-x"])
def test_a_folder_to_grade_may_have_any_name(house, name):
    stub(house / ".venv" / "bin" / "python")
    command = ["make", "grade", f"SUBMISSIONS={name}"]
    subprocess.run(command, cwd=house, check=True, capture_output=True)
    called = (house / "called").read_text(encoding="utf-8")
    assert f"-m tools.grade --jobs 2 -- {name}" in called


@MAKE
def test_a_linked_environment_that_is_too_old_is_not_cleared(house):
    """It is another checkout's. No Python here installs: each notes what it is told."""
    (house / ".venv").rename(house / "theirs")
    (house / ".venv").symlink_to("theirs")
    os.utime(house / "theirs" / ".ready", (1, 1))
    python = house / "python"
    python.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "$@" >> called\n')
    python.chmod(0o755)
    (house / "theirs" / "bin" / "python").unlink()
    (house / "theirs" / "bin" / "python").symlink_to(python)
    command = ["make", ".venv", f"PYTHON={python}"]
    ended = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert ended.returncode
    assert ".venv is a link to an environment that is gone, or older" in ended.stdout
    assert not (house / "called").exists()
    assert (house / "theirs" / ".ready").stat().st_mtime == 1


@MAKE
def test_commands_speak_utf_8_whatever_the_terminal(house):
    (house / "Makefile").open("a").write("speak:\n\t@$(PYTHON) -c \"print('γ')\"\n")
    spoken = subprocess.run(
        ["make", "-s", "speak", f"PYTHON={sys.executable}"],
        cwd=house,
        env=os.environ
        | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    ).stdout
    assert spoken.decode() == "γ\n"


TRAIN = f"""
import sys, time
sys.path.insert(0, {str(notebooks.ROOT)!r})
from helpers import data, models, training
import numpy as np
split = data.Split(np.zeros((8, 2, 2), "float32"), np.zeros(8, "int32"))
tiny = data.Dataset("tiny", ("a", "b"), split, split, split)
build = lambda: models.mlp((2,), input_shape=(2, 2), classes=2)
def order(seed, epoch, size):
    time.sleep(1.5)  # long enough for a bar to show
    return training.epoch_order(seed, epoch, size)
frame = training.train({{"m": build}}, tiny, seeds=[1], epochs=3, batch_size=8,
                       order=order)
"""


def test_progress_leaves_no_trace_in_a_notebook():
    nb = new_notebook(cells=[new_code_cell(TRAIN)])
    NotebookClient(nb, kernel_name="python3", timeout=600).execute()
    assert nb.cells[0].outputs == []


def test_headlines_are_the_primary_claims_between_the_markers(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "results", known)
    readme = tmp_path / "README.md"
    start, end = headlines.FRONT
    readme.write_text(
        f"{start}\nold\n{end}\nbefore\n{headlines.START}\nold\n{headlines.END}\nafter\n"
    )
    for _ in range(2):
        headlines.update(tmp_path)
        text = readme.read_text(encoding="utf-8")
        opening, _, rest = text.partition(f"{end}\n")
        assert opening == f"{start}\n{headlines.front_text(known(), '')}\n"
        lines = rest.splitlines()
        assert lines[:2] == ["before", headlines.START]
        assert lines[-2:] == [headlines.END, "after"]
        assert lines[4:-2] == [
            "| [It <works>](notebooks/01_fine.ipynb#A-(Q1)) | *supported* "
            "| ×2.00 (×1.50 to ×3.00) | 10 |"
        ]


def test_a_readme_without_markers_is_left_alone_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "results", known)
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="README.md lacks <!-- front"):
        headlines.update(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


SAVES = """import os
from pathlib import Path
folder = Path(os.environ["BN_PLOTS"]) / "05_new"
folder.mkdir(exist_ok=True)
(folder / "x.csv").write_text({value!r})"""
READS = """import os
from pathlib import Path
print((Path(os.environ["BN_RECORDS"]) / "05_new" / "x.csv").read_text())"""


def test_readers_run_last_and_whenever_what_they_read_changed(tmp_path):
    root = make_repository(tmp_path)
    (root / "notebooks/02_broken.ipynb").unlink()

    def write(name, *cells):
        nbformat.write(
            new_notebook(cells=list(cells)), root / f"notebooks/{name}.ipynb"
        )

    reader = new_code_cell(READS, metadata={"tags": [notebooks.READER]})
    write("00_start", reader)
    write("05_new", new_code_cell(SAVES.format(value="one")))
    result = run_main(refresh, root)
    assert result.printed.index("05_new") < result.printed.index("00_start")
    assert "one" in (root / "notebooks/00_start.ipynb").read_text()
    again = run_main(refresh, root, str(root / "notebooks/05_new.ipynb"))
    assert "00_start" not in again.printed
    write("05_new", new_code_cell(SAVES.format(value="two")))
    run_main(refresh, root, str(root / "notebooks/05_new.ipynb"))
    assert "two" in (root / "notebooks/00_start.ipynb").read_text()
    write("05_new", new_code_cell(SAVES.format(value="three")))
    run_main(report, root)
    assert "three" in (root / "build/html/00_start.html").read_text()
