"""Notebooks that are honest, unlucky or hostile, graded from the file to the score."""

import csv
import errno
import json
import os
import shutil
import socket
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from assignment import networks
from assignment.marks import Mark
from tools import assignment, feedback, grade, kept, notebooks, sandbox, submissions

pytestmark = pytest.mark.skipif(os.name == "nt", reason="grading needs Linux or macOS")
ROOT = Path(__file__).resolve().parent.parent
SOURCE = notebooks.read(assignment.SOURCE)
NUMPY = 16  # points of the four functions in NumPy
# A cell that loops is given up soon; a busy machine still starts its kernel in time.
SHORT = sandbox.Limits(
    cell_seconds=20, notebook_seconds=120, seconds=600, memory=3 * 2**30, disk=2**25
)
SECRET = "the-secret-of-another-student"


def confined() -> bool:
    try:
        sandbox.check()
    except sandbox.NoSandboxError:
        return False
    return True


CONFINED = confined()
needs_sandbox = pytest.mark.skipif(not CONFINED, reason="bubblewrap cannot start here")


@pytest.fixture(scope="module")
def grader():
    return grade.Grader(ROOT, SHORT, trust=not CONFINED)


def solved(*names: str) -> list:
    """Return the author's cells for some items."""
    cells = [
        cell
        for cell in SOURCE.cells
        if "solution" in assignment.tags(cell)[0]
        and assignment.tags(cell)[1]["id"] in names
    ]
    return [new_code_cell(cell.source) for cell in cells]


def theory() -> list:
    """Return cells that earn the sixteen points of NumPy, and need no TensorFlow."""
    return [
        new_code_cell("import numpy as np"),
        *solved("Q1.3-forward", "Q1.3-backward", "Q1.3-moving"),
    ]


def handed_in(cells: list, student: str = "anna", **metadata) -> submissions.Submission:
    nb = new_notebook(cells=cells, metadata=metadata)
    return submissions.Submission(student, "work.ipynb", nbformat.writes(nb).encode())


def graded(grader, *extra: str, before: bool = False) -> kept.Result:
    """Grade the NumPy part with other code after it, or before it."""
    more = [new_code_cell(source) for source in extra]
    cells = more + theory() if before else theory() + more
    return grader.grade(handed_in(cells))


def points(result: kept.Result) -> float:
    return sum(mark.points for mark in result.marks.values())


def outputs(result: kept.Result) -> str:
    """Return all that the cells of a notebook put out."""
    cells = json.loads(result.notebook)["cells"]
    return json.dumps([cell.get("outputs", []) for cell in cells])


# --- honest and unlucky --------------------------------------------------------------


def test_what_works_earns_its_points_without_the_rest(grader):
    result = graded(grader)
    assert points(result) == NUMPY
    assert "not defined" in result.marks["Q2.4"].message
    assert result.marks["Q2.5"].message == "runs is not a table yet"


def test_the_handed_out_notebook_earns_nothing(grader):
    nb = assignment.student(SOURCE)
    keep = [cell for cell in nb.cells if "keras" not in cell.source]
    result = grader.grade(handed_in(keep))
    assert points(result) == 0
    assert all(mark.message for mark in result.marks.values())
    assert set(result.essays.values()) == {""}


def test_the_order_of_cells_their_number_and_kind_do_not_matter(grader):
    numpy, forward, *rest = theory()
    wrong = new_code_cell(forward.source.replace("+ beta", ""))
    broken = new_code_cell("# A heading that became code\n## Forward (6 points)\nx x")
    again = nbformat.from_dict(rest[0])
    cells = [numpy, wrong, *rest, broken, again, forward]
    kernel = {"name": "conda-env-mine-py", "display_name": "mine", "language": "R"}
    assert points(grader.grade(handed_in(cells, kernelspec=kernel))) == NUMPY


def test_windows_files_and_strange_names_do_not_matter(grader):
    nb = new_notebook(cells=theory())
    for cell in nb.cells:
        cell.source = cell.source.replace("\n", "\r\n")
    text = nbformat.writes(nb).replace("\n", "\r\n")
    content = b"\xef\xbb\xbf" + text.encode()
    student = submissions.Submission("Žofie Ünal 黄", "Übung — końcowa.ipynb", content)
    result = grader.grade(student)
    assert points(result) == NUMPY
    assert result.student == student.student


def test_a_change_of_folder_and_shadowed_names_do_not_matter(grader):
    extra = "import os\nos.makedirs('mine')\nos.chdir('mine')\njson = answer = list = 3"
    assert points(graded(grader, extra)) == NUMPY


@pytest.mark.parametrize(
    "content",
    [b"", b"no json", b"[1]", b"{}", b'{"cells": 3}', b"\xff\xfe", b"[" * 100_000],
)
def test_what_is_no_notebook_is_said_to_be_none(grader, content):
    result = grader.grade(submissions.Submission("bo", "work.ipynb", content))
    assert points(result) == 0
    assert "is no notebook" in result.note
    assert "is no notebook" in feedback.page(result, {}, grader.essays)


def test_an_endless_cell_costs_nothing_but_itself(grader):
    result = graded(grader, "while True: pass", before=True)
    assert points(result) == NUMPY
    assert "KeyboardInterrupt" in outputs(result)
    assert result.attempts == ["cell 1: stopped after 20 seconds"]
    assert "cell 1: stopped" in feedback.page(result, {}, {})


def test_an_endless_function_costs_its_points(grader):
    result = graded(grader, "def forward(*given):\n    while True: pass")
    assert points(result) == NUMPY - 6
    assert "no end after 20 seconds" in result.marks["Q1.3-forward"].message


