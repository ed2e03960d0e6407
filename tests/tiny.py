"""Images so few and small that a network learns them in a moment."""

import numpy as np

from helpers.data import Split


def split(size: int, seed: int) -> Split:
    """Noisy 4x4 images of four classes, which a network can learn."""
    labels = np.arange(size, dtype=np.int32) % 4
    prototypes = np.random.default_rng(0).random((4, 4, 4))
    noise = 0.3 * np.random.default_rng(seed).normal(size=(size, 4, 4))
    return Split((prototypes[labels] + noise).astype(np.float32), labels)
