"""Builders of the networks under study; each call returns a fresh Keras model."""

import inspect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras
import numpy as np

NORMALIZATIONS = {
    "batch": keras.layers.BatchNormalization,
    "layer": keras.layers.LayerNormalization,
}
ORDER = ("normalization", "activation", "dropout")
CHANNELS = "channels_last"  # as images here are, whatever Keras is configured to
# What all variables are: in Keras 3.6, those of layers are no `keras.Variable`.
VARIABLE = [
    kind for kind in keras.Variable.__mro__ if kind.__module__.startswith("keras.")
][-1]
KEPT_BY_KERAS = frozenset(vars(keras.layers.Dense(1))) | set(vars(keras.Sequential()))

Normalization = str | Callable[[], keras.Layer] | None


def mlp(
    widths: Sequence[int] = (256, 128),
    *,
    normalization: Normalization = None,
    input_normalization: Normalization = None,
    momentum: float = 0.99,
    activation: str = "relu",
    dropout: float = 0.0,
    order: Sequence[str] = ORDER,
    kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
    kernel_regularizer: keras.regularizers.Regularizer | None = None,
    input_shape: tuple[int, ...] = (28, 28),
    classes: int = 10,
) -> keras.Model:
    """Fully connected classifier that returns logits.

    Every hidden block is Dense, normalization (if any), activation, dropout (if
    any). Where normalization comes before the activation, the Dense layer has no
    bias: the shift beta takes its place (Ioffe & Szegedy 2015, section 3.2). Two
    models built after the same ``keras.utils.set_random_seed`` start from the same
    kernels, whatever stands between them.

    Parameters
    ----------
    widths : units of the hidden layers, from input to output.
    normalization : ``None``, ``"batch"``, ``"layer"``, or what returns a new layer.
    input_normalization : the same choice, for the pixels before the first layer.
    momentum : of the old value in moving statistics, but of those a function makes.
    activation : name of a Keras activation.
    dropout : share of a hidden block's units dropped in training, in [0, 1).
    order : of what follows each Dense layer: the three names of ``ORDER``, rearranged.
    kernel_initializer, kernel_regularizer : of the hidden layers' kernels.
    input_shape, classes : shape of one image, float32; number of logits.

    Raises
    ------
    ValueError
        If a normalization is unknown, or the order does not name the three.
    """
    _check(normalization, input_normalization)
    widths = _counts(widths=widths)
    after = _after_dense(order, normalization, momentum, activation, dropout)
    # Keras draws an initializer's seed when the initializer is made. Making all of
    # them first keeps the kernels the same whichever layers stand between them.
    template = keras.initializers.get(kernel_initializer)
    kernels = [_renewed(template) for _ in widths]
    output_kernel = keras.initializers.GlorotUniform()
    layers = [keras.Input(input_shape), keras.layers.Flatten(data_format=CHANNELS)]
    if input_normalization is not None:
        layers.append(_normalization(input_normalization, momentum))
    shifted = "normalization" in [*after][: [*after].index("activation")]
    dense = partial(
        keras.layers.Dense, use_bias=not shifted, kernel_regularizer=kernel_regularizer
    )
    for width, kernel in zip(widths, kernels, strict=True):
        layers.append(dense(int(width), kernel_initializer=kernel))
        layers += [make() for make in after.values()]
    layers.append(keras.layers.Dense(int(classes), kernel_initializer=output_kernel))
    return keras.Sequential(layers)


