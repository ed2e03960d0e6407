"""What is measured inside a network.

Gradients and losses are those of training: batch normalization uses the statistics
of the images it is given. Nothing here but `reestimate` changes a model. What a model
returns are logits; of probabilities the loss would be another.
"""

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import Any

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from helpers.models import (
    VARIABLE,
    hidden,
    layers_of,
    operations_of,
    settings_of,
    takes,
)

ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
)
# Functions of layers are watched, and models that train side by side may share layers.
_alone = threading.RLock()
# Of the loss in half precision, whose smallest gradients would be zero at 1.
SCALES = tuple(2.0**power for power in (15, 12, 9, 6, 3, 0))
# Of whatever rank.
NO_KERNELS = ("alpha", "beta", "bias", "embeddings", "gamma", "scale")


def reestimate(model: keras.Model, images: np.ndarray, *, dropout: bool = True) -> None:
    """Replace the moving statistics by those of the images, taken as one batch.

    What batch normalization then uses at inference is the mean and the (biased)
    variance over all images under the present weights: neither a trailing average
    nor the noise of small batches is left (Ioffe & Szegedy 2015, algorithm 2, steps
    8 to 10; called precise batch norm by Wu & Johnson 2021).

    Parameters
    ----------
    model : changed in place: its moving statistics alone, those of frozen layers too.
    images : (n, ...) float32, usually the training images; n activations of every
        layer must fit in memory.
    dropout : whether all other layers, dropout before all, act as in training, or as
        at inference.

    Raises
    ------
    ValueError
        If there is no image; if a layer renormalizes: in training it passes on what
        its old averages make of a batch, which inference never does; or if a layer
        normalizes in a loop that is compiled, as in a recurrent layer. Of one that is
        not, but of `keras.ops.map`, the first step counts twice, as Keras calls it.
    """
    _check(model, images, None)
    norms = _averaged(model)
    statistics = {id(variable) for norm in norms for variable in norm.variables}
    before = _held(model)
    others = [  # dropout counts what it draws, spectral normalization changes kernels
        (variable, value)
        for variable, value in before
        if id(variable) not in statistics or variable.trainable
    ]
    try:
        with _alone, ExitStack() as stack:
            looped: list[str] = []
            for norm in norms:
                stack.enter_context(_averaging(norm, looped))
            model(images, training=dropout)
            if looped:
                raise ValueError(
                    f"{looped[0]} is called in a loop that is compiled, as of "
                    "vectorized_map: call it on all steps at once instead"
                )
    except BaseException:  # Ctrl-C too: no layer keeps half of an average
        others = before
        raise
    finally:
        for variable, value in others:
            variable.assign(value)


