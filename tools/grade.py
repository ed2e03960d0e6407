"""Grades the notebooks students handed in: ``build/grades/``.

Each runs in a sandbox of its own and is asked hidden questions there; what comes back
is judged here. What is finished is kept: an interrupted run goes on where it stopped.
"""

import argparse
import hashlib
import json
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from assignment import asking
from assignment.exam import Exam
from assignment.marks import Mark
from tools import assignment, feedback, kept, notebooks, sandbox, submissions

ATTEMPTS = 4  # runs of a notebook whose cells end its kernel
LONGEST = 1_000  # characters of a message: a student's words may stand in it
WIDTH = 160  # characters of what a line says of a student
JUDGES = ("assignment/*.py", "assignment/assignment.ipynb", "tools/worker.py")


class Grader:
    """Grades submissions against one source notebook.

    Parameters
    ----------
    root : top folder of the repository.
    limits : what a submission may take.
    trust : run without a sandbox.
    """

    def __init__(self, root: Path, limits: sandbox.Limits, *, trust: bool = False):
        self.source = notebooks.read(root / "assignment" / assignment.NAME)
        self.edition = assignment.student(self.source)
        self.hidden = assignment.hidden(self.source)
        self.points = assignment.items(self.source, "hidden")
        self.essays = assignment.items(self.source, "essay")
        self.limits, self.trust = limits, trust
        self._folder = TemporaryDirectory(prefix="bn-edition-")
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        assignment.unpack(root, self.folder)
        paths = sorted(path for pattern in JUDGES for path in root.glob(pattern))
        self.version = hashlib.sha256(b"".join(p.read_bytes() for p in paths))

    def version_of(self, submission: submissions.Submission) -> str:
        """Return what changes when the notebook, or anything that judges it, does."""
        version = self.version.copy()
        version.update(submission.content + submission.problem.encode())
        return version.hexdigest()

    def grade(self, submission: submissions.Submission) -> kept.Result:
        """Run, ask and judge one submission; what goes wrong is noted in the result."""
        start = time.monotonic()
        try:
            result = self._judged(submission)
        except submissions.UnreadableError as error:
            result = self._unread(submission, str(error))
        except Exception as error:  # ours: the class goes on, and it is tried again
            problem = f"the grader failed here ({type(error).__name__}: {error})"
            result = replace(self._unread(submission, problem), version="")
        return replace(result, seconds=round(time.monotonic() - start, 1))

    def _judged(self, submission: submissions.Submission) -> kept.Result:
        nb = submissions.read(submission)
        exam, executed, attempts = self._examine(nb)
        return kept.Result(
            submission.student,
            submission.name,
            self.version_of(submission),
            self._scaled(exam.marks()),
            submissions.essays(nb, self.edition, list(self.essays)),
            note=attempts[-1] if attempts and executed is None else "",
            notebook=json.dumps(_as_run(nb, executed)),
            attempts=attempts,
        )

    def _unread(self, submission: submissions.Submission, problem: str) -> kept.Result:
        return kept.Result(
            submission.student,
            submission.name,
            self.version_of(submission),
            {item: Mark(0, of, problem) for item, of in self.points.items()},
            dict.fromkeys(self.essays, ""),
            note=problem,
        )

    def _examine(self, nb: NotebookNode) -> tuple[Exam, str | None, list[str]]:
        """Run a notebook, without the cells that end it, until it can be asked."""
        skip_cells: dict[str, str] = {}
        skipped: dict[str, str] = {}
        attempts: list[str] = []
        executed, entropy = None, secrets.randbits(64)
        for _ in range(ATTEMPTS):
            exam = Exam(entropy)
            job = {
                "notebook": nbformat.writes(nb),
                "hidden": self.hidden,
                "skip_cells": skip_cells,
                "skip_questions": list(skipped),
            }
            ending = sandbox.run(
                job,
                partial(_encoded, exam),
                partial(_heard, exam),
                self.folder,
                self.limits,
                trust=self.trust,
            )
            executed = ending.notebook or executed
            stopped = [f"cell {cell + 1}: {why}" for cell, why in ending.stopped]
            attempts += [text for text in stopped if text not in attempts]
            for question, why in skipped.items():
                exam.hear(question, [{"error": why}])
            if ending.done:
                break
            if ending.cell is not None:
                skip_cells[str(ending.cell)] = ending.why
                attempts.append(f"cell {ending.cell + 1}: {ending.why}")
            elif ending.question is not None:
                skipped[ending.question] = ending.why
                attempts.append(f"{ending.question}: {ending.why}")
            elif executed is None and not ending.asked and not ending.stopped:
                raise RuntimeError(ending.why)  # no cell had begun: it is tried again
            else:
                attempts.append(ending.why)
                break
        return exam, executed, attempts

    def _scaled(self, marks: Mapping[str, Mark]) -> dict[str, Mark]:
        """Return marks with the points that the source notebook gives an item."""
        return {
            item: Mark(
                round(of * marks[item].points / marks[item].of, 2),
                of,
                marks[item].message[:LONGEST],
            )
            for item, of in self.points.items()
        }

    def reference(self) -> submissions.Submission:
        """Return the source notebook as if a student had handed it in."""
        cells = [c for c in self.source.cells if "hidden" not in assignment.tags(c)[0]]
        nb = notebooks.normalise(nbformat.from_dict({**self.source, "cells": cells}))
        content = nbformat.writes(nb).encode()
        return submissions.Submission(kept.REFERENCE, assignment.NAME, content)


