"""Starts TensorFlow with its log silent, and Keras with the settings it comes with.

So no notebook stores messages of TensorFlow or Matplotlib, nor depends on what the
reader's ``~/.keras/keras.json`` says. Import it before keras or TensorFlow: ``from
helpers import quiet``. Helpers that need neither load without it.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["KERAS_NNX_ENABLED"] = "0"  # JAX's, and Keras asks for its packages
for shortened in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):  # training by `fit`
    os.environ.pop(shortened, None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# It tells of folders that it cannot write to, and of looking through fonts.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
START = """
import tensorflow as tf
tf.function(lambda: tf.constant(1.0) + 1.0, jit_compile=True)()
"""


def _check_flags() -> None:
    # At a flag that it does not know TensorFlow ends the process.
    flags = [name for name in ("XLA_FLAGS", "TF_XLA_FLAGS") if os.environ.get(name)]
    if not flags:
        return
    start = subprocess.run([sys.executable, "-c", START], capture_output=True)
    if start.returncode:
        said = start.stderr.decode(errors="replace").strip().splitlines() or [""]
        raise ImportError(
            f"TensorFlow does not start with the flags in {' and '.join(flags)} "
            f"({said[-1].rpartition('] ')[2]}): correct or unset them"
        )


def _start_tensorflow_quietly() -> None:
    # TensorFlow's C++ code writes straight to file descriptor 2, which neither
    # log levels nor Python's sys.stderr reach; so the descriptor is redirected.
    saved = os.dup(2)
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices("GPU")
            # TensorFlow 2.20 announces its first compilation at any log level.
            tf.function(lambda: tf.constant(1.0) + 1.0, jit_compile=True)()
            # Its warnings on retracing are no news here: every other batch size is
            # a program of its own.
            tf.get_logger().setLevel("ERROR")
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _set_keras_as_it_comes() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            f"Keras was started on {keras.backend.backend()}, and the helpers need "
            "TensorFlow: restart, and import helpers before keras"
        )
    if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 6):
        raise ImportError(
            f"Keras {keras.__version__} is too old: install TensorFlow 2.18 and Keras "
            "3.6 or newer, as with pip install -U tensorflow keras, then restart"
        )
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


_check_flags()
try:
    _start_tensorflow_quietly()  # it imports Keras, which reads its file
    _set_keras_as_it_comes()
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is not installed for {sys.executable}: choose a kernel that "
        "has it, as that of .venv, or install it there by pip, then restart"
    ) from error
except (AssertionError, AttributeError, OSError, TypeError, ValueError) as error:
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    raise ImportError(
        f"Keras does not start ({said}), probably for its file keras.json, which it "
        "cannot read or which has a setting that it does not know: delete the file, in "
        "~/.keras or where KERAS_HOME says"
    ) from error
