"""Importing the helpers and training write nothing that a notebook would store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# At the level of file descriptors, in a process of its own: TensorFlow's C++ code
# goes past `sys.stderr`, and announces itself once a process.
SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from helpers import claims, data, files, models, plotting, training
import numpy as np
print("imported", flush=True)
split = data.Split(np.zeros((8, 2, 2), "float32"), np.zeros(8, "int32"))
tiny = data.Dataset("tiny", ("a", "b"), split, split, split)
build = lambda: models.mlp((2,), normalization="batch", input_shape=(2, 2), classes=2)
training.train({{"model": build}}, tiny, seeds=[1], epochs=1, batch_size=8)
print("trained", flush=True)
print("heard", file=sys.stderr)
"""


def test_nothing_is_written_on_import_or_in_training(tmp_path):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TF_", "KERAS_"))
    }
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=environment | {"TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr, run.returncode) == (
        "imported\ntrained\n",
        "heard\n",  # standard error is quiet, not closed
        0,
    )


WITHOUT = """
import sys
import {module}
print("tensorflow" in sys.modules)
"""
TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("[a-z]*.py"))
PLAIN = ["data", "normalization", "claims", "runs", "plotting", "files"]


@pytest.mark.parametrize(
    "module",
    [f"helpers.{name}" for name in PLAIN]
    + [f"tools.{name}" for name in TOOLS if name != "nbconvert_config"],
)
def test_what_needs_no_tensorflow_loads_without_it(module):
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "False\n"