def convnet(
    filters: Sequence[int] = (16, 32),
    *,
    normalization: Normalization = None,
    momentum: float = 0.99,
    activation: str = "relu",
    input_shape: tuple[int, ...] = (28, 28),
    classes: int = 10,
) -> keras.Model:
    """Small convolutional classifier that returns logits.

    Every block is a 3×3 convolution of stride 2, normalization (if any) and
    activation; with normalization the convolution has no bias. Kernels are drawn by
    He's rule, the same after the same seed with every normalization.

    Parameters
    ----------
    filters : feature maps of each block.
    normalization, momentum, activation, classes : as for :func:`mlp`.
    input_shape : (height, width) or (height, width, channels) of one image.

    Raises
    ------
    ValueError
        If the normalization is unknown.
    """
    _check(normalization)
    filters = _counts(filters=filters)
    kernels = [keras.initializers.HeNormal() for _ in filters]  # as in `mlp`
    output_kernel = keras.initializers.GlorotUniform()
    layers = [
        keras.Input(input_shape),
        keras.layers.Reshape(_with_channels(input_shape)),
    ]
    for count, kernel in zip(filters, kernels, strict=True):
        layers.append(
            keras.layers.Conv2D(
                int(count),
                3,
                strides=2,
                padding="same",
                data_format=CHANNELS,
                use_bias=normalization is None,
                kernel_initializer=kernel,
            )
        )
        if normalization is not None:
            layers.append(_normalization(normalization, momentum))
        layers.append(keras.layers.Activation(activation))
    return keras.Sequential(
        [
            *layers,
            keras.layers.Flatten(data_format=CHANNELS),
            keras.layers.Dense(int(classes), kernel_initializer=output_kernel),
        ]
    )


def resnet(
    blocks: Sequence[int] = (2, 2, 2, 2),
    width: int = 64,
    *,
    normalization: Normalization = "batch",
    momentum: float = 0.99,
    preactivation: bool = False,
    zero_branches: bool = False,
    stem: Literal["imagenet", "cifar"] = "imagenet",
    input_shape: tuple[int, ...] = (28, 28),
    classes: int = 10,
) -> keras.Model:
    """Residual network of two-convolution blocks that returns logits.

    The defaults are ResNet-18 (He et al. 2016, arXiv:1512.03385, table 1). Each stage
    but the first halves height and width and doubles the feature maps; where shapes
    change, the shortcut is a 1×1 convolution. Without normalization there is none
    anywhere, and the convolutions have biases instead. Kernels are drawn by He's
    rule, the same after the same seed with every normalization and order.

    Parameters
    ----------
    blocks : residual blocks of each stage.
    width : feature maps of the first stage.
    normalization, momentum, classes : as for :func:`mlp`.
    preactivation : normalization and activation before each convolution, not after
        (He et al. 2016, arXiv:1603.05027).
    zero_branches : start the last kernel of every branch at zero, so that each block
        starts as its shortcut (as in Zhang et al. 2019, arXiv:1901.09321).
    stem : ``"imagenet"``, a 7×7 convolution of stride 2 and 3×3 max pooling of stride
        2; or ``"cifar"``, a 3×3 convolution.
    input_shape : (height, width) or (height, width, channels) of one image.

    The layers that add branch to shortcut are named ``block_1``, ``block_2``, …

    Raises
    ------
    ValueError
        If the normalization or the stem is unknown.
    """
    _check(normalization)
    blocks = _counts(blocks=blocks)
    stems = {"imagenet": (7, 2), "cifar": (3, 1)}
    if stem not in stems:
        raise ValueError(f"unknown stem {stem!r}: choose 'imagenet' or 'cifar'")
    parts = _Residual(normalization, momentum, preactivation, zero_branches)

    inputs = keras.Input(input_shape)
    x = keras.layers.Reshape(_with_channels(input_shape))(inputs)
    x = parts.convolve(x, width, *stems[stem])
    if not preactivation:
        x = parts.activate(x)
    if stem == "imagenet":
        x = keras.layers.MaxPooling2D(3, 2, padding="same", data_format=CHANNELS)(x)
    x = parts.stages(x, blocks, width)
    if preactivation:
        x = parts.activate(x)
    x = keras.layers.GlobalAveragePooling2D(data_format=CHANNELS)(x)
    return keras.Model(inputs, keras.layers.Dense(int(classes))(x))


def _another_generator() -> random.Random:
    """Return a generator that the common one decides, without drawing from that."""
    twin = random.Random()
    twin.setstate(random.getstate())
    return random.Random(twin.random())