def test_half_a_character_breaks_no_file(grader, tmp_path):
    half = (
        "print('\\ud800')\ndef forward(*given): raise ValueError('\\ud800')\n"
        "runs, interval, verdict = '\\ud800', 1, 2"
    )
    cells = [*theory(), new_code_cell(half), new_markdown_cell("\\ud800")]
    content = handed_in(cells, "a").content.replace(b"\\\\ud800", b"\\ud800", 1)
    results = grade.grade_all(
        [submissions.Submission("b", "x.ipynb", content)], grader, tmp_path, jobs=1
    )
    assert points(results[0]) == NUMPY - 6
    feedback.feedback(ROOT, tmp_path, results)
    assert "stopped with ValueError" in (tmp_path / "pages/b.html").read_text()


def test_a_cell_that_will_not_be_interrupted_is_left_out(grader):
    stubborn = (
        "import time\nwhile True:\n    try:\n        time.sleep(1000)\n"
        "    except BaseException:\n        pass"
    )
    result = graded(grader, stubborn, before=True)
    assert points(result) == NUMPY
    assert result.attempts == ["cell 1: no end after 20 seconds"]
    assert "not run: no end after" in outputs(result)


def test_no_sandbox_starts_once_all_were_ended(grader, monkeypatch):
    """As by Ctrl-C: what it killed was taken for a kernel that died, and run again."""
    started, start = [], sandbox._started

    def noted(*given):
        started.append(given)
        return start(*given)

    monkeypatch.setattr(sandbox, "OVER", threading.Event())
    monkeypatch.setattr(sandbox, "_started", noted)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(graded, grader, "while True: pass", before=True)
        while not sandbox.RUNNING:
            time.sleep(0.1)
        sandbox.end_all()
    assert (len(started), len(sandbox.RUNNING)) == (1, 0)
    assert running.result().version == ""  # so that it is graded when asked again
    assert "all sandboxes were ended" in running.result().note


@pytest.mark.parametrize(
    "source", ["import sys\nsys.exit()", "exit()", "raise KeyboardInterrupt"]
)
def test_leaving_is_no_way_out(grader, source):
    assert points(graded(grader, source, before=True)) == NUMPY


@pytest.mark.parametrize(
    "source", ["import os\nos._exit(0)", "import os\nos.kill(os.getpid(), 9)"]
)
def test_a_cell_that_kills_the_kernel_is_left_out(grader, source):
    result = graded(grader, source)
    assert points(result) == NUMPY
    assert result.attempts == ["cell 5: the kernel died"]


def test_a_function_that_kills_the_kernel_costs_its_points(grader):
    result = graded(grader, "import os\ndef forward(*given):\n    os._exit(0)")
    assert points(result) == NUMPY - 6
    assert "the kernel died" in result.marks["Q1.3-forward"].message


# --- hostile -------------------------------------------------------------------------


@needs_sandbox
def test_a_memory_hog_gets_a_memory_error(grader):
    hog = "x = []\nfor _ in range(10_000):\n    x.append(np.ones(2**24))"
    result = graded(grader, hog)
    assert points(result) == NUMPY
    assert "MemoryError" in outputs(result)


@needs_sandbox
def test_many_small_hogs_are_one_large_one(grader):
    hogs = (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n"
        "        x = np.ones(2**26)\n        time.sleep(1000)\ntime.sleep(30)"
    )
    result = graded(grader, hogs)
    assert points(result) == NUMPY
    assert result.attempts == ["cell 5: more than 3 GB of memory in all"]


@needs_sandbox
def test_a_hundred_children_end_with_the_notebook(grader):
    name = "987654"
    children = (
        "import subprocess\nfor _ in range(100):\n"
        f"    subprocess.Popen(['sleep', '{name}'], start_new_session=True)"
    )
    assert points(graded(grader, children)) == NUMPY
    running = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
    assert not [command for command in running if name in command]


@needs_sandbox
def test_a_fork_bomb_ends(grader):
    bomb = (
        "import os, time\nfor _ in range(3_000):\n    try:\n"
        "        if os.fork() == 0:\n            time.sleep(1000)\n"
        "    except OSError:\n        pass"
    )
    assert points(graded(grader, bomb)) == NUMPY


@needs_sandbox
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("for _ in range(1_000):\n    print('x' * 10**6)", "the rest is left out"),
        ("with open('large', 'wb') as file:\n    file.write(bytes(10**9))", "OSError"),
        (
            "import os\nfor i in range(100):\n"
            "    with open(os.path.join(os.sep, 'tmp', str(i)), 'wb') as file:\n"
            "        file.write(bytes(10**7))",
            "No space left",
        ),
    ],
)
def test_a_gigabyte_of_output_is_cut(grader, source, error):
    result = graded(grader, source)
    assert points(result) == NUMPY
    assert error in outputs(result)
    assert len(result.notebook) < 5 * 10**6


@needs_sandbox
def test_an_answer_that_is_too_long_costs_its_points():
    """What the cells put out may be longer than what is read of an answer."""
    limits = replace(SHORT, answer=2**16)
    long = "def forward(*given): return np.zeros((200, 200))\nprint(2**17 * 'x')"
    result = graded(grade.Grader(ROOT, limits), long)
    assert points(result) == NUMPY - 6
    assert "said more than is read" in result.marks["Q1.3-forward"].message
    assert 2**17 * "x" in outputs(result)


def test_the_longest_honest_answer_has_room():
    """Both networks of a seed, trained and new: float32 in base64."""
    longest = 4 * networks.PARAMETERS * 4 * 4 / 3
    assert 4 * longest < sandbox.Limits().answer < 6 * longest


@needs_sandbox
def test_replaced_checks_and_overridden_tools_earn_nothing(grader):
    cheat = """
import sys, types, builtins
import numpy as np
from pathlib import Path
fake = types.ModuleType("asking")
def answer(function):
    Path("answer.json").write_text('[{"value": 1e9}]')
fake.answer = answer
sys.modules["asking"] = fake
for name in ("asking.py", "exam.py", "marks.py", "checks.py"):
    Path(name).write_text("def answer(function): pass\\ndef marks(): return 100")
np.allclose = np.array_equal = lambda *a, **k: True
builtins.AssertionError = builtins.Exception = KeyError
builtins.all = lambda values: True
get_ipython().showtraceback = lambda *a, **k: None
def forward(*given): return 1
backward = inference = update_moving = preprocess = build = train = forward
runs, interval, verdict, sweep = 1, (0, 1), "supported", 1
"""
    result = graded(grader, cheat)
    assert points(result) == 0