def _averaged(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return all batch normalization of a model, if plain averages can be taken."""
    norms = [
        layer
        for layer in layers_of(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for norm in norms:
        if getattr(norm, "renorm", False):  # there from Keras 3.14 on
            raise ValueError(
                f"{norm.name} renormalizes, so its averages cannot be taken in one "
                "pass: build it without renorm=True"
            )
    for layer in layers_of(model):
        looped = isinstance(layer, keras.layers.RNN) and not layer.unroll
        if looped and any(part in norms for part in layers_of(layer.cell)):
            raise ValueError(
                f"{layer.name} normalizes in a loop, which Keras begins twice, so that "
                "its first step would count twice: build it with unroll=True"
            )
    return norms


def _check(model: keras.Model, images: np.ndarray, labels: np.ndarray | None) -> None:
    """Refuse what cannot be probed truly, by one sentence."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"a probe takes a keras.Model, not a {type(model).__name__}")
    if isinstance(images, list | tuple | dict):
        raise ValueError("give the images as one array, as np.stack makes of a list")
    if tf.config.functions_run_eagerly():
        raise ValueError(
            "TensorFlow compiles nothing here: call tf.config.run_functions_eagerly"
            "(False) before a probe"
        )
    if problem := hidden(model):
        raise ValueError(problem)
    if not model.built:
        raise ValueError(f"{model.name} has no weights yet: call it on images first")
    if len(getattr(model, "inputs", None) or [model]) > 1:
        raise ValueError(
            f"{model.name} takes several inputs, and a probe gives one: let a model of "
            "one input call it"
        )
    for layer in layers_of(model):
        if _is_computed_twice(layer):  # TensorFlow would give zeros
            raise ValueError(
                f"{layer.name} computes its outputs twice, whose gradients cannot be "
                "had here: build it outside of a keras.RematScope, and without "
                "keras.remat"
            )
    if not takes(model, images):
        raise ValueError(
            f"the model takes images of shape {model.input_shape}, not "
            f"{np.shape(images)}: the first number counts images"
        )
    if len(images) == 0:
        raise ValueError("there are no images to probe with: give at least one")
    shape = getattr(model, "output_shape", None)  # of a class there is none
    if isinstance(getattr(model, "output", None), dict):  # of one it is as of a tensor
        shape = {name: output.shape for name, output in model.output.items()}
    shapes = [shape]
    if shape is None or any(not layer.built for layer in layers_of(model)):
        # A layer, or an output, may be there in training alone.
        shapes = [_shape_of_a_call(model, images, mode) for mode in (False, True)]
    for shape in shapes if labels is not None else []:
        _check_labels(shape, len(images), np.asarray(labels))


def _is_computed_twice(layer: keras.Layer) -> bool:
    """Whether it saves memory by `keras.remat` or `tf.recompute_grad`."""
    inner = [getattr(value, "_f", None) for value in vars(layer).values()]
    names = [getattr(function, "__qualname__", "") for function in inner]
    by_function = any(name.startswith("recompute_grad") for name in names)
    return bool(by_function or getattr(layer, "_remat_mode", None))


def _shape_of_a_call(model: keras.Model, images: np.ndarray, training: bool) -> Any:
    """Return the shape of what a model returns; it has all its weights then."""
    before = _held(model)
    returned = model(images, training=training)
    shape = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), returned)
    for variable, value in before:
        variable.assign(value)
    return shape


def _held(model: keras.Model) -> list[tuple[keras.Variable, np.ndarray]]:
    """Return all that a call may change: variables, metrics, states, and values."""
    states = [getattr(layer, "states", None) for layer in layers_of(model)]
    parts = keras.tree.flatten([model.variables, model.metrics_variables, states])
    return [(part, part.numpy()) for part in parts if isinstance(part, VARIABLE)]


def _check_labels(shape: Any, n_images: int, labels: np.ndarray) -> None:
    """Refuse labels that do not fit the images or the logits."""
    lengths = shape if isinstance(shape, tuple) else ()
    if len(lengths) != 2 or not isinstance(lengths[-1], int):
        raise ValueError(
            f"the model returns shape {shape}: let it return logits alone, (n, "
            "classes), as after a Flatten layer"
        )
    if labels.shape != (n_images,):
        raise ValueError(
            f"labels of shape {labels.shape} do not fit {n_images} images: give a "
            "whole number for each"
        )
    highest = lengths[-1] - 1
    whole = labels.dtype.kind in "iu"
    if not whole or not 0 <= labels.min() <= labels.max() <= highest:
        extent = f" from {labels.min()} to {labels.max()}" if whole else ""
        raise ValueError(
            f"the labels must be whole numbers from 0 to {highest}, not "
            f"{labels.dtype}{extent}: number the classes from 0, and let the model "
            "return a logit for each"
        )


@contextmanager
def _averaging(
    norm: keras.layers.BatchNormalization, looped: list[str]
) -> Iterator[None]:
    """Let a layer train, and keep the plain average of what it assigns: often one.

    Its name is added to `looped` if a graph, and not Python, calls it.
    """
    call, momentum, frozen = norm.call, norm.momentum, not norm.trainable
    named = inspect.signature(call).parameters.values()
    hears = any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in named)
    mode = {"training": True} if hears else {}  # else it goes by the batch anyway

    def trained(*args, **kwargs):
        if not tf.executing_eagerly():
            looped.append(norm.name)
        return call(*args, **kwargs | mode)

    norm.call, norm.momentum = trained, 0.0
    for moving in (norm.moving_mean, norm.moving_variance):
        if not np.isfinite(moving).all():  # 0 times that would still be no number
            moving.assign(tf.zeros_like(moving))
    if frozen:  # or it would go on using the statistics it has
        norm.trainable = True
    try:
        with _averaged_values(norm.moving_mean), _averaged_values(norm.moving_variance):
            yield
    finally:
        norm.momentum = momentum
        if frozen:
            norm.trainable = False
        del norm.call


