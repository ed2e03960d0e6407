"""Runs a student's notebook inside the sandbox and lets its functions be asked.

Nothing here is trusted once the notebook has begun: whatever this process says is
judged outside. It reads a job from standard input, a line of JSON, and writes what
happens to standard output, a line each; before each hidden cell it asks for the
arguments and waits for a line. It imports nothing of the project.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import warnings
from pathlib import Path
from typing import TextIO

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode

PR_SET_DUMPABLE = 4  # of <sys/prctl.h>
OUTPUT = 1_000_000  # characters that are kept of a cell's outputs
# What the judge's half needs is loaded before the notebook can replace it. `exit()`
# would end the kernel some time later, and another cell would be blamed.
FIRST = """
import asking
exit = quit = lambda *_: print("[exit is ignored here]")
"""
FOLDER = Path(os.environ.get("BN_ANSWERS", ".")).resolve()
CALLS, ANSWER = FOLDER / "calls.json", FOLDER / "answer.json"


class Client(NotebookClient):
    """A client that keeps the beginning of what a cell puts out, and drops the rest."""

    def process_message(self, msg, cell, cell_index):
        """Process a kernel's message; shorten it where the cell has said enough."""
        content, left = msg["content"], OUTPUT - cell.metadata.get("said", 0)
        if msg["msg_type"] in ("stream", "display_data", "execute_result", "error"):
            cell.metadata["said"] = OUTPUT - left + len(str(content))
            if left <= 0:
                return None
            if cell.metadata["said"] > OUTPUT:
                content = {
                    "name": "stdout",
                    "text": str(content.get("text", ""))[:left],
                }
                content["text"] += "\n[the rest is left out]\n"
                msg = msg | {"msg_type": "stream", "content": content}
        return super().process_message(msg, cell, cell_index)


class Worker:
    """One run of one notebook."""

    def __init__(self, job: dict, hear: TextIO, say: TextIO):
        self.job, self.hear, self._to = job, hear, say
        self.seconds = job["cell_seconds"]
        self.nb = nbformat.reads(job["notebook"], as_version=4)
        # nbclient puts a cell that it ran back into the notebook: one for our own.
        self.nb.cells.append(nbformat.v4.new_code_cell())

    def say(self, **what) -> None:
        """Write a line."""
        self._to.write(json.dumps(what) + "\n")
        self._to.flush()

    async def run(self) -> None:
        """Run all cells but those to be skipped, then the hidden ones."""
        client = Client(
            self.nb,
            kernel_name="python3",
            timeout=self.seconds,
            startup_timeout=self.seconds + 60,
            iopub_timeout=20,
            interrupt_on_timeout=True,
            allow_errors=True,
            record_timing=False,
            coalesce_streams=False,  # takes for ever on a line of a million characters
            store_widget_state=False,
            raise_on_iopub_timeout=False,
            extra_arguments=["--log-level=CRITICAL"],
            resources={"metadata": {"path": str(Path.cwd())}},
        )
        async with client.async_setup_kernel():
            await self._execute(client, nbformat.v4.new_code_cell(FIRST))
            await self._run_cells(client)
            shown = nbformat.from_dict({**self.nb, "cells": self.nb.cells[:-1]})
            self.say(notebook=nbformat.writes(shown))
            for question, source in self.job["hidden"]:
                if question not in self.job["skip_questions"]:
                    await self._ask(client, question, source)
        self.say(done=True)

    async def _run_cells(self, client: NotebookClient) -> None:
        late = asyncio.get_running_loop().time() + self.job["notebook_seconds"]
        for index, cell in enumerate(self.nb.cells[:-1]):
            if cell.cell_type != "code":
                continue
            if (why := self.job["skip_cells"].get(str(index))) is None:
                left = late - asyncio.get_running_loop().time()
                if left > 0:
                    self.say(cell=index)
                    client.timeout = max(1, min(self.seconds, int(left)))
                    await self._execute(client, cell, index)
                    if "KeyboardInterrupt" in [o.get("ename") for o in cell.outputs]:
                        why = f"stopped after {client.timeout} seconds"
                        self.say(stopped=index, why=why)
                    continue
                why = "the notebook as a whole takes too long"
                self.say(stopped=index, why=why)
            note = f"[not run: {why}]\n"
            cell.outputs = [nbformat.v4.new_output("stream", text=note)]

    async def _ask(self, client: NotebookClient, question: str, source: str) -> None:
        self.say(ask=question)
        CALLS.write_text(self.hear.readline())
        ANSWER.unlink(missing_ok=True)
        cell = nbformat.v4.new_code_cell(source)
        client.timeout = self.seconds
        await self._execute(client, cell)
        if ANSWER.is_file():
            self.say(question=question, answers=json.loads(ANSWER.read_text()))
            return
        errors = [o for o in cell.outputs if o.output_type == "error"]
        why = f"{errors[0].ename}: {errors[0].evalue}"[:300] if errors else "no answer"
        if errors and errors[0].ename == "KeyboardInterrupt":
            why = f"no end after {self.seconds} seconds"
        self.say(question=question, answers=[{"error": why}])

    async def _execute(
        self, client: NotebookClient, cell: NotebookNode, index: int = -1
    ) -> None:
        """Execute a cell; give up where it does not even stop when interrupted."""
        cell.metadata.pop("said", None)
        # nbclient interrupts after its timeout, and then waits as long again.
        patience = 1.5 * (client.timeout or self.seconds) + 20
        running = asyncio.ensure_future(client.async_execute_cell(cell, index))
        await asyncio.wait([running], timeout=patience)
        if not running.done():  # not cancelled: nbclient would call the kernel dead
            raise TimeoutError
        running.result()


def limit(memory: int, file: int, processes: int | None) -> None:
    """Limit what this process and all its children may take."""
    limits = {"RLIMIT_AS": memory, "RLIMIT_FSIZE": file, "RLIMIT_CORE": 0}
    if processes is not None:
        limits["RLIMIT_NPROC"] = processes
    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is not None:
            _, hard = resource.getrlimit(number)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with contextlib.suppress(OSError, ValueError):  # not all systems can
                resource.setrlimit(number, (value, value))


def main() -> None:
    """Read the job, run it, and say how it ended."""
    # No process of the student's may take this one's pipe to the judge.
    with contextlib.suppress(OSError, AttributeError):  # TRUST=1 where it is no Linux
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
    # The kernel must not write among the lines, nor wait for input: both move away.
    hear, say = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("r+") as null:
        os.dup2(null.fileno(), 0)
        os.dup2(null.fileno(), 1)
    warnings.simplefilter("ignore")
    job = json.loads(hear.readline())
    limit(**job["limits"])
    worker = Worker(job, hear, say)
    try:
        asyncio.run(worker.run())
    except DeadKernelError:
        worker.say(died="the kernel died")
    except TimeoutError:
        worker.say(died=f"no end after {worker.seconds} seconds")
    except Exception as error:
        worker.say(died=f"{type(error).__name__}: {error}"[:300])
    os._exit(0)  # a kernel that hangs is not waited for: the sandbox ends it


if __name__ == "__main__":
    main()
