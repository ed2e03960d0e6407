"""What `pytest --nbval` compares: a wrong text fails, images, HTML and times do not."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat import v4

from tools import notebooks, tables

ROOT = Path(__file__).resolve().parent.parent


def notebook(path: Path, printed: str, shown: str) -> None:
    """Write a notebook of two cells with the outputs that are stored in it."""
    show = "display({'text/plain': 'two', 'text/html': '<b>new</b>'}, raw=True)"
    data = {"text/plain": shown, "text/html": "<b>old</b>"}
    cells = [
        v4.new_code_cell("print('one')", outputs=[v4.new_output("stream")]),
        v4.new_code_cell(show, outputs=[v4.new_output("display_data", data)]),
    ]
    cells[0].outputs[0].update(name="stdout", text=printed)
    for count, cell in enumerate(cells, 1):
        cell.execution_count = count
    nbformat.write(v4.new_notebook(cells=cells), path)


def nbval(folder: Path, *options: str, **variables: str) -> str:
    """Run nbval as the repository does, on notebooks that lie elsewhere."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "conftest"]
    command += ["-p", "no:cacheprovider", "--rootdir", folder, *(options or [folder])]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path} | variables
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    return ended.stdout + ended.stderr


def test_a_wrong_text_fails_and_a_right_one_passes(tmp_path):
    notebook(tmp_path / "right.ipynb", "one\n", "two")
    notebook(tmp_path / "wrong.ipynb", "eins\n", "zwei")
    said = nbval(tmp_path)
    assert "2 failed, 2 passed" in said, said
    assert "right.ipynb" not in said.partition("short test summary")[2]


def printing(path: Path, *cells: tuple[str, str]) -> None:
    """Write a notebook of cells, each with what it is to print."""
    found = []
    for count, (source, printed) in enumerate(cells, 1):
        output = v4.new_output("stream", name="stdout", text=printed)
        outputs = [output] if printed else []
        found.append(v4.new_code_cell(source, outputs=outputs, execution_count=count))
    nbformat.write(v4.new_notebook(cells=found), path)


TERMINAL = """
import os, shutil
from pathlib import Path
Path("greek").write_text("γ")
print(Path("greek").read_text("utf-8"))
print(shutil.get_terminal_size().columns, "mine" in globals())
print("inline" in os.environ["MPLBACKEND"])
print(sorted({"NO_COLOR", "JUPYTER_COLUMNS"} & set(os.environ)))
"""


@pytest.mark.parametrize("columns", ["40", "200"])
def test_the_readers_terminal_and_profile_change_nothing(tmp_path, columns):
    start = tmp_path / "home" / ".ipython" / "profile_default" / "startup"
    start.mkdir(parents=True)
    (start / "00-mine.py").write_text("mine = print('good morning')")
    printing(tmp_path / "right.ipynb", (TERMINAL, "γ\n80 False\nTrue\n[]\n"))
    own = {"COLUMNS": columns, "JUPYTER_COLUMNS": columns, "NO_COLOR": "1"}
    own |= {"MPLBACKEND": "agg", "HOME": str(tmp_path / "home")}
    own |= {"IPYTHONDIR": str(tmp_path / "home" / ".ipython")}
    own |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    own |= {"PYTHONSTARTUP": str(start / "00-mine.py")}
    said = nbval(tmp_path, **own)
    assert "1 passed" in said, said


COUNT = [("n = 0", ""), *(("n += 1; print(n)", f"{n}\n") for n in range(1, 6))]


@pytest.mark.parametrize("dist", ["load", "loadgroup", "worksteal", "loadscope"])
def test_notebooks_stay_whole_however_they_are_shared_out(tmp_path, dist):
    for name in ("one", "two", "three"):
        printing(tmp_path / f"{name}.ipynb", *COUNT)
    said = nbval(tmp_path, "-n", "2", "--dist", dist, str(tmp_path))
    assert "18 passed" in said, said