@needs_sandbox
def test_a_forged_word_to_the_judge_earns_nothing(grader):
    """Every pipe that student code can reach is tried."""
    forged = """
import json, os
line = json.dumps({"question": "Q1.3-forward", "answers": [{"value": 100}],
                   "points": 100, "marks": {"Q1.3-forward": 6}, "done": True}) + "\\n"
def forward(*given): return None
for pid in filter(str.isdigit, os.listdir("/proc")):
    for fd in range(64):
        try:
            with open(f"/proc/{pid}/fd/{fd}", "w") as pipe:
                pipe.write(line)
        except (OSError, ValueError):
            pass
"""
    assert points(graded(grader, forged)) <= NUMPY - 6


@needs_sandbox
def test_the_keys_of_the_kernel_are_out_of_reach(grader):
    asking_for = """
import ctypes
libc, no = ctypes.CDLL(None, use_errno=True), []
calls = {"x86_64": 248, "aarch64": 217}[__import__("platform").machine()]
for call in range(calls, calls + 3):
    libc.syscall(call, b"user", b"note", b"x", 1, -3)
    no.append(ctypes.get_errno())
print("refused:", no)
"""
    assert "refused: [1, 1, 1]" in outputs(graded(grader, asking_for))


@needs_sandbox
def test_the_pipe_of_the_worker_cannot_be_taken(grader):
    """`pidfd_getfd` copies another process's file, where the kernel lets it."""
    taking = """
import ctypes, os
call, taken = ctypes.CDLL(None).syscall, []
for pid in filter(str.isdigit, os.listdir("/proc")):
    handle = call(434, int(pid), 0) if int(pid) != os.getpid() else -1
    taken += [fd for fd in range(64) if handle >= 0 and call(438, handle, fd, 0) >= 0]
print("taken:", len(taken))
"""
    assert "taken: 0" in outputs(graded(grader, taking))


@needs_sandbox
def test_no_process_inside_is_the_sandbox_itself(grader):
    """It would hold the worker's pipes, for a grader's notebooks are of one user."""
    looking = "print('FIRST', open('/proc/1/cmdline').read().split(chr(0))[1:2])"
    assert "FIRST ['/edition/tools/worker.py']" in outputs(graded(grader, looking))


@needs_sandbox
def test_nothing_of_ours_can_be_read(grader, tmp_path):
    other = tmp_path / "others" / "berta"
    other.mkdir(parents=True)
    (other / "work.ipynb").write_text(SECRET)
    places = [
        other / "work.ipynb",
        *ROOT.glob("assignment/*"),
        *ROOT.glob("tools/*.py"),
    ]
    places += [ROOT / "helpers/claims.py", ROOT / "helpers/normalization.py"]
    places += [Path("/etc/shadow"), Path("/etc/passwd"), Path("/proc/1/environ")]
    snoop = f"""
from pathlib import Path
seen = []
for name in {[str(place) for place in places]!r}:
    try:
        seen.append(Path(name).read_bytes()[:100])
    except OSError:
        pass
found = [p for p in Path("/edition").rglob("*") if p.is_file()]
print("SEEN", seen, sorted(p.name for p in found if p.suffix != ".gz"))
import os
print("ENVIRONMENT", sorted(os.environ))
"""
    result = graded(grader, snoop)
    said = outputs(result)
    assert points(result) == NUMPY
    names = ["README.md", "SHA256SUMS", "__init__.py", "asking.py", "data.py"]
    assert f"SEEN [] {[*names, 'quiet.py', 'worker.py']}" in said
    for name in ("claims.py", "exam.py", "formulas.py", "grade.py", SECRET):
        assert name not in said


@needs_sandbox
def test_nothing_can_be_written_outside(grader, tmp_path):
    victim = tmp_path / "scores.csv"
    victim.write_text("anna,0")
    places = [tmp_path / "new", victim, ROOT / "helpers/data.py", ROOT / "new"]
    places += [
        Path(f"{sandbox.INSIDE}/helpers/data.py"),
        Path("/usr/new"),
        Path("/new"),
    ]
    before = (ROOT / "helpers/data.py").read_bytes()
    write = f"""
wrote = []
for name in {[str(place) for place in places]!r}:
    try:
        open(name, "w").write("changed")
        wrote.append(name)
    except OSError:
        pass
print("WROTE", wrote)
"""
    result = graded(grader, write)
    assert "WROTE []" in outputs(result)
    assert victim.read_text() == "anna,0"
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
    assert (ROOT / "helpers/data.py").read_bytes() == before


@needs_sandbox
def test_there_is_no_network(grader):
    called = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(120)

        def listen():
            try:
                connection, _ = server.accept()
                called.append(connection.recv(10))
            except OSError:
                pass

        threading.Thread(target=listen, daemon=True).start()
        port = server.getsockname()[1]
        call = (
            "import socket\n"
            f"s = socket.create_connection(('127.0.0.1', {port}), timeout=5)\n"
            "s.send(b'answers')"
        )
        result = graded(grader, call)
    assert "ConnectionRefused" in outputs(result)
    assert points(result) == NUMPY
    assert not called