@dataclass(frozen=True)
class _Residual:
    """What all blocks of a residual network share, and the layers made by it."""

    normalization: Normalization
    momentum: float
    preactivation: bool
    zero_branches: bool
    drawn: random.Random = field(default_factory=_another_generator)

    def convolve(self, x, filters, size=3, strides=1, zero=False):
        drawn = keras.initializers.HeNormal()  # always: it keeps the others the same
        return keras.layers.Conv2D(
            int(filters),
            size,
            strides=strides,
            padding="same",
            data_format=CHANNELS,
            use_bias=self.normalization is None,
            kernel_initializer=keras.initializers.Zeros() if zero else drawn,
        )(x)

    def normalize(self, x):
        if self.normalization is None:
            return x
        # What a normalization draws must not move the kernels that are drawn next.
        kernels = random.getstate()
        random.setstate(self.drawn.getstate())
        layer = _normalization(self.normalization, self.momentum)
        self.drawn.setstate(random.getstate())
        random.setstate(kernels)
        return layer(x)

    def activate(self, x):
        return keras.layers.Activation("relu")(self.normalize(x))

    def stages(self, x, blocks, width):
        number = 0
        for stage, count in enumerate(blocks):
            for index in range(count):
                number += 1
                strides = 2 if stage and not index else 1
                x = self.block(x, width * 2**stage, strides, f"block_{number}")
        return x

    def block(self, x, filters, strides, name):
        changes = strides > 1 or x.shape[-1] != filters
        before = self.activate(x) if self.preactivation else x
        branch = self.activate(self.convolve(before, filters, strides=strides))
        branch = self.convolve(branch, filters, zero=self.zero_branches)
        shortcut = self.convolve(before, filters, 1, strides) if changes else x
        if self.preactivation:
            return keras.layers.Add(name=name)([shortcut, branch])
        if changes:
            shortcut = self.normalize(shortcut)
        total = keras.layers.Add(name=name)([shortcut, self.normalize(branch)])
        return keras.layers.Activation("relu")(total)


def layers_of(model: keras.Model) -> list[keras.Layer]:
    """Return a model and all layers in it, however they are nested."""
    found: dict[int, keras.Layer] = {}

    def visit(layer: keras.Layer) -> None:
        if id(layer) in found:
            return
        found[id(layer)] = layer
        for value in vars(layer).values():
            for part in value if isinstance(value, list | tuple) else [value]:
                if isinstance(part, keras.Layer):
                    visit(part)

    visit(model)
    return list(found.values())


def operations_of(model: keras.Model) -> list[keras.Operation]:
    """Return what :func:`layers_of` does, and then the operations that are no layers.

    Those are what a functional model computes by ``x + y`` or ``keras.ops.relu(x)``.
    """
    layers = layers_of(model)
    found = {id(layer): layer for layer in layers}
    for layer in layers:
        if isinstance(layer, keras.Model):
            parts = getattr(layer, "operations", [])  # of a functional model
            found |= {id(part): part for part in parts}
    return list(found.values())


def settings_of(model: keras.Model) -> tuple:
    """Return what may be set in a model that is there, such as a rate or activation.

    What was compiled from the model is of these settings, and of no others.
    """
    parts = operations_of(model)
    policies = [getattr(part, "dtype_policy", None) for part in parts]
    held = [
        _plain(value)
        for part in parts
        for name, value in vars(part).items()
        if not name.startswith("_") or _is_own(name, part)
    ]
    return (
        tuple(getattr(part, "trainable", None) for part in [*parts, *model.variables]),
        tuple(policy and policy.name for policy in policies),
        tuple(held),
        (keras.config.epsilon(), keras.config.floatx()),
    )


def _is_own(name: str, part: keras.Operation) -> bool:
    """Whether a private attribute is of a layer's author, and not of Keras."""
    return type(part).__module__.split(".")[0] != "keras" and name not in KEPT_BY_KERAS


