"""Images so few and small that a network learns them in a moment, for any Keras."""

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras
import numpy as np
import pytest

from helpers.data import Split

# Of layers and optimizers that Keras has from 3.14 on; Colab has 3.13.
newest = pytest.mark.skipif(
    "renorm" not in keras.layers.BatchNormalization().get_config(),
    reason="this Keras lacks the layer or optimizer",
)


def split(size: int, seed: int) -> Split:
    """Noisy 4x4 images of four classes, which a network can learn."""
    labels = np.arange(size, dtype=np.int32) % 4
    prototypes = np.random.default_rng(0).random((4, 4, 4))
    noise = 0.3 * np.random.default_rng(seed).normal(size=(size, 4, 4))
    return Split((prototypes[labels] + noise).astype(np.float32), labels)