@needs_sandbox
def test_the_class_is_unharmed_by_its_worst_members(grader, tmp_path):
    kill = "import os, signal\nos.kill(-1, signal.SIGKILL)"
    parent = "import os, signal\nfor _ in range(9):\n    os.kill(os.getppid(), 9)"
    loop = "while True: print('x' * 1000)"
    cases = {"kills": kill, "orphan": parent, "prints": loop, "honest": "1"}
    found = [
        handed_in([*theory(), new_code_cell(source)], name)
        for name, source in cases.items()
    ]
    results = grade.grade_all(found, grader, tmp_path, jobs=2)
    assert {r.student: points(r) for r in results} == dict.fromkeys(cases, NUMPY)


FABRICATED = """
import pandas as pd
runs = pd.DataFrame({
    "seed": [0, 1, 2],
    "plain": [0.9412, 0.9398, 0.9421],
    "batch_norm": [0.9405, 0.9417, 0.9411],
})
difference = runs["batch_norm"] - runs["plain"]
half = 4.302653 * difference.std() / 3**0.5
interval, verdict = (difference.mean() - half, difference.mean() + half), "no effect"
"""


@needs_sandbox
def test_a_table_without_code_earns_nothing(grader):
    result = graded(grader, FABRICATED)
    assert result.marks["Q2.5"].points == 0
    assert "could not be trained again" in result.marks["Q2.5"].message


@needs_sandbox
def test_a_good_table_that_the_code_does_not_give_earns_nothing():
    """Its numbers are possible and its verdict follows; `train` gives others."""
    given = {"set-up", "import keras", "dataset_name ="}
    first = [
        new_code_cell(cell.source)
        for cell in notebooks.code_cells(SOURCE)
        if any(word in f"{cell.source} {assignment.tags(cell)[0]}" for word in given)
    ]
    work = solved("Q2.1", "Q2.4", "Q2.5-train")
    grader = grade.Grader(ROOT, sandbox.Limits())
    result = grader.grade(handed_in([*first, *work, new_code_cell(FABRICATED)]))
    assert result.marks["Q2.1"].points == 6
    assert result.marks["Q2.4"].points == 12
    assert result.marks["Q2.5"].points == 0
    assert "trained again gives plain 0.8" in result.marks["Q2.5"].message


# --- without a sandbox ---------------------------------------------------------------


def test_without_bubblewrap_nothing_is_run_and_the_remedy_is_said(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(sandbox.NoSandboxError, match="apt-get install bubblewrap"):
        sandbox.check()
    (tmp_path / "anna").mkdir()
    monkeypatch.setattr("sys.argv", ["grade", str(tmp_path)])
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="TRUST=1 runs without it"):
        grade.main()


