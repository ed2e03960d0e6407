"""Runs a student's notebook where it can harm nobody, and talks to it over a pipe.

The sandbox is bubblewrap's: no network, no processes but its own, no files but
Python, the student's edition and the data, all read-only, and a home in memory that is
gone when it ends. Nothing is read from its disk: the worker inside
writes lines of JSON, of limited length and number. A guard outside ends it when it
takes too long or too much memory.
"""

import contextlib
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

import psutil

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).with_name("worker.py")
ASKING = ROOT / "assignment" / "asking.py"
HOME, INSIDE, ANSWERS = "/home/student", "/edition", "/answers"
PYTHON = Path(sys.prefix).resolve() / "bin" / "python"
USERS = count()  # of sandboxes started by root; their numbers follow from ours
SYSTEM = (
    *("/usr", "/bin", "/lib", "/lib32", "/lib64"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"),
)
# Reads all that is shown inside, as somebody else where root starts the sandbox.
READ = f"""
import os, nbclient
def refuse(error):
    raise error
for folder, _, names in os.walk("{INSIDE}", onerror=refuse):
    for name in names:
        open(os.path.join(folder, name)).close()
"""
# What a machine calls itself to the kernel, and its calls for keys (add, request, use).
KEY_CALLS = {"x86_64": (0xC000003E, 248), "aarch64": (0xC00000B7, 217)}
GUARD = 0.5  # seconds between two looks
CELLS = 50  # that are named when they were stopped
INSTALL = (
    "bubblewrap is not installed, and without it students' code could read and change "
    "everything you can: `sudo apt-get install bubblewrap` (or your system's package "
    "of that name; Linux only), then run again. TRUST=1 runs without it: only for "
    "notebooks you would run on your own account."
)
BROKEN = (
    "bubblewrap is installed but cannot start a sandbox here ({}): it needs version "
    "0.7 or newer and user namespaces, which containers and some systems forbid "
    "(`sysctl kernel.apparmor_restrict_unprivileged_userns`). Run on a machine that "
    "allows them, or as root. TRUST=1 runs without it: only for notebooks you would "
    "run on your own account."
)
UNREAD = (
    "the sandbox cannot read what it needs ({}): if the repository or its .venv is "
    "for your eyes alone, as after `umask 077`, open it by `chmod -R go+rX .`, and run "
    "again."
)


@dataclass(frozen=True)
class Limits:
    """What one submission may take."""

    cell_seconds: int = 300  # a cell, or one answer
    notebook_seconds: int = 900  # all cells together
    seconds: int = 1800  # one run, hidden cells included
    memory: int = 6 * 2**30  # bytes, of each process and of all together
    disk: int = 256 * 2**20  # bytes of the writable folder, which is in memory
    processes: int = 512  # and threads
    line: int = 64 * 2**20  # bytes that the worker may say at once
    answer: int = 24 * 2**20  # of an answer: four times what four networks take
    said: int = 256 * 2**20  # and in all


@dataclass
class Ending:
    """How a run ended: in order, or in which cell or question, and why."""

    why: str = ""
    cell: int | None = None
    question: str | None = None
    notebook: str | None = None
    stopped: list[tuple[int, str]] = field(default_factory=list)  # cells, and why
    asked: bool = False
    done: bool = False


RUNNING: set[subprocess.Popen] = set()
OVER = threading.Event()  # no sandbox is to start any more


class NoSandboxError(RuntimeError):
    """There is no way to run untrusted code here."""


class OverError(RuntimeError):
    """All sandboxes were ended."""


def check() -> None:
    """Make sure that a sandbox can be started.

    Raises
    ------
    NoSandboxError
        If not; says how to install bubblewrap, or what it lacks.
    """
    if shutil.which("bwrap") is None:
        raise NoSandboxError(INSTALL)
    python = [str(PYTHON), "-c", READ]
    for inside, problem in ((["true"], BROKEN), (python, UNREAD)):
        command = [*_bubblewrap(2**20, ROOT), *_as_nobody(), *inside]
        probe = subprocess.run(command, capture_output=True, text=True)
        if probe.returncode:
            lines = probe.stderr.strip().splitlines() or ["no reason given"]
            raise NoSandboxError(problem.format(lines[-1]))


def run(
    job: Mapping,
    calls: Callable[[str], str],
    hear: Callable[[str, list], None],
    edition: Path,
    limits: Limits,
    *,
    trust: bool = False,
) -> Ending:
    """Run a notebook once, and let it be asked.

    Parameters
    ----------
    job : what `tools.worker` is to do.
    calls : returns the arguments for a question, as JSON.
    hear : takes a question and the answers to it, decoded from JSON.
    edition : folder with `helpers/` and, beside it, `data/`, as students have it.
    limits : when the run is ended.
    trust : run without a sandbox.

    Raises
    ------
    OverError
        If `end_all` was called before or meanwhile.
    """
    processes = None if trust else limits.processes
    caps = {"memory": limits.memory, "file": limits.disk, "processes": processes}
    seconds = {
        "cell_seconds": limits.cell_seconds,
        "notebook_seconds": limits.notebook_seconds,
    }
    first = json.dumps({**job, **seconds, "limits": caps}) + "\n"
    with _started(edition, limits, trust) as process:
        guard = _Guard(process, limits)
        ending = Ending()
        try:
            _send(process, first)
            for line in _lines(process, limits, ending):
                _listen(line, ending, process, calls, hear)
                if ending.done or ending.why:
                    break
        except (ValueError, RecursionError) as error:
            ending.why = str(error)[:200] or type(error).__name__
        finally:
            guard.stop()
        if OVER.is_set():
            raise OverError("all sandboxes were ended")
        if not ending.done:
            ending.why = guard.why or ending.why or "the sandbox ended by itself"
        return ending


def _listen(
    line: bytes,
    ending: Ending,
    process: subprocess.Popen,
    calls: Callable[[str], str],
    hear: Callable[[str, list], None],
) -> None:
    """Act on a line of the worker's; anything may stand in it."""
    said = json.loads(line)
    if b"\\ud" in line.lower():  # half a character could not be written to any file
        whole = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
        said = json.loads(whole)
    if not isinstance(said, dict):
        raise ValueError("the sandbox said something that is not understood")
    if isinstance(said.get("cell"), int) and not ending.asked:
        ending.cell = said["cell"]
    elif isinstance(said.get("stopped"), int) and len(ending.stopped) < CELLS:
        ending.stopped.append((said["stopped"], str(said.get("why"))[:300]))
    elif isinstance(said.get("ask"), str):
        ending.cell, ending.question, ending.asked = None, said["ask"], True
        _send(process, calls(said["ask"]) + "\n")
    elif ending.question is not None and said.get("question") == ending.question:
        answers = said.get("answers")
        if not isinstance(answers, list) or not all(
            isinstance(answer, dict) for answer in answers
        ):
            answers = []
        hear(said["question"], answers)
        ending.question = None
    elif isinstance(said.get("notebook"), str):
        ending.cell, ending.notebook = None, said["notebook"]
    elif isinstance(said.get("died"), str):
        ending.why = said["died"][:300]
    elif said.get("done") is True:
        ending.done = True


def _pipes(process: subprocess.Popen) -> tuple[IO[bytes], IO[bytes]]:
    """Return where the worker listens and where it speaks."""
    assert process.stdin is not None and process.stdout is not None  # see `_started`
    return process.stdin, process.stdout


def _send(process: subprocess.Popen, text: str) -> None:
    pipe, _ = _pipes(process)
    with contextlib.suppress(BrokenPipeError):
        pipe.write(text.encode())
        pipe.flush()


def _lines(
    process: subprocess.Popen, limits: Limits, ending: Ending
) -> Iterator[bytes]:
    _, pipe = _pipes(process)
    left = limits.said
    while line := pipe.readline(limits.answer if ending.asked else limits.line):
        left -= len(line)
        if left < 0 or not line.endswith(b"\n"):
            raise ValueError("it said more than is read")
        yield line


@contextlib.contextmanager
def _started(edition: Path, limits: Limits, trust: bool) -> Iterator[subprocess.Popen]:
    """Start the worker, and end it with all its children."""
    with TemporaryDirectory(prefix="bn-") as folder, TemporaryFile() as calls:
        command = [str(PYTHON), str(WORKER)]
        if not trust:
            calls.write(_no_keys())
            calls.seek(0)
            inside = [str(PYTHON), f"{INSIDE}/tools/{WORKER.name}"]
            first, *walls = _bubblewrap(limits.disk, edition)
            walls = ["--seccomp", str(calls.fileno()), *walls]
            command = [first, *walls, *_as_nobody(), *inside]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=_environment(folder if trust else HOME, edition),
            pass_fds=[] if trust else [calls.fileno()],
            start_new_session=True,
        )
        RUNNING.add(process)
        try:
            if OVER.is_set():  # since `end_all` looked at those that run
                raise OverError("all sandboxes were ended")
            yield process
        finally:
            _end(process)
            RUNNING.discard(process)
            for pipe in _pipes(process):
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def end_all() -> None:
    """End all sandboxes, and let none start again."""
    OVER.set()
    for process in list(RUNNING):
        _end(process)


