"""Builders of the networks under study; each call returns a fresh Keras model."""

from collections.abc import Sequence

import keras

NORMALIZATIONS = {
    "batch": keras.layers.BatchNormalization,
    "layer": keras.layers.LayerNormalization,
}


def mlp(
    widths: Sequence[int] = (256, 128),
    *,
    normalization: str | None = None,
    input_normalization: str | None = None,
    momentum: float = 0.99,
    activation: str = "relu",
    kernel_initializer: str | keras.initializers.Initializer = "glorot_uniform",
    input_shape: tuple[int, ...] = (28, 28),
    classes: int = 10,
) -> keras.Model:
    """Fully connected classifier that returns logits.

    Every hidden block is Dense, normalization (if any), activation. A normalized
    block has no bias in its Dense layer: the shift beta takes its place (Ioffe &
    Szegedy 2015, section 3.2). Two models built after the same
    ``keras.utils.set_random_seed`` start from the same kernels, whatever their
    normalization.

    Parameters
    ----------
    widths : units of the hidden layers, from input to output.
    normalization : ``None``, ``"batch"`` or ``"layer"``.
    input_normalization : the same choice, for the pixels before the first layer.
    momentum : weight of the old value in batch normalization's moving statistics.
    activation : name of a Keras activation.
    kernel_initializer : initializer of the hidden layers' kernels.
    input_shape : shape of one image, float32.
    classes : number of logits.

    Raises
    ------
    ValueError
        If a normalization is unknown.
    """
    for kind in (normalization, input_normalization):
        if kind is not None and kind not in NORMALIZATIONS:
            known = ", ".join(map(repr, NORMALIZATIONS))
            raise ValueError(f"unknown normalization {kind!r}: choose None, {known}")
    # Keras draws an initializer's seed when the initializer is made. Making all of
    # them first keeps the kernels the same whichever layers stand between them.
    template = keras.initializers.get(kernel_initializer)
    kernels = [type(template).from_config(template.get_config()) for _ in widths]
    output_kernel = keras.initializers.GlorotUniform()

    def normalize(kind: str) -> keras.Layer:
        options = {"momentum": momentum} if kind == "batch" else {}
        return NORMALIZATIONS[kind](**options)

    layers = [keras.Input(input_shape), keras.layers.Flatten()]
    if input_normalization is not None:
        layers.append(normalize(input_normalization))
    for width, kernel in zip(widths, kernels, strict=True):
        layers.append(
            keras.layers.Dense(
                width, use_bias=normalization is None, kernel_initializer=kernel
            )
        )
        if normalization is not None:
            layers.append(normalize(normalization))
        layers.append(keras.layers.Activation(activation))
    layers.append(keras.layers.Dense(classes, kernel_initializer=output_kernel))
    return keras.Sequential(layers)
