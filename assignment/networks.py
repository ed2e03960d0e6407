"""Q2.1 to Q2.4: the images, and the twin networks as the sandbox describes them.

A network arrives as ``{"layers": [{"kind": "Dense", "units": 256, …}, …]}`` with the
weights of each layer. The judge scores those weights itself, in NumPy: no accuracy is
taken on trust.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from assignment import asking
from assignment.marks import Answers, Mark, array, different, total, unanswered

WIDTHS = ("dense256", "relu", "dense128", "relu", "dense10")
TWIN = ("dense", "bn", "relu", "dense", "bn", "relu", "dense")  # whatever the widths
PARAMETERS = 236_298  # of the batch-normalized twin, 784-256-128-10
IGNORED = {"InputLayer", "Flatten", "Reshape", "Dropout"}  # no effect at inference
SEEDS = (11, 12)
LAYERS, UNITS = 12, 1_024  # at most of a network that is scored
PARTS = ("train", "validation", "test")
SAMPLE = 40  # images of each part that are compared


# --- Q2.1 ----------------------------------------------------------------------------


def image_calls(rng: np.random.Generator, pixels: Mapping[str, np.ndarray]) -> list:
    """Return what `preprocess` is asked: made-up grey values, some of each part."""
    made_up = rng.integers(0, 256, (3, 28, 28)).astype("uint8")
    made_up[0, 0, :2] = 0, 255
    made_up[1:] //= 2  # who divides by the largest value scales images differently
    return [[made_up], *([sample(pixels[part])] for part in PARTS)]


def sample(images: np.ndarray) -> np.ndarray:
    """Return the images of a part that a notebook is asked for."""
    return asking.some(images, SAMPLE)


def judge_images(calls: Sequence, preprocess: Answers, images: Answers) -> Mark:
    """Mark scaling (3 points) and that all parts went through it (3 points)."""
    if problem := unanswered("preprocess", preprocess, len(calls)):
        return Mark(0, 6, problem)
    values = [array(answer["value"]) for answer in preprocess]
    dtype = getattr(preprocess[0]["value"], "dtype", None)
    scaled = _judge_scaling(calls[0][0], values[0], dtype)
    if values[0] is not None and np.array_equal(values[0], calls[0][0]):
        return Mark(0, 6, "preprocess hands the grey values back unscaled")
    return total([scaled, _judge_parts(values[1:], images)])


def _judge_scaling(
    pixels: np.ndarray, value: np.ndarray | None, dtype: np.dtype | None
) -> Mark:
    if value is None or value.shape != pixels.shape:
        return Mark(0, 3, different("preprocess", pixels / 255, value))
    if not np.allclose(value, pixels / 255, atol=1e-4):
        low, high = value.min(), value.max()
        return Mark(
            0, 3, f"grey values 0 to 255 become {low:.3g} to {high:.3g}, not 0 to 1"
        )
    if dtype != np.float32:
        return Mark(2, 3, f"preprocess returns {dtype or 'no array'}, not float32")
    return Mark(3, 3, "")


def _judge_parts(expected: Sequence, images: Answers) -> Mark:
    if problem := unanswered("images", images, 1):
        return Mark(0, 3, problem)
    given, marks = images[0]["value"], []
    for part, right in zip(PARTS, expected, strict=True):
        of = 2 if part == "test" else 0.5
        value = array(given.get(part)) if isinstance(given, Mapping) else None
        if value is None or right is None or value.shape != right.shape:
            marks.append(Mark(0, of, f'images["{part}"] does not hold its images'))
        elif not np.allclose(value, right, rtol=1e-3, atol=1e-4):
            marks.append(
                Mark(
                    0,
                    of,
                    f"your {part} images run from {value.min():.3g} to "
                    f"{value.max():.3g}: they did not go through preprocess as the "
                    "others did",
                )
            )
        else:
            marks.append(Mark(of, of, ""))
    return total(marks)


def scaling(part: str, pixels: np.ndarray, images: Answers) -> tuple[float, float]:
    """Return a and b where the images of a part are a x + b; 1 and 0 if unknown."""
    given = images[0].get("value") if images else None
    value = array(given.get(part)) if isinstance(given, Mapping) else None
    right = sample(pixels) / 255
    if value is None or value.size != right.size or not np.isfinite(value).all():
        return 1.0, 0.0
    value = value.reshape(right.shape)  # who makes rows of images pays for it once
    slope, offset = np.polyfit(right.ravel(), value.ravel(), 1)
    if slope and np.allclose(value, slope * right + offset, atol=1e-4 * abs(slope)):
        return float(slope), float(offset)
    return 1.0, 0.0


# --- Q2.2 to Q2.4 --------------------------------------------------------------------


def network_calls() -> list:
    """Return what `build` is asked: both twins from a seed, one from another seed."""
    return [[False, SEEDS[0]], [True, SEEDS[0]], [True, SEEDS[1]]]


def judge_networks(answers: Answers) -> Mark:
    """Mark structure (3), logits (2), place of batch norm (3), bias (1), kernels (3).

    A bias before batch normalization is idle: it costs least.
    """
    if problem := unanswered("build", answers, 3):
        return Mark(0, 12, problem)
    try:
        networks = [answer["value"] for answer in answers]
        plain, twin, other = map(_layers, networks)
        kinds = {layer["kind"] for network in networks for layer in network["layers"]}
        return total(
            [
                _judge_widths(plain, twin),
                _judge_logits(plain, twin),
                _judge_place(plain, twin, "Dropout" in kinds),
                _judge_biases(plain, twin),
                _judge_kernels(plain, twin, other),
            ]
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return Mark(0, 12, "build does not return a Keras network")


def tokens(layers: Sequence[Mapping]) -> tuple[str, ...]:
    """Return a network as words: dense256, bn, relu, …"""
    words = []
    for layer in layers:
        kind, activation = layer["kind"], layer["activation"]
        if kind == "Dense":
            words.append(f"dense{layer['units']}")
        elif kind == "BatchNormalization":
            words.append("bn")
        elif kind == "ReLU" and (layer.get("slope") or layer.get("ceiling")):
            words.append("another relu")
        elif kind in ("ReLU", "Softmax"):
            words.append(kind.lower())
        elif kind not in IGNORED | {"Activation"}:
            words.append(kind)
        if kind in ("Dense", "Activation") and activation not in ("linear", "None"):
            words.append(activation)
    return tuple(words)


def _layers(network: Mapping) -> list[Mapping]:
    return [layer for layer in network["layers"] if layer["kind"] not in IGNORED]


def _without(layers: Sequence[Mapping], *words: str) -> tuple[str, ...]:
    return tuple(word for word in tokens(layers) if word not in words)


def _judge_widths(plain: Sequence, twin: Sequence) -> Mark:
    inputs = [np.shape(layers[0]["weights"][0])[0] for layers in (plain, twin)]
    bodies = [_without(layers, "bn", "softmax") for layers in (plain, twin)]
    if inputs == [784, 784] and bodies == [WIDTHS, WIDTHS]:
        return Mark(3, 3, "")
    wrong = next((body for body in bodies if body != WIDTHS), bodies[0])
    asked = "-".join(("784", *WIDTHS))
    given = "-".join((*(str(n) for n in inputs[:1]), *wrong))
    return Mark(0, 3, f"asked is {asked} in both networks, not {given}")


def _judge_logits(plain: Sequence, twin: Sequence) -> Mark:
    last = [_without(layers, "bn")[-1] for layers in (plain, twin)]
    if last == ["dense10", "dense10"]:
        return Mark(2, 2, "")
    return Mark(
        0, 2, f"your network ends in {last[0]}: return logits, the loss has the softmax"
    )


def _judge_place(plain: Sequence, twin: Sequence, dropout: bool) -> Mark:
    words = tuple(word.rstrip("0123456789") for word in _without(twin, "softmax"))
    norms = [layer for layer in twin if layer["kind"] == "BatchNormalization"]
    whole = all(layer["scale"] and layer["center"] for layer in norms)
    learning = all(layer.get("trainable", True) for layer in [*plain, *twin])
    right = words == TWIN and "bn" not in tokens(plain)
    if dropout:
        return Mark(0, 3, "a network has dropout, which was not asked for")
    if right and whole and learning:
        return Mark(3, 3, "")
    if right:
        says = "batch normalization lacks γ or β" if learning else "a layer is frozen"
    elif "bn" in tokens(plain):
        says = "your plain network has batch normalization"
    elif words.count("bn") != 2:
        says = f"your twin has {words.count('bn')} batch normalizations, asked are two"
    else:
        says = "batch normalization does not stand right before each ReLU"
    return Mark(0, 3, says)


def _judge_biases(plain: Sequence, twin: Sequence) -> Mark:
    if "bn" not in tokens(twin):
        return Mark(0, 1, "")  # said already
    dense = [layer["use_bias"] for layer in twin if layer["kind"] == "Dense"]
    own = [layer["use_bias"] for layer in plain if layer["kind"] == "Dense"]
    if dense == [False, False, True] and own == [True, True, True]:
        return Mark(1, 1, "")
    if any(dense[:-1]):
        n = sum(np.size(w) for layer in twin for w in layer["weights"])
        return Mark(
            0,
            1,
            "a bias is left in front of batch normalization, which subtracts it: "
            f"{n:,} parameters instead of {PARAMETERS:,}",
        )
    return Mark(0, 1, "biases belong to every layer but those before batch norm")


def _judge_kernels(plain: Sequence, twin: Sequence, other: Sequence) -> Mark:
    first, second, third = map(_kernels, (plain, twin, other))
    if not first or len(first) != len(second) or len(first) != len(third):
        return Mark(0, 3, "")  # said already
    if not all(map(np.array_equal, first, second)):
        return Mark(0, 3, "the twins start from different kernels after the same seed")
    if any(map(np.array_equal, second, third)):
        return Mark(0, 3, "build gives the same kernels after every seed")
    return Mark(3, 3, "")


def _kernels(layers: Sequence[Mapping]) -> list[np.ndarray]:
    return [
        np.asarray(w) for layer in layers for w in layer["weights"] if np.ndim(w) == 2
    ]


# --- scoring -------------------------------------------------------------------------


def untouched(network: Mapping, new: Mapping | None = None) -> bool:
    """Whether a network is as it was built: training moves all that can be moved.

    Parameters
    ----------
    network : what `train` returned.
    new : what `build` returns after the same seed; None if it does not answer.
    """
    # Not the last kernel: a network that names one digit always is made by it alone.
    hidden = _kernels(_layers(network))[:-1]
    built = _kernels(_layers(new))[:-1] if new is not None else []
    if hidden and len(hidden) == len(built) and all(map(np.array_equal, hidden, built)):
        return True
    vectors = [
        np.asarray(weight)
        for layer in _layers(network)
        for weight in layer["weights"]
        if np.ndim(weight) == 1
    ]
    # Without any, nothing more can be seen.
    return bool(vectors) and all(np.isin(v, (0, 1)).all() for v in vectors)


def accuracy(network: Mapping, images: np.ndarray, labels: np.ndarray) -> float:
    """Score a trained network's weights, with batch norm's moving statistics.

    Raises
    ------
    ValueError
        If it has a layer that is not of the networks asked for, or does not fit.
    """
    x = images.reshape(len(images), -1).astype("float32")
    layers = _layers(network)
    if len(layers) > LAYERS:
        raise ValueError(f"the network has {len(layers)} layers: at most {LAYERS}")
    with np.errstate(all="ignore"):  # a diverged network scores what it scores
        for layer in layers:
            x = _activate(_apply(x, layer), layer)
    return float(np.mean(x.argmax(axis=1) == labels))


def _apply(x: np.ndarray, layer: Mapping) -> np.ndarray:
    weights = [np.asarray(weight, dtype="float32") for weight in layer["weights"]]
    _check_shapes(weights, x.shape[1], layer)
    if layer["kind"] == "Dense":
        return x @ weights[0] + (weights[1] if layer["use_bias"] else 0)
    if layer["kind"] == "BatchNormalization":
        gamma = weights.pop(0) if layer["scale"] else 1
        beta = weights.pop(0) if layer["center"] else 0
        mean, variance = weights
        return gamma * (x - mean) / np.sqrt(variance + float(layer["epsilon"])) + beta
    if layer["kind"] in ("ReLU", "Activation", "Softmax"):
        return x
    raise ValueError(f"the network has a layer that was not asked for: {layer['kind']}")


def _check_shapes(weights: Sequence, inputs: int, layer: Mapping) -> None:
    """Refuse weights that broadcast: with one for each image they hold the answers."""
    kind, units = layer["kind"], inputs
    if kind == "Dense":
        units = min(int(layer["units"]), UNITS)
    vectors = [(units,)] * (len(weights) - (kind == "Dense"))
    shapes = [(inputs, units), *vectors] if kind == "Dense" else vectors
    if [weight.shape for weight in weights] != shapes:
        raise ValueError(f"a layer {kind} has weights of other shapes than its inputs")


def _activate(x: np.ndarray, layer: Mapping) -> np.ndarray:
    if layer["kind"] == "ReLU":
        x = np.maximum(x, (layer.get("slope") or 0) * x)
        return np.minimum(x, layer.get("ceiling") or np.inf)
    if layer["activation"] == "relu":
        return np.maximum(x, 0)
    if layer["activation"] in ("linear", "None", "softmax"):  # the order stays
        return x
    raise ValueError(f"the network has an activation {layer['activation']!r}")
