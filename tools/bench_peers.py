"""The implementations `tools.bench` times, each in a process of its own.

A framework is imported where it is used, so that no two share threads or memory.
"""

import importlib
import io
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

LEARNING_RATE = 1e-3
WARM_UP = 50  # updates
STUDY_SEEDS, STUDY_EPOCHS, STUDY_IMAGES, STUDY_BATCH = range(5), 3, 20_000, 64
STUDY_VALIDATION = 5_000
WIDTHS = (256, 128)
KINDS = {"plain": None, "BN": "batch"}

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
    how: dict[str, Any] = {"seeds": range(workers), "epochs": 1, "workers": workers}
    how["learning_rate"] = LEARNING_RATE

    def run(n: int) -> float:
        frame = training.sweep({"model": network.build}, dataset, batch_sizes, **how)
        return frame["seconds"].max() / workers

    return run


def trainer_study(images: np.ndarray, labels: np.ndarray) -> None:
    """Train the study as the notebooks do; a frame holds the metrics."""
    from helpers import data, models, training

    def split(start: int, stop: int) -> data.Split:
        return data.Split(images[start:stop].copy(), labels[start:stop].copy())

    end = STUDY_IMAGES + STUDY_VALIDATION
    dataset = data.Dataset(
        "mnist", (), split(0, STUDY_IMAGES), split(STUDY_IMAGES, end), split(0, 100)
    )
    builders = {
        name: partial(models.mlp, WIDTHS, normalization=kind)
        for name, kind in KINDS.items()
    }
    training.train(
        builders,
        dataset,
        seeds=STUDY_SEEDS,
        epochs=STUDY_EPOCHS,
        batch_size=STUDY_BATCH,
        learning_rate=LEARNING_RATE,
    )


def fit_study(images: np.ndarray, labels: np.ndarray) -> None:
    """Train the study with `fit`, its metrics and its validation images."""
    from helpers import models  # first, because it starts TensorFlow quietly

    import keras  # isort: skip

    end = STUDY_IMAGES + STUDY_VALIDATION
    for seed in STUDY_SEEDS:
        for kind in KINDS.values():
            keras.utils.set_random_seed(seed)
            model = models.mlp(WIDTHS, normalization=kind)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            adam = keras.optimizers.Adam(LEARNING_RATE)
            model.compile(adam, loss, metrics=["accuracy"])
            model.fit(
                images[:STUDY_IMAGES],
                labels[:STUDY_IMAGES],
                batch_size=STUDY_BATCH,
                epochs=STUDY_EPOCHS,
                validation_data=(images[STUDY_IMAGES:end], labels[STUDY_IMAGES:end]),
                verbose=0,
            )


def torch_study(images: np.ndarray, labels: np.ndarray) -> None:
    """Train the study in the lean PyTorch loop, with the same metrics each epoch."""
    import torch
    from torch.nn.functional import cross_entropy

    x, y = torch.tensor(images).flatten(1), torch.tensor(labels).long()
    held_out = slice(STUDY_IMAGES, STUDY_IMAGES + STUDY_VALIDATION)
    for seed in STUDY_SEEDS:
        for kind in KINDS.values():
            torch.manual_seed(seed)
            model, optimizer = torch_network(x.shape[1], WIDTHS, kind)
            for _ in range(STUDY_EPOCHS):
                model.train()
                for batch in torch.randperm(STUDY_IMAGES).split(STUDY_BATCH):
                    optimizer.zero_grad()
                    logits = model(x.index_select(0, batch))
                    cross_entropy(logits, y.index_select(0, batch)).backward()
                    optimizer.step()
                model.eval()
                with torch.no_grad():
                    for part in (slice(STUDY_IMAGES), held_out):
                        logits = model(x[part])
                        cross_entropy(logits, y[part]).item()
                        (logits.argmax(1) == y[part]).float().mean().item()


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