@contextmanager
def _averaged_values(moving: keras.Variable) -> Iterator[None]:
    """Assign the average of all that is assigned, by calls or for parts of a batch."""
    assign, n = moving.assign, 0

    def averaged(value):
        nonlocal n
        n += 1
        keep = 1 - 1 / n
        value = tf.cast(tf.convert_to_tensor(value), moving.dtype)
        return assign(value if n == 1 else keep * moving + (1 - keep) * value)

    moving.assign = averaged
    try:
        yield
    finally:
        del moving.assign


def loss(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Cross-entropy (nats) of a batch, normalized by its own statistics."""
    _check(model, images, labels)
    return float(_slopes(model, images, labels)(_weights(model))[0])


def gradient_norms(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Frobenius norm of the loss's gradient for each kernel, in the model's order.

    That is from input to output where layers are made in this order.

    Returns
    -------
    A number a kernel, float32; zero where the loss does not depend on it.

    Raises
    ------
    ValueError
        If the model has no trainable kernel.
    """
    _check(model, images, labels)
    kernels = _kernels(model, at_least=1)
    at = partial(_differentiate, model, _weights(model), images, np.asarray(labels))
    _, gradients = _scaled(model, at)
    return np.array([np.linalg.norm(gradients[index]) for index in kernels])


def along_gradient(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    distances: Sequence[float],
) -> pd.DataFrame:
    """How loss and gradient change along the gradient of one batch.

    Parameters
    ----------
    model : its weights are the starting point W, g the gradient there.
    images, labels : the batch; all losses and gradients are of it.
    distances : learning rates s of the steps W - s·g; at 0, smoothness is NaN.

    Returns
    -------
    A row a distance: ``distance``; ``loss`` (nats) there; ``gradient_change``, the
    length of the gradient's change over the length of g; ``smoothness``, the same
    length over the length of the step. Their maxima over the distances are what
    Santurkar et al. (2018, section 3.1) plot as variation of the loss, gradient
    predictiveness (there not relative) and effective beta-smoothness.
    """
    _check(model, images, labels)
    slopes, weights = _slopes(model, images, labels), _weights(model)
    _, gradients = slopes(weights)
    length = tf.linalg.global_norm(gradients)
    rows = []
    for distance in np.atleast_1d(np.asarray(distances)):
        moved = [w - distance * g for w, g in zip(weights, gradients, strict=True)]
        there, others = slopes(moved)
        change = tf.linalg.global_norm(
            [b - a for a, b in zip(gradients, others, strict=True)]
        )
        relative = float(change / length)
        smoothness = relative / distance if distance else np.nan
        rows.append((distance, float(there), relative, smoothness))
    return pd.DataFrame(
        rows, columns=["distance", "loss", "gradient_change", "smoothness"]
    )


def covariate_shift(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, learning_rate: float
) -> pd.DataFrame:
    """How one step of the preceding layers changes a layer's gradient.

    For each kernel but the first, the gradient G at the weights as they are is
    compared with the gradient G' after all variables before it, in the model's order,
    made one step of gradient descent (Santurkar et al. 2018, definition 2.1).

    Returns
    -------
    A row a kernel: ``kernel``, its number from 1; ``cosine`` of the angle between
    G and G'; ``change``, the length of G' - G over that of G; NaN where G is zero.

    Raises
    ------
    ValueError
        If the model has fewer than two trainable kernels.
    """
    _check(model, images, labels)
    kernels = _kernels(model, at_least=2)
    slopes, weights = _slopes(model, images, labels), _weights(model)
    _, gradients = slopes(weights)
    rows = []
    for number, index in enumerate(kernels[1:], 2):
        moved = [
            weight - learning_rate * gradient if position < index else weight
            for position, (weight, gradient) in enumerate(
                zip(weights, gradients, strict=True)
            )
        ]
        _, after = slopes(moved)
        old, new = gradients[index], after[index]
        length = tf.norm(old)
        length = np.nan if length == 0 else length  # no share of nothing
        cosine = tf.reduce_sum(old * new) / (length * tf.norm(new))
        rows.append((number, float(cosine), float(tf.norm(new - old) / length)))
    return pd.DataFrame(rows, columns=["kernel", "cosine", "change"])


def activation_inputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Inputs of the last hidden activation, as training computes them.

    The activation may be a layer, stand in a layer, as in ``Dense(8, "relu")``, or be
    written as ``keras.ops.relu(x)`` in a functional model. One that a class calls by
    itself, a ``Lambda``, or a ``Softmax`` layer, of which attention is made, is not
    seen; one that is last and stands in a ``TimeDistributed`` or in another loop is
    refused, but in `keras.ops.vectorized_map`, of which the first step is taken.

    Returns
    -------
    (n, units) float32, normalized by the statistics of the images where the model
    normalizes by the batch.

    Raises
    ------
    ValueError
        If the model has no hidden activation, or the last is computed in a loop.
    """
    _check(model, images, None)
    with _alone:
        problem, found = _inputs(model, settings_of(model))(images)
    if problem := bytes(problem.numpy()).decode():
        raise ValueError(problem)
    if found.shape[:1] != (len(images),):
        raise ValueError(
            "the last hidden activation is computed in a loop, as of vectorized_map: "
            "call its layer on all images at once instead"
        )
    return found.numpy().astype(np.float32, copy=False)


def drift(levels: Sequence[np.ndarray]) -> float:
    """How far a unit's median moves between measurements, over its spread.

    Parameters
    ----------
    levels : a measurement's 15th, 50th and 85th percentiles of each unit, (3, units);
        two measurements or more.

    Returns
    -------
    The mean over the units of their median's mean move, divided by half of the mean
    distance from the 15th to the 85th percentile.
    """
    low, middle, high = np.moveaxis(np.stack(levels), 1, 0)  # (measurements, units)
    moves = np.abs(np.diff(middle, axis=0)).mean(axis=0)
    spread = (high - low).mean(axis=0) / 2
    return (moves / spread).mean()


def _kernels(model: keras.Model, at_least: int) -> list[int]:
    """Positions of the kernels among the trainable variables."""
    found = [
        index
        for index, variable in enumerate(model.trainable_variables)
        if len(variable.shape) > 1 and variable.name not in NO_KERNELS
    ]
    if len(found) < at_least:
        raise ValueError(
            f"the model has too few trainable kernels ({len(found)}): it needs at "
            f"least {at_least}, so give it more layers, or unfreeze those it has"
        )
    return found


def _weights(model: keras.Model) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(variable) for variable in model.trainable_variables]


def _call(model: keras.Model, weights, images):
    """Logits of training at any weights, and the weights that they are computed with.

    Those are others where a layer changes them first, as `SpectralNormalization` does.
    The model stays as it is. Unlike `stateless_call`, it lets all layers know of
    training, whether or not what holds them says so.
    """
    variables = model.trainable_variables
    mapping = list(zip(variables, weights, strict=True))
    with keras.StatelessScope(state_mapping=mapping) as scope:
        logits = model(images, training=True)
    return logits, [scope.get_current_value(variable) for variable in variables]


def _differentiate(model: keras.Model, weights, images, labels, scale=1.0):
    """Loss and its gradients at any weights.

    The loss is scaled before, and the gradients are scaled back, for what half
    precision would round to zero: as `keras.optimizers.LossScaleOptimizer` does.
    """
    with tf.GradientTape() as tape:
        tape.watch(weights)
        logits, weights = _call(model, weights, images)
        value = keras.losses.sparse_categorical_crossentropy(
            labels, tf.cast(logits, tf.float32), from_logits=True
        )
        value = tf.reduce_mean(value)
        scaled = value * scale
    zeros = tf.UnconnectedGradients.ZERO
    gradients = tape.gradient(scaled, weights, unconnected_gradients=zeros)
    # Those of embeddings are no tensors.
    return value, [tf.convert_to_tensor(g) / scale for g in gradients]


# A model in training is probed again and again: its compiled functions are kept.
@lru_cache(maxsize=32)
def _compiled(model: keras.Model, settings: tuple) -> Callable:
    return tf.function(partial(_differentiate, model))


def _slopes(model: keras.Model, images, labels) -> Callable:
    """Return what gives a batch's loss and gradients at any weights."""
    labels = np.asarray(labels)
    settings = settings_of(model)

    def slopes(weights):
        compiled = _compiled(model, settings)
        return _scaled(model, partial(compiled, weights, images, labels))

    return slopes


def _scaled(model: keras.Model, differentiate: Callable) -> tuple:
    """Return loss and gradients, by the largest scale at which half precision holds."""
    if all(layer.compute_dtype != "float16" for layer in layers_of(model)):
        return differentiate()
    for scale in SCALES:
        value, gradients = differentiate(scale)
        if all(np.isfinite(gradient).all() for gradient in gradients):
            break
    return value, gradients


@lru_cache(maxsize=32)
def _inputs(model: keras.Model, settings: tuple) -> Callable:
    @tf.function
    def inputs(images):
        seen: list[tuple] = []  # activations' layers, inputs and outputs, in order
        parts = operations_of(model)
        stepwise = [inner for part in parts for inner in _steps_of(part)]
        with ExitStack() as stack:
            for part in parts:
                if hasattr(part, "state_size"):  # of a recurrent layer, step by step
                    continue
                inside = vars(part).get("activation")
                if inside is keras.activations.linear:
                    continue
                if isinstance(part, ACTIVATIONS) or _is_activation(part):
                    stack.enter_context(_watched(part, "call", seen, images))
                elif callable(inside):
                    stack.enter_context(_watched(part, "activation", seen, images))
            logits, _ = _call(model, model.trainable_variables, images)
        hidden = [(part, before) for part, before, after in seen if after is not logits]
        if not hidden:  # TensorFlow would add its trace to an error raised here
            return "the model has no hidden activation: there are no inputs", logits
        last, found = hidden[-1]
        if found is None or any(last is part for part in stepwise):
            return (
                "the last hidden activation is computed step by step, in a "
                "TimeDistributed, a recurrent cell or another loop: let one come after "
                "it, or call its layer on all steps at once"
            ), logits
        return "", found

    return inputs


def _steps_of(part: keras.Operation) -> list[keras.Operation]:
    """Return what it computes once a step."""
    if isinstance(part, keras.layers.TimeDistributed):
        return operations_of(part.layer)
    if hasattr(part, "state_size"):  # of a recurrent layer, or a cell of one
        return [inner for inner in layers_of(part) if not hasattr(inner, "state_size")]
    return []


def _is_activation(part: keras.Operation) -> bool:
    """Whether an operation that is no layer is one of `keras.activations`."""
    names = {name.replace("_", "") for name in dir(keras.activations)} | {"exp"}
    return not isinstance(part, keras.Layer) and type(part).__name__.lower() in names


def _comes_of(tensor: tf.Tensor, images: tf.Tensor) -> bool:
    """Whether a tensor of a graph is computed from images, or in another graph."""
    if tensor.graph is not images.graph:
        return True
    waiting, seen = [tensor.op], set()
    while waiting:
        operation = waiting.pop()
        if operation is images.op:
            return True
        if operation.name not in seen:
            seen.add(operation.name)
            waiting += [source.op for source in operation.inputs]
    return False


@contextmanager
def _watched(
    part: keras.Operation, name: str, seen: list[tuple], images: tf.Tensor
) -> Iterator[None]:
    """Note what a function of a layer or an operation makes of images."""
    function, is_own = getattr(part, name), name in vars(part)
    graph = tf.compat.v1.get_default_graph()

    def watched(*args, **kwargs):
        outputs = function(*args, **kwargs)
        inputs, *_ = [*args, *kwargs.values()]
        if not isinstance(inputs, tf.Tensor) or not _comes_of(inputs, images):
            return outputs  # it acts on a weight
        # In a loop or a condition it has a graph of its own, whose values end with it.
        whole = inputs.graph is graph
        seen.append((part, inputs if whole else None, outputs if whole else None))
        return outputs

    setattr(part, name, watched)
    try:
        yield
    finally:
        if is_own:
            setattr(part, name, function)
        else:
            delattr(part, name)
