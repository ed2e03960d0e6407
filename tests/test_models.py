"""The networks under study: their layers, their sizes, their shared start."""

import math
from functools import partial

import keras
import numpy as np
import pytest

from helpers import models

NORMALIZATIONS = [None, *models.NORMALIZATIONS]


def kernels(seed, *arguments, **options):
    keras.utils.set_random_seed(seed)
    weights = models.mlp(*arguments, **options).get_weights()
    return [array for array in weights if array.ndim == 2]


@pytest.mark.parametrize(
    ("normalization", "parameters"),
    [
        # (784 + 1) * 256 + (256 + 1) * 128 + (128 + 1) * 10
        (None, 235_146),
        # The biases of the hidden layers give way to gamma, beta, and for batch
        # normalization to a moving mean and variance: 384 of each.
        ("batch", 235_146 - 384 + 4 * 384),
        ("layer", 235_146 - 384 + 2 * 384),
    ],
)
def test_parameters_are_those_counted_by_hand(normalization, parameters):
    model = models.mlp(normalization=normalization)
    assert model.count_params() == parameters
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize("normalization", models.NORMALIZATIONS)
def test_blocks_are_dense_without_bias_then_normalization_then_activation(
    normalization,
):
    model = models.mlp((5, 4), normalization=normalization, activation="tanh")
    layer = models.NORMALIZATIONS[normalization]
    block = [keras.layers.Dense, layer, keras.layers.Activation]
    expected = [keras.layers.Flatten, *block, *block, keras.layers.Dense]
    assert [type(layer) for layer in model.layers] == expected
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.use_bias for layer in dense] == [False, False, True]
    assert model.layers[3].activation is keras.activations.tanh


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_model_returns_logits(normalization):
    model = models.mlp((8,), normalization=normalization, input_shape=(4, 4))
    logits = model(np.random.default_rng(0).normal(size=(50, 4, 4))).numpy()
    assert logits.min() < 0 < logits.max()
    assert not np.allclose(logits.sum(axis=1), 1)


@pytest.mark.parametrize("initializer", ["he_normal", keras.initializers.HeNormal()])
def test_one_seed_gives_all_normalizations_the_same_kernels(initializer):
    options = {"kernel_initializer": initializer, "input_shape": (3, 3)}
    plain, *normalized = (
        kernels(3, (9, 9), normalization=kind, **options) for kind in NORMALIZATIONS
    )
    for other in normalized:
        np.testing.assert_equal(other, plain)
    assert not np.array_equal(plain[0], plain[1])  # each layer draws its own
    assert not np.array_equal(plain[0], kernels(4, (9, 9), **options)[0])


@pytest.mark.parametrize("kind", models.NORMALIZATIONS)
@pytest.mark.parametrize("hidden", NORMALIZATIONS)
def test_the_input_is_normalized_first_and_the_kernels_stay_the_same(kind, hidden):
    options = {"normalization": hidden, "input_shape": (3, 3)}
    model = models.mlp((9, 9), input_normalization=kind, **options)
    bare = models.mlp((9, 9), **options)
    flatten, first, *others = [type(layer) for layer in model.layers]
    assert first is models.NORMALIZATIONS[kind]
    assert [flatten, *others] == [type(layer) for layer in bare.layers]
    assert model.layers[1].gamma.shape == (9,)
    ours = kernels(5, (9, 9), input_normalization=kind, **options)
    np.testing.assert_equal(ours, kernels(5, (9, 9), **options))


def test_the_hidden_layers_take_the_initializer():
    first, second, output = kernels(
        1, (6, 5), kernel_initializer=keras.initializers.Constant(0.5)
    )
    assert (first == 0.5).all()
    assert (second == 0.5).all()
    assert output.std() > 0


@pytest.mark.parametrize("argument", ["normalization", "input_normalization"])
def test_an_unknown_normalization_is_named_with_the_choices(argument):
    with pytest.raises(ValueError, match="'group': choose None, 'batch', 'layer'"):
        models.mlp(**{argument: "group"})


def test_dropout_follows_the_activation_and_leaves_the_kernels_alone():
    options = {"normalization": "batch", "input_shape": (3, 3)}
    model = models.mlp((9, 9), dropout=0.4, **options)
    names = [type(layer).__name__ for layer in model.layers[1:5]]
    assert names == ["Dense", "BatchNormalization", "Activation", "Dropout"]
    assert model.layers[4].rate == 0.4
    ours = kernels(5, (9, 9), dropout=0.4, **options)
    np.testing.assert_equal(ours, kernels(5, (9, 9), **options))


@pytest.mark.parametrize(
    ("order", "bias"),
    [
        (("normalization", "dropout", "activation"), False),
        (("dropout", "normalization", "activation"), False),
        (("activation", "normalization", "dropout"), True),
        (("dropout", "activation", "normalization"), True),
    ],
)
def test_the_order_is_free_and_a_bias_stays_where_it_is_not_redundant(order, bias):
    model = models.mlp((5, 4), normalization="batch", dropout=0.1, order=order)
    layers = {
        "normalization": keras.layers.BatchNormalization,
        "activation": keras.layers.Activation,
        "dropout": keras.layers.Dropout,
    }
    block = [layers[part] for part in order]
    assert [type(layer) for layer in model.layers[2:5]] == block
    assert [type(layer) for layer in model.layers[6:9]] == block
    assert [model.layers[index].use_bias for index in (1, 5)] == [bias, bias]


