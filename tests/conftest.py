"""Each test starts from the same random numbers, whatever ran before it."""

import os

import pytest

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras

# What programs that tests start say is compared with plain words.
for name in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE"):
    os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def seed():
    """Seed Python, NumPy and Keras: a builder that is called bare draws from them."""
    keras.utils.set_random_seed(0)
