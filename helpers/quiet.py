"""Starts TensorFlow with its log silent, so that no notebook stores its messages.

Import it before keras or TensorFlow: ``from helpers import quiet``. Helpers that need
neither load without it.
"""

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


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


_start_tensorflow_quietly()
