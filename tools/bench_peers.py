"""The implementations `tools.bench` times, each in a process of its own.

A framework is imported where it is used, so that no two share threads or memory.
"""

import io
import os
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

LEARNING_RATE = 1e-3
WARM_UP = 50  # updates

Run = Callable[[int], float]  # an epoch on the first n images: seconds of training


class Network(NamedTuple):
    """A fully connected network and the batch size it is trained with."""

    widths: tuple[int, ...]
    batch: int
    normalization: str | None

    def build(self):
        """Build it in Keras, on the backend of this process."""
        from helpers import models

        return models.mlp(self.widths, normalization=self.normalization)


def trainer(
    images: np.ndarray, labels: np.ndarray, network: Network, workers: int = 1
) -> Run:
    """Train with this project's own program, through its public interface.

    With several workers as many runs train side by side; the time is that of a run.
    """
    from helpers import data, training

    # All images train; what is measured beside them is not timed.
    few = data.Split(images[:100].copy(), labels[:100].copy())
    dataset = data.Dataset("mnist", (), data.Split(images, labels), few, few)
    batch_sizes = [{"batch_size": network.batch}]
    how = {"seeds": range(workers), "epochs": 1, "workers": workers}
    how["learning_rate"] = LEARNING_RATE

    def run(n: int) -> float:
        frame = training.sweep({"model": network.build}, dataset, batch_sizes, **how)
        return frame["seconds"].max() / workers

    return run


def keras_fit(images: np.ndarray, labels: np.ndarray, network: Network) -> Run:
    """Train with plain `fit` on arrays; `KERAS_BACKEND` chooses the framework."""
    model = network.build()  # first, because `helpers` starts TensorFlow quietly
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.began

    clock = Clock()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss)
    how = {"batch_size": network.batch, "verbose": 0, "callbacks": [clock]}

    def run(n: int) -> float:
        model.fit(images[:n], labels[:n], **how)
        return clock.seconds

    return run


def torch_loop(images: np.ndarray, labels: np.ndarray, network: Network) -> Run:
    """Train in a lean PyTorch loop: tensors in memory, indexed batches, fused Adam."""
    import torch
    from torch import nn

    x, y = torch.tensor(images).flatten(1), torch.tensor(labels).long()
    layers, fan_in = [], x.shape[1]
    for width in network.widths:
        layers.append(nn.Linear(fan_in, width, bias=not network.normalization))
        if network.normalization:  # with the settings of Keras
            layers.append(nn.BatchNorm1d(width, eps=1e-3, momentum=0.01))
        layers.append(nn.ReLU())
        fan_in = width
    model = nn.Sequential(*layers, nn.Linear(fan_in, 10)).train()
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    cross_entropy = nn.CrossEntropyLoss()

    def run(n: int) -> float:
        began = time.perf_counter()
        for batch in torch.randperm(n).split(network.batch):
            optimizer.zero_grad()
            logits = model(x.index_select(0, batch))
            cross_entropy(logits, y.index_select(0, batch)).backward()
            optimizer.step()
        return time.perf_counter() - began

    return run


def matrix_products(images: np.ndarray, labels: np.ndarray, network: Network) -> Run:
    """Do no more than the matrix products of forward and backward, in NumPy."""
    flat = images.reshape(len(images), -1)
    sizes = [flat.shape[1], *network.widths, 10]
    kernels = [np.full(s, 1e-3, "f4") for s in zip(sizes, sizes[1:], strict=False)]
    gradients = [np.empty_like(kernel) for kernel in kernels]
    outputs = [np.empty((network.batch, size), "f4") for size in sizes[1:]]

    def run(n: int) -> float:
        began = time.perf_counter()
        for start in range(0, n, network.batch):
            batch = flat[start : min(start + network.batch, n)]
            layers = [batch, *(output[: len(batch)] for output in outputs)]
            for index, kernel in enumerate(kernels):
                np.matmul(layers[index], kernel, out=layers[index + 1])
            # The outputs stand in for their own gradients.
            for index in reversed(range(len(kernels))):
                np.matmul(layers[index].T, layers[index + 1], out=gradients[index])
                if index:
                    np.matmul(layers[index + 1], kernels[index].T, out=layers[index])
        return time.perf_counter() - began

    return run


FIT, TORCH, JAX = "Keras fit", "PyTorch, lean loop", "Keras on JAX"
OURS, FLOOR = "this trainer", "matrix products"
PAIR = "this trainer, two at a time"
MAKERS = {FIT: keras_fit, TORCH: torch_loop, JAX: keras_fit, OURS: trainer}
MAKERS |= {PAIR: partial(trainer, workers=2), FLOOR: matrix_products}

_arrays: list[np.ndarray] = []
_runs: dict[Network, Run] = {}


def start(name: str, folder: Path) -> None:
    """Prepare the process of an implementation; `folder` holds the arrays."""
    os.environ["KERAS_BACKEND"] = "jax" if name == JAX else "tensorflow"
    _arrays[:] = [np.load(folder / f"{part}.npy") for part in ("images", "labels")]


def epoch(name: str, network: Network) -> tuple[float, float]:
    """Train an epoch in this process; compile and warm up at the first call.

    Returns the seconds of training and of the rest. The trainer, which leaves nothing
    to warm up, compiles and measures in each call.
    """
    began, size = time.perf_counter(), len(_arrays[0])
    with redirect_stdout(io.StringIO()):  # the trainer's progress bar
        if network not in _runs:
            _runs[network] = MAKERS[name](*_arrays, network)
            if name not in (OURS, PAIR):
                warm_up = WARM_UP * network.batch + size % network.batch
                _runs[network](min(warm_up, size))
        seconds = float(_runs[network](size))
    return seconds, time.perf_counter() - began - seconds
