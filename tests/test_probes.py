"""Measurements inside a network, against what NumPy finds."""

import keras
import numpy as np
import pytest

from helpers import models, probes, training


@pytest.fixture
def images():
    return np.random.default_rng(0).random((300, 28, 28), dtype=np.float32)


def test_reestimated_statistics_are_those_of_all_images(images):
    model = models.mlp((8, 4), normalization="batch")
    probes.reestimate(model, images)
    x = images.reshape(len(images), -1).astype(np.float64)
    for index in (1, 4):
        dense, norm = model.layers[index : index + 2]
        z = x @ dense.kernel.numpy()
        np.testing.assert_allclose(norm.moving_mean, z.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(norm.moving_variance, z.var(axis=0), rtol=1e-4)
        x = np.maximum((z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-3), 0)


def test_inference_then_equals_training_mode_on_the_same_images(images):
    model = models.mlp((8, 4), normalization="batch")
    probes.reestimate(model, images)
    expected = np.array(model(images, training=True))
    np.testing.assert_allclose(training.predict(model, images), expected, atol=1e-5)


def test_nothing_else_changes(images):
    model = models.mlp((8, 4), normalization="batch", momentum=0.9)
    before = [v.numpy() for v in model.trainable_variables]
    probes.reestimate(model, images)
    for variable, start in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, start)
    assert [layer.momentum for layer in (model.layers[2], model.layers[5])] == [0.9] * 2


def test_momentum_is_restored_after_an_error(images):
    model = models.mlp((8,), normalization="batch", momentum=0.9)
    with pytest.raises(ValueError):
        probes.reestimate(model, images[:, :7])
    assert model.layers[2].momentum == 0.9


def test_layers_inside_layers_are_found(images):
    inner = models.mlp((8,), normalization="batch")
    model = keras.Sequential([keras.Input((28, 28)), inner])
    probes.reestimate(model, images)
    assert np.abs(inner.layers[2].moving_mean.numpy()).max() > 0
