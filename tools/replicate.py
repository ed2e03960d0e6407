"""Make the studies again and again, each time with other seeds and other images.

A replication is a whole study made again: other initial weights and orders, another
training subset and validation split, its own choice of rates. Replication r runs a copy
of each notebook that tries claims with ``first_seed = 100 r``; what it finds is written
to ``record/`` as soon as it is there, and a second call runs only what is missing or
was made by other code. Claims on time are left out: their values are the machine's.

Several machines that share a checkout can work together. On one of them start
``.venv/bin/dask scheduler``; it prints its address. On each of them, in the checkout,
start ``.venv/bin/dask worker tcp://… --nthreads 1``, once for each two cores. Then
``make replicate SCHEDULER=tcp://…`` hands the jobs out. Any cluster that Dask reaches
will do. A worker that dies costs its job one more try.
"""

import argparse
import ast
import asyncio
import copy
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import joblib
import pandas as pd
from joblib.externals.loky.process_executor import TerminatedWorkerError
from nbformat import NotebookNode
from tqdm import tqdm

from helpers import claims, files
from tools import cores, notebooks

BLOCK = 100  # first seeds are this far apart
# A plain number and nothing else: part of an expression must not be replaced.
ASSIGNMENT = re.compile(
    r"^(first_seed[ \t]*=[ \t]*)(\d+(?:_\d+)*)(?=[ \t]*(?:#.*)?$)", re.MULTILINE
)
# What decides no number of a study: how it is judged, drawn, saved and shown.
INDIFFERENT = (
    *("__init__", "claims", "explorable", "files", "plotting", "quiet", "showing"),
)
SCOPES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
JOBS = ["notebook", "replication", "code", "helpers"]
DEMONSTRATION = "demonstration"
DIED = "the worker that ran it died"


@dataclass(frozen=True)
class Job:
    """One notebook in one replication."""

    notebook: str
    replication: int

    def __str__(self) -> str:
        """Name both."""
        return f"{self.notebook}, replication {self.replication}"


@dataclass(frozen=True)
class Outcome:
    """What a job came to: rows of ``record/effects.csv``, or why there are none."""

    job: Job
    effects: pd.DataFrame | None = None
    failure: str = ""


# --- what is to be done --------------------------------------------------------------