def test_a_bubblewrap_that_may_not_start_is_said_to_be(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text(
        "#!/bin/sh\necho 'No permissions to create namespace' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(sandbox.NoSandboxError, match="No permissions to create names"):
        sandbox.check()


as_root = pytest.mark.skipif(
    not CONFINED or os.geteuid() != 0, reason="needs root and a sandbox"
)


@as_root
def test_what_is_for_root_alone_is_named_with_the_remedy(monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.touch(mode=0o600)
    monkeypatch.setattr(sandbox, "WORKER", worker)
    with pytest.raises(sandbox.NoSandboxError, match=r"worker\.py.*chmod -R go\+rX"):
        sandbox.check()


@as_root
def test_the_edition_can_be_read_inside_whatever_the_umask():
    mask = os.umask(0o077)
    try:
        private = grade.Grader(ROOT, SHORT)
    finally:
        os.umask(mask)
    modes = [path.stat().st_mode & 0o005 for path in private.folder.iterdir()]
    assert len(modes) > 3
    assert all(modes), modes
    assert all(path.stat().st_mode & 4 for path in private.folder.rglob("*.py"))


def test_no_folder_named_is_said(monkeypatch):
    monkeypatch.setattr("sys.argv", ["grade", ""])
    with pytest.raises(SystemExit, match="make grade SUBMISSIONS=folder"):
        grade.main()


def test_no_jobs_are_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["grade", "--jobs", "0", "handed_in"])
    with pytest.raises(SystemExit, match="^JOBS must be 1 or more"):
        grade.main()


def test_a_checkout_that_cannot_be_written_to_is_said(monkeypatch):
    def refuse(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("sys.argv", ["grade", "handed_in"])
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SystemExit, match=r"^grades cannot be written \(Permission"):
        grade.main()


def test_with_trust_it_runs_without():
    grader = grade.Grader(ROOT, SHORT, trust=True)
    result = graded(
        grader, "import os\nprint('HOME', os.getcwd() == os.environ['HOME'])"
    )
    assert points(result) == NUMPY
    assert "HOME True" in outputs(result)


# --- what is handed in ---------------------------------------------------------------


def notebook_of(text: str) -> bytes:
    return nbformat.writes(new_notebook(cells=[new_code_cell(text)])).encode()


def test_a_folder_a_student_is_found_whatever_the_names(tmp_path):
    for name in (
        "anna/a.ipynb",
        "bo/deep/er/Übung (1).IPYNB",
        "cy/.ipynb_checkpoints/x",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(notebook_of(name))
    (tmp_path / "cy/.ipynb_checkpoints/x.ipynb").write_bytes(b"old")
    (tmp_path / "dee").mkdir()
    (tmp_path / "dee/work.ipynb").symlink_to(tmp_path / "anna/a.ipynb")
    (tmp_path / "eve").symlink_to(tmp_path / "anna")
    (tmp_path / "loose.ipynb").write_bytes(b"loose")
    old, new = (tmp_path / "anna" / name for name in ("older.ipynb", "a.ipynb"))
    old.write_bytes(b"old")
    os.utime(old, (1, 1))
    found = {s.student: s for s in submissions.find(tmp_path)}
    assert list(found) == ["anna", "bo", "cy", "dee", "loose"]
    assert found["anna"].content == new.read_bytes()
    assert found["bo"].name == "Übung (1).IPYNB"
    assert "no notebook" in found["cy"].problem
    assert "no notebook" in found["dee"].problem


@pytest.mark.parametrize("top", ["", "Assignment 1/"])
def test_a_zip_of_folders_is_the_same(tmp_path, top):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{top}Ana Ćosić_12_file_/x.ipynb", notebook_of("1"))
        archive.writestr(f"{top}Bo_13_file_/y.ipynb", notebook_of("2"))
        archive.writestr("__MACOSX/Bo/._y.ipynb", b"junk")
        archive.writestr(f"{top}../../evil/z.ipynb", notebook_of("3"))
        archive.writestr(f"{top}Bo_13_file_/a/b/c.txt", b"")
        archive.mkdir(f"{top}Cy_14_file_")
    found = {s.student: s for s in submissions.find(path)}
    assert list(found) == ["Ana Ćosić_12_file_", "Bo_13_file_", "Cy_14_file_"]
    assert b'"2"' in found["Bo_13_file_"].content
    assert "no notebook" in found["Cy_14_file_"].problem


def test_a_folder_around_all_folders_does_not_matter(tmp_path):
    for name in ("Ana", "Bo/version 2"):
        folder = tmp_path / "Assignment 1" / name
        folder.mkdir(parents=True)
        (folder / "x.ipynb").write_bytes(notebook_of(name))
    for name in ("Assignment 1/Cy", "Assignment 1/.git/objects"):
        (tmp_path / name).mkdir(parents=True)
    found = {s.student: s for s in submissions.find(tmp_path)}
    assert list(found) == ["Ana", "Bo", "Cy"]
    assert b"Bo" in found["Bo"].content
    assert "no notebook" in found["Cy"].problem


def test_the_folder_of_one_student_is_none_around_all(tmp_path):
    for name in ("work", "helpers", "data", ".git/objects"):
        (tmp_path / "anna" / name).mkdir(parents=True)
    (tmp_path / "anna" / "work" / "x.ipynb").write_bytes(notebook_of("1"))
    [found] = submissions.find(tmp_path)
    assert (found.student, found.name) == ("anna", "x.ipynb")


def test_no_student_has_the_name_of_the_reference(tmp_path):
    (tmp_path / f"{kept.REFERENCE}.ipynb").write_bytes(notebook_of("1"))
    with pytest.raises(ValueError, match="give it another name"):
        submissions.find(tmp_path)


def test_the_zip_of_a_single_student_and_of_loose_notebooks(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("/anna/work.ipynb", notebook_of("1"))
        archive.writestr("bo_12_34_work.ipynb", notebook_of("2"))
        archive.writestr("readme.txt", b"")
    assert [s.student for s in submissions.find(path)] == ["anna", "bo_12_34_work"]


def test_the_zip_of_one_student_with_all_that_was_handed_out(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("anna/work.ipynb", notebook_of("1"))
        archive.writestr("anna/helpers/data.py", b"")
        archive.writestr("anna/data/mnist.npz", b"")
    assert [s.student for s in submissions.find(path)] == ["anna"]


def test_the_handed_out_notebook_beside_ones_own_does_not_count(tmp_path):
    edition = assignment.student(SOURCE)
    (tmp_path / "anna").mkdir()
    own, empty = (tmp_path / "anna" / name for name in ("a.ipynb", "z.ipynb"))
    own.write_bytes(notebook_of("mine"))
    empty.write_text(nbformat.writes(edition))
    os.utime(own, (1, 1))
    assert submissions.find(tmp_path, edition)[0].name == "a.ipynb"
    own.unlink()
    assert submissions.find(tmp_path, edition)[0].name == "z.ipynb"


def test_an_empty_notebook_beside_ones_own_does_not_count(tmp_path):
    (tmp_path / "anna").mkdir()
    own, empty = (tmp_path / "anna" / name for name in ("a.ipynb", "Untitled.ipynb"))
    own.write_bytes(notebook_of("mine"))
    empty.write_bytes(notebook_of(""))
    os.utime(own, (1, 1))
    assert submissions.find(tmp_path)[0].name == "a.ipynb"
    assert submissions.find(tmp_path)[0].notebooks == 1


def test_notebooks_of_several_students_in_one_folder_are_counted(tmp_path):
    (tmp_path / "all").mkdir()
    for name in ("anna", "bo", "carl"):
        (tmp_path / "all" / f"{name}.ipynb").write_bytes(notebook_of(name))
    [found] = submissions.find(tmp_path)  # they could be one student's
    assert (found.student, found.notebooks) == ("all", 3)
    assert len(submissions.find(tmp_path / "all")) == 3


def test_names_of_other_encodings_stay_apart_and_are_printed_on_one_line(tmp_path):
    for name in (b"M\xfcller", b"M\xf6ller", b"a\rb"):
        folder = tmp_path / os.fsdecode(name)
        folder.mkdir()
        (folder / "x.ipynb").write_bytes(notebook_of("1"))
    found = [s.student for s in submissions.find(tmp_path)]
    assert len(found) == 3
    assert "a%0db" in found
    assert all(name.isprintable() and name.encode() for name in found)


def test_entries_of_a_zip_stay_below_it(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("//evil/x.ipynb", notebook_of("1"))
        archive.writestr("anna/x.ipynb", notebook_of("2"))
    assert [s.student for s in submissions.find(path)] == ["anna", "evil"]


def test_a_notebook_of_a_million_cells_is_not_read():
    cells = b",".join([b'{"cell_type": "raw", "metadata": {}, "source": ""}'] * 2_001)
    content = b'{"cells": [' + cells + b'], "metadata": {}, "nbformat": 4}'
    with pytest.raises(submissions.UnreadableError, match="more than 2,000 cells"):
        submissions.read(submissions.Submission("anna", "x.ipynb", content))


def test_a_kernel_that_did_not_start_is_nobodys_mistake(grader, monkeypatch):
    ending = sandbox.Ending(why="the kernel did not respond")
    monkeypatch.setattr(sandbox, "run", lambda *_, **__: ending)
    result = graded(grader)
    assert result.version == ""  # it is tried again
    assert "the kernel did not respond" in result.note


def test_a_damaged_archive_costs_nobody_but_its_owner(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("anna/work.ipynb", notebook_of("1" * 500))
        archive.writestr("bo/work.ipynb", notebook_of("2"))
    content = bytearray(path.read_bytes())
    content[60:70] = b"\xff" * 10
    path.write_bytes(content)
    anna, bo = submissions.find(path)
    assert "unreadable" in anna.problem
    assert bo.content
    path.write_bytes(bytes(content[:-5]) + b"PK\5\6\0\0")
    with pytest.raises(ValueError, match="zip"):
        submissions.find(path)


def test_a_students_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """As by a user who may not: root may read any."""
    closed, may = tmp_path / "ada", Path.iterdir
    closed.mkdir()

    def iterdir(path):
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return may(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(ValueError, match=r"ada cannot be read \(Permission denied\)"):
        submissions.find(tmp_path)


def test_what_holds_no_submissions_is_said_to_hold_none(tmp_path):
    with pytest.raises(ValueError, match="holds no submissions"):
        submissions.find(tmp_path)
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        submissions.find(tmp_path / "nowhere")


def test_essays_are_found_wherever_they_went():
    edition = assignment.student(SOURCE)
    ids = list(assignment.items(SOURCE, "essay"))
    nb = nbformat.from_dict(edition)
    by_id = {assignment.tags(c)[1].get("id"): c for c in nb.cells if "essay" in str(c)}
    by_id["Q1.1"].source = "**Your answer to Q1.1:**\n\nover the batch"
    by_id["Q1.2"].source = "No marker, but the tag: faster"
    by_id["Q1.3"].metadata.pop("tags")
    by_id["Q1.3"].source += "\n\nγ undoes it"
    by_id["Q2.6"].cell_type = "code"
    by_id["Q2.6"].source = "Your answer to Q2.6: it helped"
    at = nb.cells.index(by_id["Q1.1"])
    nb.cells.insert(at + 1, new_markdown_cell("and going on below"))
    nb.cells.append(new_markdown_cell("**Your answer to Q1.1:** over the batch"))
    nb.cells.remove(by_id["Q3.2"])
    at = next(i for i, c in enumerate(nb.cells) if c.source.startswith("## Q3.2"))
    nb.cells.insert(at + 1, new_markdown_cell("It needs a batch."))
    found = submissions.essays(nb, edition, ids)
    assert found["Q1.1"] == "over the batch\n\nand going on below"
    assert found["Q1.2"] == "No marker, but the tag: faster"
    assert found["Q1.3"] == "γ undoes it"
    assert found["Q2.6"] == "it helped"
    assert found["Q3.2"] == "It needs a batch."
    assert found["Presentation"] == ""


def test_the_handed_out_notebook_has_no_essays():
    edition = assignment.student(SOURCE)
    ids = list(assignment.items(SOURCE, "essay"))
    assert set(submissions.essays(edition, edition, ids).values()) == {""}


# --- scores, sheet, pages ------------------------------------------------------------


def result_of(student: str, nb=None, **essays) -> kept.Result:
    marks = {"Q1.3-forward": Mark(4, 6, "your variance divides by m − 1")}
    ids = assignment.items(SOURCE, "essay")
    texts = dict.fromkeys(ids, "") | {k.replace("_", "."): v for k, v in essays.items()}
    text = json.dumps(nb) if nb is not None else ""
    return kept.Result(student, "work.ipynb", "v", marks, texts, notebook=text)


def test_scores_have_a_row_for_each_item_and_no_formulas(tmp_path):
    kept.write_scores([result_of("=HYPERLINK(1)"), result_of("anna")], tmp_path)
    text = (tmp_path / "scores.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines() == [
        "student,item,points,of,message",
        "'=HYPERLINK(1),Q1.3-forward,4,6,your variance divides by m − 1",
        "anna,Q1.3-forward,4,6,your variance divides by m − 1",
    ]


@pytest.mark.parametrize(
    "student", ["'t Hart", "=1", "a;=b", "a; +c(1)", "黄" * 120, "a" * 250]
)
def test_any_name_can_be_kept_and_marked(tmp_path, student):
    results = [result_of(student), result_of(student + "b"), result_of("anna")]
    for result in results:
        kept.save(result, tmp_path)
    assert kept.load(tmp_path, student) == results[0]
    assert {r.student for r in kept.every(tmp_path)} == {r.student for r in results}
    feedback.feedback(ROOT, tmp_path, results)
    assert len(list((tmp_path / "pages").iterdir())) == 3
    sheet = tmp_path / "essays.csv"
    rows = list(csv.reader(sheet.read_text(encoding="utf-8-sig").splitlines()[:2]))
    assert kept.uncell(rows[1][1]) == student
    text = sheet.read_text(encoding="utf-8-sig")
    cell = next(csv.reader([text.splitlines()[1]]))[1]
    text = text.replace(f"Q1.1,{cell},,5,", f"Q1.1,{cell},4,5,'tis good", 1)
    sheet.write_text(text, encoding="utf-8-sig")
    for _ in range(2):
        feedback.feedback(ROOT, tmp_path, results)
    essay = feedback.read_sheet(tmp_path, assignment.items(SOURCE, "essay"))
    assert essay[student, "Q1.1"] == feedback.Essay(4, "'tis good")


@pytest.mark.parametrize("break_", [";", "\n", "\t", "; \n", "\r\n"])
@pytest.mark.parametrize("formula", ["=HYPERLINK(1)", "@SUM(1)", "+cmd|' /C calc'!A0"])
def test_no_part_of_a_cell_is_a_formula(break_, formula):
    own = f"mine{break_}{formula}"
    text = kept.cell(own)
    assert text == f"mine{break_}'{formula}"
    assert kept.cell(text) == text
    assert kept.uncell(text) == own
    listed = f"mine{break_}- an item{break_}-0.3"
    assert kept.cell(listed) == listed


def test_a_text_of_empty_lines_takes_no_hours():
    assert kept.cell("a" + "\n" * 1_000_000 + "=b").endswith("\n'=b")


def test_what_is_printed_of_a_student_commands_no_terminal():
    result = result_of("\x1b[2Janna\x9b\n" + 500 * "b")
    line = grade.summary(result)
    assert line.isprintable()
    assert len(line) < 200


def test_a_finished_submission_is_not_graded_again(grader, tmp_path, monkeypatch):
    submission = handed_in([new_code_cell("1")], "anna")
    before = kept.Result("anna", "", grader.version_of(submission), {}, {})
    kept.save(before, tmp_path)
    monkeypatch.setattr(grader, "grade", lambda submission: pytest.fail("graded again"))
    assert grade.grade_all([submission], grader, tmp_path, jobs=1) == [before]
    changed = handed_in([new_code_cell("2")], "anna")
    assert grader.version_of(changed) != before.version
    kept.path_of(tmp_path, "anna").write_text("{damaged")
    assert kept.load(tmp_path, "anna") is None


def test_the_sheet_keeps_what_was_filled_in_and_totals_follow(tmp_path):
    results = [result_of("anna", Q1_1="=over the batch"), result_of("Bö")]
    feedback.feedback(ROOT, tmp_path, results)
    sheet = tmp_path / "essays.csv"
    text = sheet.read_text(encoding="utf-8-sig")
    assert "Q1.1,anna,,5,,'=over the batch," in text
    guide = feedback.marking(ROOT)
    for item, beginning in {"Q1.1": "5: ", "Q2.6": "These add up. 2: "}.items():
        of = assignment.items(SOURCE, "essay")[item]
        told = [
            f"{earned:g}: {words}" for earned, words in feedback.rows(guide[item], of)
        ]
        assert f"{beginning}{told[0][3:]} {' '.join(told[1:])}" in text
    filled = text.replace("Q1.1,anna,,5,,", 'Q1.1,anna,"3,5",5,good,')
    sheet.write_text(filled, encoding="utf-8-sig")
    for _ in range(2):
        feedback.feedback(ROOT, tmp_path, results)
    assert "Q1.1,anna,3.5,5,good,'=over" in sheet.read_text(encoding="utf-8-sig")
    totals = (tmp_path / "totals.csv").read_text(encoding="utf-8-sig").splitlines()
    assert totals[0].startswith("student,Understanding,Implementation and experiments,")
    assert totals[1].startswith("anna,7.5,0,0,0,7.5,50,Q1.2 ")
    page = (tmp_path / "pages/anna.html").read_text()
    assert "3.5 of 5" in page
    assert "good" in page


def test_what_was_filled_in_stays_when_another_part_of_the_class_is_graded(tmp_path):
    feedback.feedback(ROOT, tmp_path, [result_of("anna")])
    sheet = tmp_path / "essays.csv"
    text = sheet.read_text(encoding="utf-8-sig")
    sheet.write_text(text.replace("Q1.1,anna,,5,,", "Q1.1,anna,4,5,good,"))
    feedback.feedback(ROOT, tmp_path, [result_of("bo")])
    assert "Q1.1,anna,4,5,good" in sheet.read_text(encoding="utf-8-sig")
    feedback.feedback(ROOT, tmp_path, [result_of("anna"), result_of("bo")])
    assert sheet.read_text(encoding="utf-8-sig").count("Q1.1,anna,4,5,good") == 1


def test_names_that_look_like_numbers_outlive_a_spreadsheet(tmp_path):
    """It may take 0123 for 123, and 1-2 for a date, where no apostrophe stands."""
    results = [result_of("0123"), result_of("1-2"), result_of("anna")]
    feedback.feedback(ROOT, tmp_path, results)
    sheet = tmp_path / "essays.csv"
    text = sheet.read_text(encoding="utf-8-sig")
    assert "Q1.1,'0123,,5," in text
    assert "Q1.1,'1-2,,5," in text
    text = text.replace("Q1.1,'0123,,5,", "Q1.1,'0123,4,5,")
    for filled in (text, text.replace("'0123,", "0123,")):  # some show none and drop it
        sheet.write_text(filled, encoding="utf-8-sig")
        feedback.feedback(ROOT, tmp_path, results)
        assert "Q1.1,'0123,4,5," in sheet.read_text(encoding="utf-8-sig")


def test_marks_of_somebody_who_was_not_graded_are_named(tmp_path, capsys):
    feedback.feedback(ROOT, tmp_path, [result_of("0123")])
    sheet = tmp_path / "essays.csv"
    assert "of whom" not in capsys.readouterr().out
    text = sheet.read_text(encoding="utf-8-sig")
    sheet.write_text(text.replace("Q1.1,'0123,,5,", "Q1.1,123,4,5,"), encoding="utf-8")
    feedback.feedback(ROOT, tmp_path, [result_of("0123")])
    assert "essays.csv marks 123, of whom nothing was graded" in capsys.readouterr().out


def test_two_graders_halves_are_joined_and_their_differences_refused(tmp_path):
    head, sheet = f"{','.join(feedback.SHEET)}\n", tmp_path / "essays.csv"
    one, other = "Q1.1,anna,4,5,good,,\n", "Q1.1,anna,,5,,,\n"
    for rows in (one + other, other + one, one + one):
        sheet.write_text(head + rows)
        read = feedback.read_sheet(tmp_path, {"Q1.1": 5})
        assert read == {("anna", "Q1.1"): feedback.Essay(4, "good")}
    sheet.write_text(head + one + one.replace("4", "3"))
    with pytest.raises(ValueError, match="two different marks of anna, Q1.1: leave"):
        feedback.read_sheet(tmp_path, {"Q1.1": 5})


def test_semicolons_of_other_countries_are_read(tmp_path):
    text = 'item;student;points;of;comment;essay;rubric\nQ1.1;anna;4,5;5;"a; b";;\n'
    (tmp_path / "essays.csv").write_text(text)
    read = feedback.read_sheet(tmp_path, {"Q1.1": 5})
    assert read == {("anna", "Q1.1"): feedback.Essay(4.5, "a; b")}


@pytest.mark.parametrize("given", ["6", "-1", "five", "nan"])
def test_points_that_cannot_be_are_refused(tmp_path, given):
    row = f"Q1.1,anna,{given},5,,,\n"
    (tmp_path / "essays.csv").write_text(f"{','.join(feedback.SHEET)}\n{row}")
    with pytest.raises(ValueError, match="anna, Q1.1 has the points .* give 0 to 5"):
        feedback.read_sheet(tmp_path, {"Q1.1": 5})


PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2GwAAAABJ"
    "RU5ErkJggg=="
)


def test_a_page_has_what_was_put_out_and_nothing_that_runs():
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    cell = new_code_cell(f"print({evil!r})")
    shown = {"text/html": evil, "text/plain": "a table", "application/javascript": "x"}
    cell.outputs = [
        new_output("stream", name="stdout", text=evil),
        new_output("display_data", shown),
        new_output("display_data", {"text/html": f"<b>{evil}</b>"}),
        new_output("display_data", {"image/svg+xml": f"<svg>{evil}</svg>"}),
        new_output("display_data", {"image/png": PNG}),
        new_output("display_data", {"image/png": 'x" onerror="alert(3)'}),
        new_output(
            "error", ename="E", evalue=evil, traceback=[evil, "\x1b[31mred\x1b[0m"]
        ),
    ]
    texts = [
        evil,
        "[click](javascript:alert(4)) ![x](http://example.org/spy.png) <iframe src=/>",
        "<style>body{display:none}</style><form><input></form> **bold** $x^2$",
        '<a href="data:text/html,x" onclick="x">y</a><meta http-equiv="refresh">',
        "```{=html}\n<script>1</script>\n```",
    ]
    nb = new_notebook(cells=[cell, *map(new_markdown_cell, texts)])
    html = feedback.page(result_of(f"Eve {evil}", nb), {}, {"Q1.1": 5})
    soup = BeautifulSoup(html, "html.parser")
    assert not soup.select("script, iframe, form, input, object, svg, link, base")
    assert len(soup.select("style")) == 1
    assert len(soup.select("meta[http-equiv]")) == 1
    for tag in soup.find_all():
        assert not [name for name in tag.attrs if name.startswith("on")], tag
        for name in ("href", "src"):
            value = tag.get(name, "https:")
            assert value.startswith(("data:image/png;base64,", "https:")), tag
    assert "default-src 'none'" in html
    text = soup.get_text()
    assert "a table" in text
    assert "bold" in text
    assert "red" in text
    assert "\x1b" not in text
    assert len(soup.select("img[src]")) == 1


def test_long_lines_and_progress_bars_are_shortened():
    cell = new_code_cell("1")
    texts = ["x" * 10**6, "\n", "10 %\r", "20 %\r100 %\n", "done\r\n"]
    cell.outputs = [new_output("stream", name="stdout", text=text) for text in texts]
    html = feedback.body(json.dumps(new_notebook(cells=[cell])))
    text = BeautifulSoup(html, "html.parser").get_text()
    assert "x…" in text
    assert len(text) < 2_000
    cell.outputs = cell.outputs[2:]
    html = feedback.body(json.dumps(new_notebook(cells=[cell])))
    text = BeautifulSoup(html, "html.parser").get_text()
    assert "100 %\ndone" in text
    assert "20 %" not in text


def test_a_page_that_takes_for_ever_is_given_up(monkeypatch):
    monkeypatch.setattr(feedback, "PATIENCE", 1)
    monkeypatch.setattr(feedback, "_rendered", lambda nb: time.sleep(60))
    html = feedback.body(json.dumps(new_notebook(cells=[])))
    assert "cannot be shown here" in html


# --- the whole -----------------------------------------------------------------------


@needs_sandbox
def test_the_reference_solution_gets_full_marks(tmp_path):
    """The only one that trains networks: about two minutes."""
    grader = grade.Grader(ROOT, sandbox.Limits())
    result = grader.grade(grader.reference())
    assert {i: m.message for i, m in result.marks.items() if m.points < m.of} == {}
    assert points(result) == 56
    assert all(result.essays.values())
    assert "Error" not in outputs(result)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("item,student,points,of,comment\n,Jürgen,,,\n".encode("cp1252"), "CSV UTF-8"),
        ("item,student\n".encode("utf-16"), "CSV UTF-8"),
        (b"", "lacks the columns"),
        (b"item,student,points,of,comment\na,b,,,good, but short,\n", "quotation"),
        (b"item,student,points,of,comment,seen by\na,b,,,,me\n", "column seen by"),
    ],
)
def test_a_sheet_that_cannot_be_read_is_named(tmp_path, content, said):
    (tmp_path / "essays.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"essays\.csv.*{said}"):
        feedback.read_sheet(tmp_path, {})


def test_a_comment_without_points_stays_when_another_part_is_graded(tmp_path):
    head = "item\tstudent\tpoints\tof\tcomment\n"
    row = "Q1.1\tAnn Lee\t\t5\task her first\n"  # tabs, as some spreadsheets write
    (tmp_path / "essays.csv").write_text(head + row, encoding="utf-8")
    guide = {"Q1.1": {"full": "a", "half": "b", "none": "c"}}
    feedback.write_sheet([], {"Q1.1": 5}, guide, tmp_path)
    kept_rows = feedback.read_sheet(tmp_path, {"Q1.1": 5})
    assert kept_rows == {("Ann Lee", "Q1.1"): feedback.Essay(None, "ask her first")}