@pytest.fixture
def small(tmp_path):
    """Return a copy of the repository with one notebook, in a folder `a [1]`."""
    root = tmp_path / "a [1]"
    for name in ("helpers", "tools"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("conftest.py", "pyproject.toml", "sanitize.cfg"):
        shutil.copy(ROOT / name, root)
    (root / "notebooks").mkdir()
    (root / "plots").mkdir()
    (root / "tests").mkdir()
    printing(root / "notebooks" / "one.ipynb", *COUNT)
    return root


def run_nbval(folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Run nbval where the conftest of a repository is found, and not given."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider"]
    free = {name: os.environ[name] for name in os.environ if name != "BN_PLOTS"}
    return subprocess.run(
        [*command, *options], cwd=folder, env=free, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "options",
    [(), ("-n", "2"), ("--sanitize-with", "sanitize.cfg"), ("--current-env",)],
)
def test_nbval_by_any_of_its_options_runs_the_notebooks(small, options):
    ended = run_nbval(small, *options)
    assert "6 passed" in ended.stdout, ended.stdout + ended.stderr


def test_workers_that_the_settings_do_not_reach_run_nothing(small):
    ended = run_nbval(small.parent, "-n", "2", ".")
    said = f"name what is to be run: pytest --nbval {small}/notebooks"
    assert said in ended.stdout, ended.stdout + ended.stderr
    assert "passed" not in ended.stdout
    assert "6 passed" in run_nbval(small.parent, ".").stdout


def test_any_way_to_import_tests_finds_what_they_need():
    command = [sys.executable, "-m", "pytest", "--import-mode=importlib", "-q"]
    command += ["--collect-only", "-p", "no:cacheprovider", "tests/test_pages.py"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("choice", [["one.ipynb::Cell 3"], ["one.ipynb", "-k", "3"]])
def test_a_choice_of_cells_is_refused_with_the_remedy(tmp_path, choice):
    printing(tmp_path / "one.ipynb", *COUNT)
    said = nbval(tmp_path, *choice)
    assert (
        "ERROR: a cell of one.ipynb needs those before it: choose whole notebooks, "
        "without -k, --lf, --sw or ::Cell" in said
    ), said
    assert "NameError" not in said


def test_cells_run_in_their_order_whatever_order_they_are_asked_for(tmp_path):
    """As by `--ff`, which puts those that failed first."""
    cells = ("two = 1 + 1", ""), ("print(two)", "2\n"), ("print(two + 1)", "3\n")
    printing(tmp_path / "a.ipynb", *cells)
    printing(tmp_path / "b.ipynb", *cells)
    backwards = "def pytest_collection_modifyitems(items):\n    items.reverse()\n"
    (tmp_path / "backwards.py").write_text(backwards)
    said = nbval(tmp_path, str(tmp_path), "-p", "backwards")
    assert "6 passed" in said, said


def test_a_disk_without_room_for_the_scratch_plots_is_named(tmp_path):
    resource = pytest.importorskip("resource")
    printing(tmp_path / "a.ipynb", ("1", ""))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        said = nbval(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "ERROR: plots/ cannot be copied to" in said, said
    assert "make room there" in said
    assert "Traceback" not in said


def test_where_no_folder_is_named_the_notebooks_are_checked():
    command = [sys.executable, "-m", "pytest", "--nbval", "--collect-only", "-q"]
    command += ["-p", "no:cacheprovider"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert "notebooks/00_start_here.ipynb::Cell 0" in said
    assert "tests/" not in said


def test_what_is_copied_can_be_written_to(tmp_path):
    plots = tmp_path / "plots"
    (plots / "05").mkdir(parents=True)
    (plots / "05" / "table.csv").write_text("x")
    for path, mode in {plots / "05" / "table.csv": 0o444, plots / "05": 0o555}.items():
        path.chmod(mode)
    try:
        with notebooks.scratch(tmp_path) as folder:
            copies = [folder / "plots" / "05", folder / "plots" / "05" / "table.csv"]
            assert all(path.stat().st_mode & stat.S_IWUSR for path in copies)
            assert copies[1].read_text() == "x"
    finally:
        (plots / "05").chmod(0o755)


MODES = """
import os
from pathlib import Path
found = sorted(Path(os.environ["BN_PLOTS"]).rglob("*"))
print([(path.name, bool(path.stat().st_mode & 0o200)) for path in found])
"""


def test_a_notebook_may_save_where_the_checkout_is_read_only(tmp_path):
    house, folder = tmp_path / "house", tmp_path / "notebooks"
    for name in ("conftest.py", "sanitize.cfg"):
        house.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, house)
    shutil.copytree(ROOT / "tools", house / "tools")
    (house / "plots" / "05").mkdir(parents=True)
    (house / "plots" / "05" / "table.csv").write_text("x")
    (house / "plots" / "05" / "table.csv").chmod(0o444)
    (house / "plots" / "05").chmod(0o555)
    folder.mkdir()
    printing(folder / "a.ipynb", (MODES, "[('05', True), ('table.csv', True)]\n"))
    try:
        said = nbval(folder, PYTHONPATH=str(house))
    finally:
        (house / "plots" / "05").chmod(0o755)
    assert "1 passed" in said, said


TABLE = pd.DataFrame(
    {
        "claim": ["faster", "cheaper in time", "seconds an epoch"],
        "effect": ["×2.04 (+1.5 to +2.5)", "×1.2·10⁶", "5"],
        "size": ["0.52", "-0.04", "5"],
        "unit": ["factor", "time", ""],
        "seconds": ["3", "4", "5"],
    }
)


@pytest.fixture
def folders(tmp_path):
    """Return a function that saves a run's table beside the committed one."""

    def save(found: pd.DataFrame) -> list[str]:
        for name, table in {"found": found, "committed": TABLE}.items():
            (tmp_path / name / "05").mkdir(parents=True, exist_ok=True)
            table.to_csv(tmp_path / name / "05" / "table.csv", index=False)
        return tables.differences(tmp_path / "found", tmp_path / "committed")

    return save


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("size", 0, "0.40"),
        ("effect", 0, "×2.90 (+1.1 to +3.5)"),
        ("seconds", 0, "3000"),
        ("claim", 1, "rows on time are left out"),
        ("size", 2, "50"),
    ],
)
def test_another_processors_numbers_pass(folders, column, row, value):
    table = TABLE.copy()
    table.loc[row, column] = value
    assert folders(table) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="size"), "its columns are"),
        (lambda t: t.iloc[1:], "it has 0 rows"),  # but that on time
        (lambda t: t.replace("faster", "slower"), "'slower' in column 'claim'"),
        (lambda t: t.replace("0.52", "5.2"), "'5.2' in column 'size'"),
        (lambda t: t.replace("0.52", "-0.52"), "'-0.52' in column 'size'"),
        (lambda t: t.replace("0.52", "nan"), "'nan' in column 'size'"),
    ],
)
def test_what_is_no_matter_of_the_processor_fails(folders, change, said):
    (problem,) = folders(change(TABLE))
    assert problem.startswith("05/table.csv: ")
    assert said in problem


def test_a_table_that_only_one_side_has_is_named(tmp_path):
    for name, file in {"found": "new.csv", "committed": "old.csv"}.items():
        (tmp_path / name / "05").mkdir(parents=True)
        TABLE.to_csv(tmp_path / name / "05" / file, index=False)
    assert tables.differences(tmp_path / "found", tmp_path / "committed") == [
        "05/new.csv is not committed",
        "05/old.csv was not saved",
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("×2.04", [2.04]),
        ("−5.21 points", [-5.21]),
        ("259 ± 40", [259, 40]),
        ("×7.57 to ×19.43", [7.57, 19.43]),
        ("×1.2·10⁻³", [1.2e-3]),
        ("16,000 images", [16000]),
        ("none", []),
    ],
)
def test_numbers_in_a_text(cell, expected):
    assert tables.numbers(cell) == expected