def read_replications(text: str) -> list[int]:
    """Return replications, written as in "0-9" or "0,3,5-7", each once, in order.

    Raises
    ------
    ValueError
        If it is written in another way.
    """
    found: set[int] = set()
    for part in text.replace(",", " ").split():
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not ends or int(ends[2] or ends[1]) < int(ends[1]):
            raise ValueError(
                f"REPLICATIONS: {part!r} is no number or range from 0: write them as "
                'in REPLICATIONS="0-9" or "0,3,5-7".'
            )
        found |= set(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    if not found:
        raise ValueError('REPLICATIONS names none: write them as in "0-9".')
    return sorted(found)


def choose(names: Sequence[str], registered: claims.Registry) -> list[str]:
    """Return the notebooks named, or all that try claims a record can hold.

    Raises
    ------
    ValueError
        If one of those named tries none.
    """
    every = [
        claim.notebook
        for claim in registered.claims.values()
        if claim.unit != claims.MEASURED_ANEW
    ]
    every = sorted(set(every))
    chosen = [Path(name).stem for name in names]
    for name in chosen:
        if name not in every:
            raise ValueError(
                f"{name} tries no claim that can be replicated: name a notebook of "
                f"{', '.join(every)}."
            )
    return [name for name in every if name in chosen or not chosen]


def with_first_seed(nb: NotebookNode, seed: int) -> NotebookNode:
    """Return a copy of a notebook with another ``first_seed``.

    Cells tagged ``demonstration`` try no claim and are left out.

    Raises
    ------
    ValueError
        If no cell tagged ``parameters`` sets it to a number.
    """
    nb, found = copy.deepcopy(nb), 0
    nb.cells = [c for c in nb.cells if DEMONSTRATION not in c.metadata.get("tags", [])]
    for cell in notebooks.code_cells(nb):
        if "parameters" in cell.metadata.get("tags", []):
            cell.source, n = ASSIGNMENT.subn(rf"\g<1>{seed}", cell.source)
            found += n
    if not found:
        raise ValueError(
            "it has no line 'first_seed = <number>' in a cell tagged 'parameters': add "
            "it there, and take all seeds from it"
        )
    return nb


def code_of(root: Path, notebook: str) -> tuple[str, str]:
    """Return fingerprints of a notebook's code and of the helpers that decide numbers.

    Comments, docstrings, the way a line is broken and what is only shown do not count.
    """
    nb = notebooks.read(root / "notebooks" / f"{notebook}.ipynb")
    cells = [
        with_no_words(cell.source)
        for cell in notebooks.code_cells(with_first_seed(nb, 0))
        if "set-up" not in cell.metadata.get("tags", [])
    ]
    paths = sorted((root / "helpers").glob("*.py"))
    modules = [
        with_no_words(path.read_text(encoding="utf-8"))
        for path in paths
        if path.stem not in INDIFFERENT
    ]
    return fingerprint(cells), fingerprint(modules)


def with_no_words(source: str) -> str:
    """Return source without comments, docstrings and calls that only show something."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, SCOPES) and ast.get_docstring(node, clean=False):
            node.body[0] = ast.Pass()
        for name, body in ast.iter_fields(node):
            if name in ("body", "orelse") and isinstance(body, list):
                body[:] = [ast.Pass() if _only_shows(part) else part for part in body]
    return ast.unparse(tree)


def _only_shows(statement: ast.AST) -> bool:
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return False
    called = ast.unparse(statement.value.func)
    return called in ("print", "display") or called.startswith("showing.show")


def fingerprint(texts: Sequence[str]) -> str:
    """Return a short text that differs wherever the texts do."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


# --- the record ----------------------------------------------------------------------


class Record:
    """The folder ``record/``: effects, verdicts, and which code made them.

    Raises
    ------
    ValueError
        If a file in it is damaged.
    """

    def __init__(self, root: Path, registered: claims.Registry):
        self.root, self.folder = root, root / "record"
        self.registered = registered
        self.effects = claims.read_effects(self.folder / "effects.csv")
        self.jobs = self._read_jobs()

    def _read_jobs(self) -> pd.DataFrame:
        path = self.folder / "jobs.csv"
        if not path.is_file():
            return pd.DataFrame(columns=JOBS)
        frame = pd.read_csv(path, dtype=str)
        if list(frame.columns) != JOBS or frame.isna().any(axis=None):
            raise ValueError(
                "record/jobs.csv is damaged: restore it with `git checkout -- record`, "
                "or remove record/ and run again."
            )
        return frame.astype({"replication": int})

    def has(self, job: Job, code: tuple[str, str]) -> bool:
        """Whether the job is done, by this code."""
        row = [job.notebook, job.replication, *code]
        return (self.jobs == row).all(axis=1).any()

    def add(self, outcome: Outcome, code: tuple[str, str]) -> None:
        """Put a job's values in the place of what it found before, and write it all."""
        job = outcome.job
        self.effects = pd.concat(
            [self.effects[~_of(self.effects, job)], outcome.effects], ignore_index=True
        )
        row = pd.DataFrame([[job.notebook, job.replication, *code]], columns=JOBS)
        self.jobs = pd.concat([self.jobs[~_of(self.jobs, job)], row])
        self.write()

    def sign(self, codes: Mapping[str, tuple[str, str]]) -> None:
        """Say that other code of some notebooks would have found the same."""
        for notebook, code in codes.items():
            self.jobs.loc[self.jobs["notebook"] == notebook, JOBS[2:]] = code
        self.write()

    def write(self) -> None:
        """Write all files, each whole; last the one that says which jobs are done."""
        place = {key: index for index, key in enumerate(self.registered.claims)}
        self.effects = self.effects[self.effects["claim"].isin(place)]
        order = self.effects["claim"].map(place)
        self.effects = (
            self.effects.assign(place=order)
            .sort_values(["notebook", "replication", "place", "seed"])
            .drop(columns="place")
        )
        self.jobs = self.jobs.sort_values(["notebook", "replication"])
        verdicts = claims.judge(self.effects, self.registered)
        self.folder.mkdir(exist_ok=True)
        for name, frame in {
            "effects": self.effects,
            "verdicts": verdicts,
            "jobs": self.jobs,
        }.items():
            text = frame.to_csv(index=False, lineterminator="\n")
            files.write(self.folder / f"{name}.csv", text.encode())


def _of(frame: pd.DataFrame, job: Job) -> pd.Series:
    same = frame["notebook"] == job.notebook
    return same & (frame["replication"] == job.replication)


# --- running -------------------------------------------------------------------------


def run(job: Job, wanted: Sequence[str], root: Path, n_jobs: int) -> Outcome:
    """Run a copy of a notebook in a kernel and a scratch folder of its own."""
    # One processor each, however many jobs there are: the number of threads changes
    # trained numbers.
    with cores.own(max(n_jobs, cores.number())) as processors:
        outcome = _run_once(job, wanted, root, processors)
        if outcome.failure == DIED:
            outcome = _run_once(job, wanted, root, processors)
    return outcome


def _run_once(
    job: Job, wanted: Sequence[str], root: Path, processors: set[int] | None
) -> Outcome:
    path = root / "notebooks" / f"{job.notebook}.ipynb"
    try:
        nb = with_first_seed(notebooks.read(path), BLOCK * job.replication)
    except ValueError as error:
        return Outcome(job, failure=str(error))
    with notebooks.scratch(root) as folder:
        plots = folder / "plots"
        (plots / job.notebook / "effects.csv").unlink(missing_ok=True)
        failure = asyncio.run(
            notebooks.execute(nb, path.parent, plots, processors=processors)
        )
        if failure and "DeadKernelError" in failure:
            return Outcome(job, failure=DIED)
        if failure:
            return Outcome(job, failure=failure)
        try:
            found = pd.read_csv(plots / job.notebook / "effects.csv")
        except FileNotFoundError:
            return Outcome(job, failure="it saved no effects.csv: it tried no claim")
    missing = sorted(set(wanted) - set(found["claim"]))
    if missing:
        return Outcome(job, failure=f"it did not try {', '.join(missing)}")
    found = found[found["claim"].isin(wanted)]
    found = found.assign(replication=job.replication, notebook=job.notebook)
    return Outcome(job, found[claims.EFFECTS])


def outcomes(
    jobs: Sequence[Job], registered: claims.Registry, root: Path, n_jobs: int
) -> Iterator[Outcome]:
    """Run jobs in processes, or where a scheduler has them run; yield each as done."""
    wanted = {
        job.notebook: [
            claim.key
            for claim in registered.claims.values()
            if claim.notebook == job.notebook and claim.unit != claims.MEASURED_ANEW
        ]
        for job in jobs
    }
    pending = list(jobs)
    for _ in range(2):
        parallel = joblib.Parallel(n_jobs, return_as="generator_unordered")
        one = joblib.delayed(run)
        calls = [one(job, wanted[job.notebook], root, n_jobs) for job in pending]
        try:
            for outcome in parallel(calls):
                pending.remove(outcome.job)
                yield outcome
        except TerminatedWorkerError:  # it takes all other workers with it
            continue
        return
    for job in pending:
        yield Outcome(job, failure=DIED)


def replicate(
    root: Path,
    names: Sequence[str],
    replications: Sequence[int],
    n_jobs: int,
    same_numbers: bool,
) -> int:
    """Run what is missing, write each finished job at once; return how many failed."""
    registered = claims.registry(root / "claims.toml")
    chosen, record = choose(names, registered), Record(root, registered)
    codes = {notebook: code_of(root, notebook) for notebook in chosen}
    if same_numbers:
        record.sign(codes)
    every = [Job(notebook, r) for r in replications for notebook in chosen]
    jobs = [job for job in every if not record.has(job, codes[job.notebook])]
    print(f"{len(every)} jobs, {len(every) - len(jobs)} of them on record", flush=True)
    failed = 0
    with tqdm(total=len(jobs), unit="job", file=sys.stdout, disable=None) as bar:
        for outcome in outcomes(jobs, registered, root, n_jobs):
            if outcome.effects is None:
                failed += 1
                bar.write(f"FAILED: {outcome.job}: {outcome.failure}")
            else:
                record.add(outcome, codes[outcome.job.notebook])
                bar.write(f"{outcome.job}: done")
            bar.update()
            sys.stdout.flush()
    if not jobs:
        record.write()  # the registry's words or the rule may have changed
    return failed


@contextmanager
def cluster(address: str, n_jobs: int) -> Iterator[int]:
    """Have joblib hand jobs to a scheduler, if there is one; yield how many at once.

    Raises
    ------
    ValueError
        If Dask is not installed, or nobody answers at the address.
    """
    if not address:
        yield n_jobs
        return
    try:
        from distributed import Client

        client = Client(address, timeout="10s")
    except ImportError:
        raise ValueError(
            "Dask is not installed: run .venv/bin/pip install -r "
            "requirements-cluster.txt on each machine."
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no scheduler answers at {address} ({error}): start `dask scheduler` and "
            "give the address it prints."
        ) from None
    with client, joblib.parallel_config("dask", client=client):
        yield -1


def main() -> None:
    """Make what is missing of the record; fail when a job failed."""
    parser = argparse.ArgumentParser(prog="tools.replicate", description=main.__doc__)
    parser.add_argument("notebooks", nargs="*")
    parser.add_argument("--replications", default="0-9", help='as in "0-9"')
    parser.add_argument("--jobs", type=int, default=1, help="notebooks at a time")
    parser.add_argument("--scheduler", default="", help="address of a Dask scheduler")
    parser.add_argument(
        "--same-numbers",
        action="store_true",
        help="code changed but no number did, as you have seen: keep the record",
    )
    arguments = parser.parse_args()
    said = "Interrupted: what was finished is in record/; run again to go on."
    try:
        if arguments.jobs < 1:
            raise ValueError(f"JOBS must be 1 or more, not {arguments.jobs}.")
        replications = read_replications(arguments.replications)
        with (
            notebooks.said_clearly(said),
            cluster(arguments.scheduler, arguments.jobs) as n_jobs,
        ):
            failed = replicate(
                notebooks.ROOT,
                arguments.notebooks,
                replications,
                n_jobs,
                arguments.same_numbers,
            )
    except ValueError as error:
        sys.exit(str(error))
    if failed:
        sys.exit(f"{failed} jobs failed; all others are in record/.")


if __name__ == "__main__":
    main()