def _encoded(exam: Exam, question: str) -> str:
    return json.dumps(asking.encode(exam.calls(question)))


def _heard(exam: Exam, question: str, answers: Sequence[Mapping]) -> None:
    """Hand answers on; what cannot be decoded is an error like others."""
    decoded = []
    for answer in answers[:100]:
        try:
            if "value" in answer:
                decoded.append({"value": asking.decode(answer["value"])})
            else:
                decoded.append({"error": str(answer.get("error"))[:300]})
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            decoded.append({"error": "an answer that cannot be read"})
    exam.hear(question, decoded)


def _as_run(nb: NotebookNode, executed: str | None) -> NotebookNode:
    """Return the cells handed in with the outputs of the run that belong to them."""
    try:
        run = nbformat.reads(executed or "", as_version=4)
        nbformat.validate(run)
    except Exception:  # whatever the sandbox said: then there are no outputs
        return nb
    if len(run.cells) == len(nb.cells):
        for cell, other in zip(nb.cells, run.cells, strict=True):
            if cell.cell_type == other.cell_type == "code":
                cell.outputs = other.outputs
                cell.execution_count = other.execution_count
    return nb


# --- the command ---------------------------------------------------------------------


def grade_all(
    found: Sequence[submissions.Submission], grader: Grader, folder: Path, jobs: int
) -> list[kept.Result]:
    """Grade what is not graded yet, some at a time; write scores as they come."""
    results, open_ = [], []
    for submission in found:
        before = kept.load(folder, submission.student)
        if before is not None and before.version == grader.version_of(submission):
            results.append(before)
        else:
            open_.append(submission)
    style = "{l_bar}{bar}| {n_fmt} of {total_fmt}, {elapsed} so far, {remaining} left"
    with (
        tqdm(total=len(open_), bar_format=style, disable=None, file=sys.stdout) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):
        running = [pool.submit(grader.grade, submission) for submission in open_]
        try:
            for done in as_completed(running):
                result = done.result()
                kept.save(result, folder)
                results.append(result)
                kept.write_scores(results, folder)
                bar.write(summary(result))
                bar.update()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            sandbox.end_all()
            raise
    kept.write_scores(results, folder)
    return sorted(results, key=lambda result: result.student)


def summary(result: kept.Result) -> str:
    """Say in a line how a submission did."""
    points = sum(mark.points for mark in result.marks.values())
    of = sum(mark.of for mark in result.marks.values())
    note = f": {result.note}" if result.note else ""
    told = f"{result.student}{note}"
    told = "".join(c if c.isprintable() else "?" for c in told)  # a terminal obeys some
    return f"{result.seconds:4.0f} s  {points:g} of {of:g}  {told[:WIDTH]}"


def check_reference(grader: Grader, folder: Path) -> None:
    """Grade the reference solution first: what fails it would fail everybody.

    Raises
    ------
    RuntimeError
        If it does not get full marks.
    """
    submission = grader.reference()
    result = kept.load(folder, kept.REFERENCE)
    if result is None or result.version != grader.version_of(submission):
        print("Grading the reference solution, to see that all works here", flush=True)
        result = grader.grade(submission)
        print(summary(result), flush=True)
    lost = [f"{i}: {m.message}" for i, m in result.marks.items() if m.points < m.of]
    if lost:
        raise RuntimeError(
            f"The reference solution loses points ({'; '.join(lost)}): nothing was "
            "graded; look at this first"
        )
    kept.save(result, folder)


def main() -> None:
    """Grade the folder or zip named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("submissions", help="a folder a student, or a zip of these")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--trust", action="store_true", help="run without a sandbox")
    options = parser.parse_args()
    if not options.submissions:
        sys.exit("Name what students handed in: make grade SUBMISSIONS=folder")
    if options.jobs < 1:
        sys.exit("JOBS must be 1 or more.")
    folder = notebooks.ROOT / "build" / "grades"
    try:
        with notebooks.said_clearly("Stopped: run the same command again to go on."):
            folder.mkdir(parents=True, exist_ok=True)
            if not options.trust:
                sandbox.check()
            grader = Grader(notebooks.ROOT, sandbox.Limits(), trust=options.trust)
            found = submissions.find(Path(options.submissions), grader.edition)
            for one in found:
                if one.notebooks > 1:
                    print(f"{one.student}: the last of {one.notebooks}, {one.name}")
            check_reference(grader, folder)
            results = grade_all(found, grader, folder, options.jobs)
            feedback.feedback(notebooks.ROOT, folder, results)
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))
    print(f"{len(results)} submissions graded: build/grades/scores.csv and pages/")
    print("Fill in build/grades/essays.csv, then run make feedback")


if __name__ == "__main__":
    main()