def torch_network(inputs: int, widths: tuple[int, ...], normalization: str | None):
    """Return the network in PyTorch, with the settings of Keras, and a fused Adam."""
    import torch
    from torch import nn

    layers, fan_in = [], inputs
    for width in widths:
        layers.append(nn.Linear(fan_in, width, bias=not normalization))
        if normalization:
            layers.append(nn.BatchNorm1d(width, eps=1e-3, momentum=0.01))
        layers.append(nn.ReLU())
        fan_in = width
    model = nn.Sequential(*layers, nn.Linear(fan_in, 10))
    return model, torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)


def torch_loop(images: np.ndarray, labels: np.ndarray, network: Network) -> Run:
    """Train in a lean PyTorch loop: tensors in memory, indexed batches, fused Adam."""
    import torch
    from torch import nn

    x, y = torch.tensor(images).flatten(1), torch.tensor(labels).long()
    model, optimizer = torch_network(x.shape[1], network.widths, network.normalization)
    model.train()
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


def matrix_products(
    images: np.ndarray, labels: np.ndarray, network: Network, workers: int = 1
) -> Run:
    """Do no more than the matrix products of forward and backward, in NumPy.

    Several at a time have a core each; the time is that of one.
    """
    flat = images.reshape(len(images), -1)
    sizes = [flat.shape[1], *network.widths, 10]
    kernels = [np.full(s, 1e-3, "f4") for s in zip(sizes, sizes[1:], strict=False)]

    def products(n: int) -> None:
        gradients = [np.empty_like(kernel) for kernel in kernels]
        outputs = [np.empty((network.batch, size), "f4") for size in sizes[1:]]
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

    def run(n: int) -> float:
        threads = nullcontext() if workers == 1 else threadpool_limits(1)
        with threads, ThreadPoolExecutor(workers) as pool:
            began = time.perf_counter()
            list(pool.map(products, [n] * workers))
            return (time.perf_counter() - began) / workers

    return run


FIT, TORCH, JAX = "Keras fit", "PyTorch, lean loop", "Keras on JAX"
OURS, FLOOR = "this trainer", "matrix products"
PAIR, FLOOR_PAIR = f"{OURS}, two at a time", f"{FLOOR}, two at a time"
Maker = Callable[[np.ndarray, np.ndarray, Network], Run]
MAKERS: dict[str, Maker] = {FIT: keras_fit, TORCH: torch_loop, JAX: keras_fit}
MAKERS |= {OURS: trainer, PAIR: partial(trainer, workers=2)}
MAKERS |= {FLOOR: matrix_products, FLOOR_PAIR: partial(matrix_products, workers=2)}
STUDIES = {FIT: fit_study, TORCH: torch_study, JAX: fit_study, OURS: trainer_study}

_arrays: list[np.ndarray] = []
_runs: dict[Network, Run] = {}


def start(name: str, folder: Path) -> None:
    """Prepare the process of an implementation; `folder` holds the arrays."""
    os.environ["KERAS_BACKEND"] = "jax" if name == JAX else "tensorflow"
    _arrays[:] = [np.load(folder / f"{part}.npy") for part in ("images", "labels")]


def epoch(name: str, network: Network) -> float:
    """Train an epoch in this process: its seconds; at the first call, warm up too.

    The trainer, which leaves nothing to warm up, compiles and measures in each call.
    """
    images, labels = _arrays
    with redirect_stdout(io.StringIO()):  # the trainer's progress bar
        if network not in _runs:
            _runs[network] = MAKERS[name](images, labels, network)
            if name not in (OURS, PAIR):
                warm_up = WARM_UP * network.batch + len(images) % network.batch
                _runs[network](min(warm_up, len(images)))
        return float(_runs[network](len(images)))


def study(name: str) -> float:
    """Return the seconds of a study: all it takes in a new process but imports."""
    needed = {TORCH: "torch", OURS: "helpers.training"}
    importlib.import_module(needed.get(name, "helpers.models"))
    with redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        STUDIES[name](*_arrays)
        return time.perf_counter() - began
