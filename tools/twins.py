"""The playground's twins in NumPy: what its script computes, computed once more.

The page's engine (``templates/playground/engine.js``) draws kernels and batches from a
seed by 32-bit integers and sums, so that they can be drawn here to the last bit. The
normalization is that of ``helpers.normalization``. The page shows what this module
finds where scripts do not run, and the tests compare the two.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from helpers import normalization
from helpers.data import Split

CLASSES = 10
SLOPE = 0.3  # of the leaky ReLU below zero
# A loss beyond what the notebooks' single precision can hold has diverged, as there.
LARGEST = float(np.finfo(np.float32).max)


class Settings(TypedDict):
    """A value for each of the page's knobs."""

    a: str
    b: str
    data: str
    rate: float
    schedule: str
    batch: int
    updates: int
    momentum: float
    scale: float
    depth: int
    width: int
    act: str
    measure: str
    seeds: int


@dataclass
class Run:
    """What one network went through."""

    losses: list[float] = field(default_factory=list)
    checks: list[tuple[int, float]] = field(default_factory=list)
    diverged: bool = False


def generator(seed: int, purpose: int, turn: int = 0) -> Iterator[float]:
    """Yield uniform numbers of sfc32, a generator of 32-bit integers."""
    bits = 0xFFFFFFFF
    a, b, c, d = seed, purpose, turn, 1
    for drawn in range(2**62):
        t = (a + b + d) & bits
        d = (d + 1) & bits
        a = b ^ (b >> 9)
        b = (c + (c << 3)) & bits
        c = ((c << 21 | c >> 11) + t) & bits
        if drawn >= 15:
            yield t / 2**32


def normal(uniform: Iterator[float]) -> float:
    """Draw a nearly normal number, cut at two deviations."""
    while True:
        total = -6.0
        for _ in range(12):
            total += next(uniform)
        if abs(total) <= 2:
            return total / 0.8861


def shuffled(uniform: Iterator[float], size: int) -> np.ndarray:
    """Return 0 to `size` - 1 in a random order."""
    order = np.arange(size)
    for i in range(size - 1, 0, -1):
        j = int(next(uniform) * (i + 1))
        order[i], order[j] = order[j], order[i]
    return order


def kernels(seed: int, sizes: list[int], scale: float) -> list[np.ndarray]:
    """Draw the kernels of a seed: `scale` times He's, the last one Glorot's."""
    uniform, drawn = generator(seed, 1), []
    for i, (m, n) in enumerate(zip(sizes, sizes[1:], strict=False)):
        if i == len(sizes) - 2:
            limit = np.sqrt(6 / (m + n))
            values = [limit * (2 * next(uniform) - 1) for _ in range(m * n)]
        else:
            deviation = scale * np.sqrt(2 / m)
            values = [deviation * normal(uniform) for _ in range(m * n)]
        drawn.append(np.array(values).reshape(m, n))
    return drawn


def batches(seed: int, batch: int, size: int) -> Iterator[np.ndarray]:
    """Yield the images of each batch; what is left of an epoch is skipped."""
    epoch = 0
    while True:
        epoch += 1
        order = shuffled(generator(seed, 2, epoch), size)
        for at in range(0, size - batch + 1, batch):
            yield order[at : at + batch]


