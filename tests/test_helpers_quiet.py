"""Importing the helpers and training write nothing that a notebook would store."""

import json
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


SETTINGS = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from helpers import quiet
import keras
import numpy as np
print(keras.backend.backend(), keras.config.floatx(), keras.config.epsilon())
print(keras.config.image_data_format(), keras.layers.Dense(1).dtype)
x = np.zeros((8, 1))
model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(x, x, epochs=3, batch_size=2, verbose=0)
print(int(model.optimizer.iterations), "updates")
"""


def test_the_readers_keras_settings_change_nothing(tmp_path):
    wishes = {"floatx": "float64", "epsilon": 0.1, "backend": "jax"}
    wishes["image_data_format"] = "channels_first"
    (tmp_path / "keras.json").write_text(json.dumps(wishes), encoding="utf-8")
    own = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "torch"}
    own |= {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"}
    run = subprocess.run(
        [sys.executable, "-c", SETTINGS],
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == (
        "tensorflow float32 1e-07\nchannels_last float32\n12 updates\n"
    )


def test_what_belongs_to_jax_changes_nothing(tmp_path):
    wishes = {"backend": "jax", "nnx_enabled": True}
    (tmp_path / "keras.json").write_text(json.dumps(wishes), encoding="utf-8")
    own = {"KERAS_HOME": str(tmp_path), "KERAS_NNX_ENABLED": "1"}
    run = subprocess.run(
        [sys.executable, "-c", "from helpers import quiet"],
        cwd=ROOT,
        env=os.environ | own,
    )
    assert run.returncode == 0


@pytest.mark.parametrize("wishes", [{"floatx": "float99"}, {"epsilon": 1}, ["float32"]])
def test_settings_that_keras_cannot_read_are_named(tmp_path, wishes):
    (tmp_path / "keras.json").write_text(json.dumps(wishes), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-c", "from helpers import quiet"],
        cwd=ROOT,
        env=os.environ | {"KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: Keras does not start")
    assert "keras.json" in last


def test_a_python_without_tensorflow_is_named():
    code = "import sys; sys.modules['tensorflow'] = None; from helpers import quiet"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    last = run.stderr.strip().splitlines()[-1]
    said = f"ImportError: tensorflow is not installed for {sys.executable}: "
    assert last.startswith(said)
    assert "choose a kernel that has it" in last


def test_a_keras_that_is_too_old_is_named_and_no_setting_blamed(tmp_path):
    code = "import keras; keras.__version__ = '2.15.0'; from helpers import quiet"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: Keras 2.15.0 is too old: install TensorFlow")


def test_a_keras_on_another_backend_is_refused(tmp_path):
    script = "import types, sys\nkeras = types.ModuleType('keras')\n"
    script += "keras.backend = types.SimpleNamespace(backend=lambda: 'jax')\n"
    script += "sys.modules['keras'] = keras\nfrom helpers import quiet"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    last = run.stderr.strip().splitlines()[-1]
    assert last == (
        "ImportError: Keras was started on jax, and the helpers need TensorFlow: "
        "restart, and import helpers before keras"
    )


def test_matplotlib_says_nothing_of_a_home_it_cannot_write_to():
    own = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    run = subprocess.run(
        [sys.executable, "-c", "from helpers import quiet\nimport matplotlib.pyplot"],
        cwd=ROOT,
        env=own | {"HOME": os.devnull, "XDG_CONFIG_HOME": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""


@pytest.mark.parametrize("name", ["XLA_FLAGS", "TF_XLA_FLAGS"])
def test_a_flag_that_tensorflow_does_not_know_is_named(name):
    run = subprocess.run(
        [sys.executable, "-c", "from helpers import quiet"],
        cwd=ROOT,
        env=os.environ | {name: "--no_such_flag=1"},
        capture_output=True,
        text=True,
    )
    said = run.stderr.strip().splitlines()[-1]
    assert said.replace("Unknown flags", "Unknown flag") == (  # before 2.20
        f"ImportError: TensorFlow does not start with the flags in {name} (Unknown "
        f"flag in {name}: --no_such_flag=1): correct or unset them"
    )


WITHOUT = """
import sys
import {module}
print("tensorflow" in sys.modules)
"""
TOOLS = {path.stem for path in (ROOT / "tools").glob("[a-z]*.py")}
TOOLS -= {"nbconvert_config"}  # nbconvert runs it
TOOLS -= {"worker"} if os.name == "nt" else set()  # it limits what a process takes
PLAIN = ["data", "normalization", "claims", "runs", "plotting", "showing", "files"]


@pytest.mark.parametrize(
    "module",
    [f"helpers.{name}" for name in PLAIN] + [f"tools.{name}" for name in sorted(TOOLS)],
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
