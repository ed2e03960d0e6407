"""What is measured inside a trained network."""

from collections.abc import Iterator

import keras
import numpy as np


def reestimate(model: keras.Model, images: np.ndarray) -> None:
    """Replace the moving statistics by those of the images, taken as one batch.

    What batch normalization then uses at inference is the mean and the (biased)
    variance over all images under the present weights: neither a trailing average
    nor the noise of small batches is left (Ioffe & Szegedy 2015, algorithm 2, steps
    8 to 10; called precise batch norm by Wu & Johnson 2021).

    Parameters
    ----------
    model : changed in place: its moving statistics alone.
    images : (n, ...) float32, usually the training images; n activations of every
        layer must fit in memory. Dropout layers stay active.
    """
    found = list(_batch_norms(model))
    momenta = [layer.momentum for layer in found]
    try:
        for layer in found:
            layer.momentum = 0.0
        model(images, training=True)
    finally:
        for layer, momentum in zip(found, momenta, strict=True):
            layer.momentum = momentum


def _batch_norms(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            yield layer
        elif isinstance(layer, keras.Model):
            yield from _batch_norms(layer)
