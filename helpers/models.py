"""Builders of the networks under study; each call returns a fresh Keras model."""

from collections.abc import Callable, Sequence

import keras

NORMALIZATIONS = {
    "batch": keras.layers.BatchNormalization,
    "layer": keras.layers.LayerNormalization,
}
ORDER = ("normalization", "activation", "dropout")

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
    momentum : weight of the old value in batch normalization's moving statistics.
    activation : name of a Keras activation.
    dropout : share of a hidden block's units dropped in training, in [0, 1).
    order : of what follows each Dense layer: ``"normalization"``, ``"activation"``
        and ``"dropout"``, rearranged.
    kernel_initializer : initializer of the hidden layers' kernels.
    kernel_regularizer : penalty on the hidden layers' kernels.
    input_shape : shape of one image, float32.
    classes : number of logits.

    Raises
    ------
    ValueError
        If a normalization is unknown, or the order does not name the three.
    """
    for kind in (normalization, input_normalization):
        if kind is not None and not callable(kind) and kind not in NORMALIZATIONS:
            known = ", ".join(map(repr, NORMALIZATIONS))
            raise ValueError(f"unknown normalization {kind!r}: choose None, {known}")
    if sorted(order) != sorted(ORDER):
        raise ValueError(f"order must name {', '.join(ORDER)} once each, not {order}")
    # Keras draws an initializer's seed when the initializer is made. Making all of
    # them first keeps the kernels the same whichever layers stand between them.
    template = keras.initializers.get(kernel_initializer)
    kernels = [type(template).from_config(template.get_config()) for _ in widths]
    output_kernel = keras.initializers.GlorotUniform()

    def normalize(kind: Normalization) -> keras.Layer:
        if callable(kind):
            return kind()
        options = {"momentum": momentum} if kind == "batch" else {}
        return NORMALIZATIONS[kind](**options)

    layers = [keras.Input(input_shape), keras.layers.Flatten()]
    if input_normalization is not None:
        layers.append(normalize(input_normalization))
    shifted = normalization is not None and (
        order.index("normalization") < order.index("activation")
    )
    make = {
        "normalization": normalization and (lambda: normalize(normalization)),
        "activation": lambda: keras.layers.Activation(activation),
        "dropout": dropout and (lambda: keras.layers.Dropout(dropout)),
    }
    for width, kernel in zip(widths, kernels, strict=True):
        layers.append(
            keras.layers.Dense(
                width,
                use_bias=not shifted,
                kernel_initializer=kernel,
                kernel_regularizer=kernel_regularizer,
            )
        )
        layers += [make[part]() for part in order if make[part]]
    layers.append(keras.layers.Dense(classes, kernel_initializer=output_kernel))
    return keras.Sequential(layers)
