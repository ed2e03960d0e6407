"""Keep what runs side by side to processors of its own.

Two notebooks that share two processors, each with threads for both, get in each other's
way: kept to one processor each, the same two end a fifth sooner.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own(n_jobs: int) -> Iterator[set[int] | None]:
    """Yield the processors that one of so many jobs may have to itself.

    None where all are taken, or where the system (not Linux) cannot tell. They are
    free again when the context ends, or the process.
    """
    try:
        import fcntl

        available = sorted(os.sched_getaffinity(0))
    except (ImportError, AttributeError):
        yield None
        return
    for first in range(min(n_jobs, len(available))):
        share = available[first::n_jobs]
        which = hashlib.sha256(str(share).encode()).hexdigest()[:16]  # of hundreds, too
        name = f"bn-{os.getuid()}-{which}.lock"
        with (Path(tempfile.gettempdir()) / name).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            yield set(share)
            return
    yield None


def number() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def keep(process: int, processors: set[int] | None) -> None:
    """Keep a process, and the threads it starts from now on, to some processors."""
    if processors is not None:
        os.sched_setaffinity(process, processors)