def next_check(updates: int, total: int) -> int:
    """Return when the validation accuracy is measured after some updates."""
    return min(total, updates + max(1, min(updates // 8, total // 32)))


def rate(settings: Settings, update: int) -> float:
    """Return the learning rate of an update: constant, or falling along a cosine."""
    if settings["schedule"] == "constant":
        return settings["rate"]
    return settings["rate"] * (1 + np.cos(np.pi * (update / settings["updates"]))) / 2


def _sigmoid(y: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-y))


# The function, and its slope.
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "relu": (lambda y: np.where(y > 0, y, 0), lambda y: np.where(y > 0, 1, 0)),
    "leaky": (
        lambda y: np.where(y > 0, y, SLOPE * y),
        lambda y: np.where(y > 0, 1, SLOPE),
    ),
    "tanh": (np.tanh, lambda y: 1 - np.tanh(y) ** 2),
    "sigmoid": (_sigmoid, lambda y: _sigmoid(y) * (1 - _sigmoid(y))),
}


class Layer:
    """A kernel and, except at the top, a normalization of what it returns."""

    def __init__(self, kernel: np.ndarray, kind: str):
        self.kernel, self.kind = kernel.copy(), kind
        units = kernel.shape[1]
        self.gamma, self.beta = np.ones(units), np.zeros(units)
        self.mean, self.variance = np.zeros(units), np.ones(units)

    def forward(self, x: np.ndarray, momentum: float | None = None) -> np.ndarray:
        """Return the layer's output in training, or in inference without momentum."""
        self.x, z = x, x @ self.kernel
        if self.kind == "plain":
            return z + self.beta
        if self.kind == "layer":
            # An image's units are normalized as a batch norm's column is.
            n = len(z)
            self.x_hat, self.cache = normalization.forward(
                z, np.ones(n), np.zeros(n), axis=0
            )
            return self.gamma * self.x_hat + self.beta
        if momentum is None:
            return normalization.inference(
                z, self.gamma, self.beta, self.mean, self.variance
            )
        mean, variance = normalization.batch_statistics(z)
        self.mean = normalization.update_moving(self.mean, mean, momentum)
        self.variance = normalization.update_moving(self.variance, variance, momentum)
        y, self.cache = normalization.forward(z, self.gamma, self.beta)
        return y

    def backward(self, dy: np.ndarray, rate: float) -> np.ndarray:
        """Take a step of gradient descent; return the gradient of the input."""
        dz, dgamma, dbeta = dy, 0, dy.sum(axis=0)
        if self.kind == "layer":
            dgamma = (dy * self.x_hat).sum(axis=0)
            dz, _, _ = normalization.backward(dy * self.gamma, self.cache)
        elif self.kind != "plain":
            dz, dgamma, dbeta = normalization.backward(dy, self.cache)
        dx = dz @ self.kernel.T
        self.kernel -= rate * (self.x.T @ dz)
        if self.kind != "bare":
            self.gamma = self.gamma - rate * dgamma
            self.beta = self.beta - rate * dbeta
        return dx


class Network:
    """Layers with an activation between them; the last one returns logits."""

    def __init__(self, kind: str, start: list[np.ndarray], activation: str):
        *hidden, top = start
        self.layers = [Layer(kernel, kind) for kernel in hidden]
        self.layers.append(Layer(top, "plain"))
        self.activate, self.slope = ACTIVATIONS[activation]

    def forward(self, x: np.ndarray, momentum: float | None = None) -> np.ndarray:
        """Return logits, in training or, without a momentum, in inference."""
        self.inputs = []
        for layer in self.layers[:-1]:
            y = layer.forward(x, momentum)
            self.inputs.append(y)
            x = self.activate(y)
        return self.layers[-1].forward(x, momentum)

    def step(
        self, x: np.ndarray, labels: np.ndarray, rate: float, momentum: float
    ) -> float:
        """Make one update and return the loss before it; none if it is too large."""
        logits = self.forward(x, momentum)
        logits = logits - logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        loss = float(-logs[np.arange(len(x)), labels].mean())
        if not loss <= LARGEST:  # or NaN
            return loss
        d = (np.exp(logs) - np.eye(CLASSES)[labels]) / len(x)
        d = self.layers[-1].backward(d, rate)
        for layer, y in zip(self.layers[-2::-1], self.inputs[::-1], strict=True):
            d = layer.backward(d * self.slope(y), rate)
        return loss

    def accuracy(self, images: Split) -> float:
        """Return the share of right answers in inference mode."""
        return float(np.mean(self.forward(images.images).argmax(1) == images.labels))


def train(
    settings: Settings,
    seed: int,
    images: tuple[Split, Split],
    *,
    updates: int | None = None,
    checks: bool = True,
) -> tuple[Run, Run]:
    """Train a pair of twins.

    Parameters
    ----------
    settings : one value for each of the page's knobs.
    seed : draws kernels and batches, the same for both.
    images : to train on and to validate with, a row of numbers from 0 to 1 an image.
    updates : stop after so many; by default after those of the settings.
    checks : measure the validation accuracy on the way, not only at the end.
    """
    training, validation = images
    sizes = [training.images.shape[1], *[settings["width"]] * settings["depth"]]
    start = kernels(seed, [*sizes, CLASSES], settings["scale"])
    kinds = settings["a"], settings["b"]
    networks = [Network(kind, start, settings["act"]) for kind in kinds]
    runs, total = (Run(), Run()), settings["updates"]
    stop = total if updates is None else updates
    order = batches(seed, settings["batch"], len(training.labels))
    due = 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for done in range(stop + 1):
            if (checks and done == due) or done == stop:
                due = next_check(done, total)
                for network, run in zip(networks, runs, strict=True):
                    run.checks.append((done, network.accuracy(validation)))
            if done == stop:
                return runs
            rows, step = next(order), rate(settings, done)
            x, labels = training.images[rows], training.labels[rows]
            for network, run in zip(networks, runs, strict=True):
                if run.diverged:
                    continue
                loss = network.step(x, labels, step, settings["momentum"])
                run.diverged = not loss <= LARGEST
                if not run.diverged:
                    run.losses.append(loss)
    return runs
