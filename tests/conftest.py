"""Each test starts from the same random numbers, whatever ran before it."""

import pytest

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras


@pytest.fixture(autouse=True)
def seed():
    """Seed Python, NumPy and Keras: a builder that is called bare draws from them."""
    keras.utils.set_random_seed(0)