def test_without_normalization_the_order_does_not_take_the_bias():
    model = models.mlp((5,), order=("normalization", "activation", "dropout"))
    assert model.layers[1].use_bias


def test_a_normalization_may_be_what_makes_a_layer():
    def make():
        return keras.layers.GroupNormalization(groups=2)

    model = models.mlp((6, 4), normalization=make)
    found = [model.layers[index] for index in (2, 5)]
    assert all(isinstance(layer, keras.layers.GroupNormalization) for layer in found)
    assert found[0] is not found[1]
    assert not model.layers[1].use_bias


@pytest.mark.parametrize(
    "order", [("normalization", "activation"), ("norm", "activation", "dropout")]
)
def test_an_order_that_does_not_name_the_three_is_refused(order):
    with pytest.raises(ValueError, match="normalization, activation, dropout once"):
        models.mlp(order=order)


def test_the_penalty_is_on_the_hidden_kernels_alone():
    penalty = keras.regularizers.L2(0.5)
    model = models.mlp((6, 4), kernel_regularizer=penalty)
    hidden = [model.layers[index].kernel.numpy() for index in (1, 3)]
    expected = 0.5 * sum((kernel**2).sum() for kernel in hidden)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


SMALL = {"blocks": (1, 2), "width": 4, "input_shape": (12, 12)}


def normalizations(model):
    """Return the layers of a model that normalize."""
    return [layer for layer in model.layers if "Normalization" in type(layer).__name__]


