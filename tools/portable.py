"""Run the notebooks as other processors would: which cells differ from what is stored?

Trained numbers depend on the instruction set and on the number of threads. Whatever is
compared to the character must not: each condition below is to end without a difference.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tools import notebooks

FAILED = re.compile(r"^FAILED (\S+::Cell \d+)", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[\d;]*m")
TABLES = re.compile(r"=+ tables that differ from plots/ =+\n(.*?)\n=", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """A machine to pretend: what is set, what the command runs under, how many jobs."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    jobs: int = 2

    @property
    def command(self) -> list[str]:
        """Return the command that compares all notebooks."""
        pytest = [sys.executable, "-m", "pytest", "--nbval", "--tb=no", "-q", "-rf"]
        jobs = ["-n", str(self.jobs), "--dist", "loadfile"]
        return [*self.prefix, *pytest, *jobs, "notebooks"]


def processor(name: str, xla: str, onednn: str, openblas: str) -> Condition:
    """Return the condition that each library computes as on an older processor."""
    return Condition(
        name,
        {
            "XLA_FLAGS": f"--xla_cpu_max_isa={xla}",
            "ONEDNN_MAX_CPU_ISA": onednn,
            "OPENBLAS_CORETYPE": openblas,
        },
    )


CONDITIONS = [
    processor("a processor with SSE4.2", "SSE4_2", "SSE41", "Nehalem"),
    processor("a processor with AVX", "AVX", "AVX", "Sandybridge"),
    Condition("one thread", prefix=("taskset", "-c", "0"), jobs=1),
]


def differences(output: str) -> list[str]:
    """Return the cells and tables that pytest's output names as different."""
    output = COLOUR.sub("", output)
    tables = TABLES.search(output)
    return FAILED.findall(output) + (tables[1].splitlines() if tables else [])


def run(condition: Condition) -> list[str]:
    """Return what differs under a condition.

    Raises
    ------
    RuntimeError
        If the comparison could not be made.
    """
    ended = subprocess.run(
        condition.command,
        cwd=notebooks.ROOT,
        env=os.environ | dict(condition.environment),
        stdout=subprocess.PIPE,
        text=True,
    )
    found = differences(ended.stdout)
    if ended.returncode and not found:
        raise RuntimeError(f"the notebooks did not run:\n{ended.stdout[-2000:]}")
    return found


def main() -> None:
    """Try all conditions; fail when anything differs under one of them."""
    failed = 0
    for condition in CONDITIONS:
        if condition.prefix and not shutil.which(condition.prefix[0]):
            print(f"{condition.name}: not tried, {condition.prefix[0]} is missing")
            continue
        print(f"{condition.name} …", flush=True)
        try:
            with notebooks.said_clearly():
                found = run(condition)
        except RuntimeError as error:
            sys.exit(str(error))
        for line in found or ["no difference"]:
            print(f"  {line}", flush=True)
        failed += len(found)
    if failed:
        sys.exit(f"{failed} differences: make a table of it, or tag the cell.")


if __name__ == "__main__":
    main()
