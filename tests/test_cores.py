"""Jobs side by side have processors of their own, and give them back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import cores

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="only Linux tells"
)


@pytest.fixture(autouse=True)
def four(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7, 9})
    monkeypatch.setattr(cores.tempfile, "gettempdir", lambda: str(tmp_path))


def test_two_jobs_share_the_processors_and_a_third_goes_without():
    with cores.own(2) as one, cores.own(2) as other, cores.own(2) as third:
        assert (one, other, third) == ({3, 7}, {5, 9}, None)
    with cores.own(2) as again:
        assert again == {3, 7}


def test_one_job_has_all_and_many_have_one_each():
    with cores.own(1) as one:
        assert one == {3, 5, 7, 9}
    with cores.own(9) as one, cores.own(9) as other:
        assert (one, other) == ({3}, {5})


def test_all_that_may_be_used_are_counted():
    assert cores.number() == 4


def test_a_process_that_ends_gives_its_processors_back(tmp_path):
    script = (
        "import os, tempfile; from tools import cores;"
        "os.sched_getaffinity = lambda _: {3, 5};"
        f"tempfile.tempdir = {str(tmp_path)!r};"
        "mine = cores.own(2); print(mine.__enter__(), flush=True); os._exit(1)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.stdout == "{3}\n", ran.stderr
    with cores.own(2) as one:
        assert one == {3, 7}


def test_a_process_is_kept_where_it_belongs():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    status = Path(f"/proc/{child.pid}/status")
    before = status.read_text()
    cores.keep(child.pid, None)
    allowed = [line for line in before.splitlines() if "Cpus_allowed_list" in line]
    assert allowed[0] in status.read_text()
    cores.keep(child.pid, {0})
    assert "Cpus_allowed_list:\t0\n" in status.read_text()
    child.communicate(b"\n")


def test_a_machine_may_have_hundreds_of_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(512)))
    with cores.own(1) as mine:
        assert mine == set(range(512))