def learned(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def convolution_kernels(seed, build, **options):
    keras.utils.set_random_seed(seed)
    return [array for array in build(**options).get_weights() if array.ndim == 4]


@pytest.mark.parametrize(
    ("normalization", "parameters"),
    [
        # 3·3·1·16 + 16, 3·3·16·32 + 32, and the dense layer on 7 · 7 · 32 numbers
        (None, 160 + 4_640 + 15_690),
        ("batch", 160 + 4_640 + 15_690 - 48 + 4 * 48),
    ],
)
def test_parameters_of_the_convnet_are_those_counted_by_hand(normalization, parameters):
    model = models.convnet(normalization=normalization)
    assert model.count_params() == parameters
    assert len(normalizations(model)) == (0 if normalization is None else 2)
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize(
    ("options", "published"),
    [
        # torchvision's resnet18 for ImageNet, and the usual one for CIFAR-10
        ({"input_shape": (224, 224, 3), "classes": 1_000}, 11_689_512),
        ({"input_shape": (32, 32, 3), "stem": "cifar"}, 11_173_962),
    ],
)
def test_resnet_18_has_as_many_parameters_as_published(options, published):
    assert learned(models.resnet(**options)) == published


@pytest.mark.parametrize("preactivation", [False, True])
def test_a_resnet_without_normalization_has_none_anywhere(preactivation):
    plain = models.resnet(**SMALL, normalization=None, preactivation=preactivation)
    assert normalizations(plain) == []
    convolutions = [x for x in plain.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convolutions) == 1 + 2 * 3 + 1
    assert all(layer.use_bias for layer in convolutions)
    batch = models.resnet(**SMALL, preactivation=preactivation)
    # A stem, two a block, a projection; or two a block and one at the end.
    assert len(normalizations(batch)) == (7 if preactivation else 8)
    assert not any(
        layer.use_bias
        for layer in batch.layers
        if isinstance(layer, keras.layers.Conv2D)
    )


@pytest.mark.parametrize(
    "build", [models.convnet, partial(models.resnet, (1, 1), 16, stem="cifar")]
)
def test_kernels_of_convolutions_are_drawn_by_hes_rule(build):
    for kernel in convolution_kernels(2, build):
        inputs = math.prod(kernel.shape[:3])
        assert kernel.std() == pytest.approx(math.sqrt(2 / inputs), rel=0.15)


@pytest.mark.parametrize("build", [models.convnet, models.resnet])
def test_one_seed_gives_all_convolutional_networks_the_same_kernels(build):
    options = SMALL if build is models.resnet else {}
    plain = convolution_kernels(2, build, normalization=None, **options)
    others = [{"normalization": "batch"}, {"normalization": "layer"}]
    if build is models.resnet:
        others.append({"normalization": "batch", "preactivation": True})
    drawing = partial(
        keras.layers.BatchNormalization, gamma_initializer="random_normal"
    )
    others.append({"normalization": drawing})
    for other in others:
        found = convolution_kernels(2, build, **other, **options)
        for ours, theirs in zip(found, plain, strict=True):
            np.testing.assert_equal(ours, theirs)
    assert not np.array_equal(plain[0], convolution_kernels(3, build, **options)[0])


def test_momentum_holds_for_the_class_of_keras_too():
    layers = [
        model.layers[-3]
        for kind in ("batch", keras.layers.BatchNormalization)
        for model in [models.mlp((8,), normalization=kind, momentum=0.5)]
    ]
    assert [layer.momentum for layer in layers] == [0.5, 0.5]


@pytest.mark.parametrize("build", [models.mlp, models.convnet, models.resnet])
def test_one_width_without_a_tuple_is_named(build):
    with pytest.raises(ValueError, match=r"holds a number for each .* as \(16,\)"):
        build(16)


def test_a_list_of_normalizations_is_refused():
    with pytest.raises(ValueError, match="unknown normalization .*: choose None"):
        models.mlp(normalization=["batch", None])


def test_zero_branches_start_every_block_as_its_shortcut():
    images = np.random.default_rng(0).normal(size=(5, 12, 12)).astype("float32")
    for zero in (True, False):
        model = models.resnet(**SMALL, normalization=None, zero_branches=zero)
        adds = [model.get_layer(f"block_{number}") for number in (1, 2, 3)]
        branches = keras.Model(model.input, [add.input[1] for add in adds])
        for branch in branches(images):
            assert np.any(branch) != zero
    ours = convolution_kernels(2, models.resnet, zero_branches=True, **SMALL)
    for mine, usual in zip(
        ours, convolution_kernels(2, models.resnet, **SMALL), strict=True
    ):
        assert np.array_equal(mine, usual) == bool(mine.any())


@pytest.mark.parametrize(
    ("preactivation", "before", "after"),
    [
        (False, "BatchNormalization", "Activation"),
        (True, "Conv2D", "BatchNormalization"),
    ],
)
def test_the_order_of_a_residual_block(preactivation, before, after):
    model = models.resnet((1,), 4, preactivation=preactivation)
    names = [type(layer).__name__ for layer in model.layers]
    at = names.index("Add")
    assert (names[at - 1], names[at + 1]) == (before, after)


def test_a_shortcut_that_changes_shape_takes_what_the_branch_takes():
    model = models.resnet((1, 1), 4, preactivation=True, stem="cifar")
    (projection,) = [
        layer for layer in model.layers if getattr(layer, "kernel_size", 0) == (1, 1)
    ]
    seen = [model.get_layer("block_1").output, projection.output]
    images = np.random.default_rng(0).normal(size=(3, 28, 28)).astype("float32")
    block, shortcut = keras.Model(model.input, seen)(images)
    # Nothing has moved yet: a normalization divides by the root of 1 + epsilon.
    active = np.maximum(block, 0)[:, ::2, ::2] / np.sqrt(1.001)
    expected = active @ projection.kernel.numpy()[0, 0]
    np.testing.assert_allclose(shortcut, expected, rtol=1e-4, atol=1e-5)


def test_the_stem_of_imagenet_quarters_the_image():
    for stem, size in (("imagenet", 7), ("cifar", 28)):
        model = models.resnet((1,), 4, stem=stem)
        assert model.get_layer("block_1").output.shape == (None, size, size, 4)
    with pytest.raises(ValueError, match="unknown stem 'mnist': choose 'imagenet'"):
        models.resnet(stem="mnist")


def test_each_stage_but_the_first_halves_the_image_and_doubles_the_maps():
    model = models.resnet((1, 2, 1), 4, stem="cifar")
    shapes = [model.get_layer(f"block_{n}").output.shape[1:] for n in (1, 2, 3, 4)]
    assert shapes == [(28, 28, 4), (14, 14, 8), (14, 14, 8), (7, 7, 16)]


@pytest.mark.parametrize("build", [models.convnet, models.resnet])
def test_convolutional_networks_name_an_unknown_normalization(build):
    with pytest.raises(ValueError, match="'group': choose None, 'batch', 'layer'"):
        build(normalization="group")


def test_numbers_of_units_may_be_numpys():
    two = np.int64(2)
    dense = models.mlp(np.array([4, 3]), classes=two)
    assert [layer.units for layer in dense.layers if hasattr(layer, "units")] == [
        4,
        3,
        2,
    ]
    assert models.convnet([two], classes=two).output_shape == (None, 2)
    for build in (models.mlp, models.convnet):
        assert len(build(map(int, ["64", "32"])).weights) == 6
    assert models.resnet(np.array([1]), two, classes=two).output_shape == (None, 2)


def test_keras_configuration_changes_no_network():
    def counts():
        built = (models.mlp((4,)), models.convnet((4, 8)), models.resnet((1, 1), 8))
        return [model.count_params() for model in built]

    usual = counts()
    keras.config.set_image_data_format("channels_first")
    try:
        assert counts() == usual
        flat = models.mlp((4,), input_shape=(2, 3, 2)).layers[0]
        images = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
        assert np.array_equal(flat(images)[0], np.arange(12))
    finally:
        keras.config.set_image_data_format("channels_last")