def _end(process: subprocess.Popen) -> None:
    """Kill a sandbox: its first process takes all others along."""
    with contextlib.suppress(psutil.Error):
        for child in _family(process.pid):
            with contextlib.suppress(psutil.Error):
                child.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _family(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


class _Guard(threading.Thread):
    """Ends a run that takes too long or too much memory, and says which."""

    def __init__(self, process: subprocess.Popen, limits: Limits):
        super().__init__(daemon=True)
        self.process, self.limits, self.why = process, limits, ""
        self._stopped = threading.Event()
        self.start()

    def run(self) -> None:
        late = time.monotonic() + self.limits.seconds
        while not self._stopped.wait(GUARD):
            if time.monotonic() > late:
                self.why = f"no end after {self.limits.seconds} seconds"
            elif _memory(self.process.pid) > self.limits.memory:
                gigabytes = self.limits.memory / 2**30
                self.why = f"more than {gigabytes:g} GB of memory in all"
            if self.why:
                _end(self.process)
                return

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def _memory(pid: int) -> int:
    """Return the bytes that a process and its descendants hold."""
    held = 0
    with contextlib.suppress(psutil.Error):
        for process in _family(pid):
            with contextlib.suppress(psutil.Error):
                held += process.memory_info().rss
    return held


def _environment(home: str, edition: Path) -> dict[str, str]:
    """Return the environment inside: nothing of ours but where Python is."""
    inside = [INSIDE, f"{INSIDE}/tools"]
    paths = inside if home == HOME else [str(edition), str(ASKING.parent)]
    return {
        "HOME": home,
        "BN_ANSWERS": ANSWERS if home == HOME else home,
        "PATH": f"{PYTHON.parent}:/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "MPLCONFIGDIR": f"{home}/.matplotlib",
        "TQDM_DISABLE": "1",
        "LANG": "C.UTF-8",
        "USER": "student",
    }


def _bubblewrap(disk: int, edition: Path) -> list[str]:
    """Return the command that everything inside is started with."""
    command = ["bwrap", "--die-with-parent", "--new-session", "--unshare-pid"]
    # No process of bwrap's own inside: it would hold the worker's pipes, and a
    # notebook of the same user could take them.
    command += ["--as-pid-1"]
    command += ["--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        # Root inside would be root: it becomes somebody else, see `_as_nobody`.
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    # Before what is shown, which may lie below /tmp.
    for place in ("/tmp", "/dev/shm", HOME, ANSWERS):
        command += ["--perms", "1777", "--size", str(disk), "--tmpfs", place]
    for place in SYSTEM:
        command += _shown(Path(place), place)
    for place in (sys.base_prefix, sys.prefix):
        if not place.startswith("/usr"):
            command += _shown(Path(place).resolve(), str(Path(place).resolve()))
    for file in (WORKER, ASKING):
        command += _shown(file, f"{INSIDE}/tools/{file.name}")
    for name in ("helpers", "data"):
        command += _shown(edition / name, f"{INSIDE}/{name}")
    command += ["--chdir", HOME, "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--"]


def _no_keys() -> bytes:
    """Return a filter of system calls that denies the kernel's keyrings.

    They belong to users and sessions, and no namespace parts them: a notebook could
    read the grader's keys, and leave notes for the next one.
    """
    machine, first = KEY_CALLS.get(platform.machine(), (0, 0))
    if not first:
        return struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)  # allow
    steps = [
        (0x20, 0, 0, 4),  # load for which machine the call is
        (0x15, 0, 6, machine),  # another: deny
        (0x20, 0, 0, 0),  # load the call's number
        (0x35, 4, 0, 0x40000000),  # of another interface: deny
        *((0x15, 3 - n, 0, first + n) for n in range(3)),  # a key's: deny
        (6, 0, 0, 0x7FFF0000),  # allow
        (6, 0, 0, 0x50001),  # deny: not permitted
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _shown(source: Path, place: str) -> list[str]:
    """Return what shows a file or folder inside, read-only; its parents to anybody."""
    command = []
    for parent in reversed(Path(place).parents[:-1]):
        command += ["--perms", "0755", "--dir", str(parent)]
    return [*command, "--ro-bind-try", str(source), place]


def _as_nobody() -> list[str]:
    """Return what root puts before a command, so that it runs as a user of its own.

    Limits on the number of processes do not hold for root, and hold for all processes
    of a user together.
    """
    if os.geteuid():
        return []
    # Far from all accounts, and another for each sandbox of each grader.
    user = str(2**30 + os.getpid() % 2**20 * 2**10 + next(USERS) % 2**10)
    return ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