def _plain(value: Any, depth: int = 8) -> Any:
    """Return what is set by assigning, in a form that can be compared and hashed."""
    within = partial(_plain, depth=depth - 1)
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return value
    if isinstance(value, keras.Operation | VARIABLE) or depth == 0:
        return None  # layers are looked at by themselves, and weights are no settings
    if keras.ops.is_tensor(value):
        if not hasattr(value, "numpy") or "resource" in str(value.dtype):
            return None  # of a trace that ended, or a table
        value = np.asarray(keras.ops.convert_to_numpy(value))
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, partial):
        return within(value.func), within(value.args), within(value.keywords)
    if inspect.isroutine(value) or isinstance(value, type):
        return value
    if isinstance(value, Mapping):
        return tuple((key, within(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(within, value))
    if isinstance(value, set | frozenset):
        return frozenset(map(within, value))
    if inspect.ismodule(value):
        return None
    if not hasattr(value, "__dict__"):  # as a slice
        return repr(value)
    return type(value), within(vars(value))


def hidden(model: keras.Model) -> str | None:
    """Say which layer hides what is in it in a tf.function, if one does."""
    for layer in layers_of(model):
        compiled = [name for name, held in vars(layer).items() if _is_compiled(held)]
        if not compiled and _is_of_keras(type(layer)):
            continue
        for name in sorted(_called(layer)):
            if _is_compiled(inspect.getattr_static(layer, name, None)):
                return (
                    f"the {name} of {layer.name} is a tf.function, which hides what is "
                    "in it: take the decorator away; training is compiled without it, "
                    "too"
                )
    return None


def _is_compiled(held: Any) -> bool:
    return hasattr(held, "get_concrete_function")


def _called(layer: keras.Layer) -> set[str]:
    """Return the names of attributes that a layer's call may call, and theirs."""
    waiting, names = ["call"], set()
    while waiting:
        name = waiting.pop()
        function = inspect.getattr_static(layer, name, None)
        function = getattr(function, "python_function", function)
        code = getattr(inspect.unwrap(function), "__code__", None)
        if name not in names and function is not None:
            names.add(name)
            waiting += code.co_names if code else ()
    return names


def _is_of_keras(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "keras"


def takes(model: keras.Model, images: np.ndarray) -> bool:
    """Whether images have the shape that a model says it takes, if it says one.

    A last axis of size 1 may be there or not: Keras adds it, or takes it away.
    """
    shape, given = getattr(model, "input_shape", None), np.shape(images)
    if not isinstance(shape, tuple):
        return True
    if len(shape) == len(given) + 1 and shape[-1] == 1:
        given = (*given, 1)
    elif len(shape) == len(given) - 1 and given[-1] == 1:
        given = given[:-1]
    return len(shape) == len(given) and all(
        n in (None, m) for n, m in zip(shape, given, strict=True)
    )


def _check(*normalizations: Normalization) -> None:
    for kind in normalizations:
        if isinstance(kind, keras.Layer):
            raise ValueError(
                f"the normalization must be what makes a layer for each place, as "
                f"keras.layers.BatchNormalization or a lambda, not one layer, {kind!r}"
            )
        if kind is not None and not callable(kind) and kind not in [*NORMALIZATIONS]:
            known = ", ".join(map(repr, NORMALIZATIONS))
            raise ValueError(f"unknown normalization {kind!r}: choose None, {known}")


def _counts(**counts: Iterable[int]) -> Sequence[int]:
    ((name, given),) = counts.items()
    if not isinstance(given, Iterable):
        raise ValueError(
            f"{name} holds a number for each layer or stage, as ({given},), not "
            f"{given!r}"
        )
    return tuple(given)


def _after_dense(
    order: Sequence[str],
    normalization: Normalization,
    momentum: float,
    activation: str,
    dropout: float,
) -> dict[str, Callable[[], keras.Layer]]:
    """Makers of what follows each Dense layer, by name, in their order."""
    if sorted(order) != sorted(ORDER):
        raise ValueError(f"order must name {', '.join(ORDER)} once each, not {order}")
    make = {"activation": partial(keras.layers.Activation, activation)}
    if normalization is not None:
        make["normalization"] = partial(_normalization, normalization, momentum)
    if dropout:
        make["dropout"] = partial(keras.layers.Dropout, dropout)
    return {part: make[part] for part in order if part in make}


def _renewed(initializer: Any) -> Any:
    """Return an initializer with a seed of its own, if its configuration says all."""
    base = keras.initializers.Initializer
    kinds = [kind for kind in type(initializer).__mro__ if "get_config" in vars(kind)]
    # One says nothing, or says what another class than its own takes.
    inherited = kinds[:1] != [type(initializer)] and not _is_of_keras(type(initializer))
    if kinds[:1] in ([], [base]) or inherited:
        return initializer
    return type(initializer).from_config(initializer.get_config())


def _normalization(kind: str | Callable, momentum: float) -> keras.Layer:
    if kind is keras.layers.BatchNormalization:
        kind = "batch"
    if callable(kind):
        return kind()
    options = {"momentum": momentum} if kind == "batch" else {}
    return NORMALIZATIONS[kind](**options)


def _with_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1) if len(shape) == 2 else tuple(shape)
