"""Measurements inside a network, against what NumPy finds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import newest

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


@pytest.mark.parametrize("whole", [True, False])
def test_frozen_statistics_are_reestimated_and_frozen_again(images, whole):
    model = models.mlp((8,), normalization="batch")
    norm = model.layers[2]
    (model if whole else norm).trainable = False
    trained = [variable.path for variable in model.trainable_variables]
    probes.reestimate(model, images)
    z = images.reshape(300, -1).astype(np.float64) @ model.layers[1].kernel.numpy()
    np.testing.assert_allclose(norm.moving_mean, z.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, z.var(axis=0), rtol=1e-4)
    assert not norm.trainable
    assert [variable.path for variable in model.trainable_variables] == trained


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


def test_statistics_without_dropout_are_those_of_the_network_without_it(images):
    dropped = models.mlp((8, 4), normalization="batch", dropout=0.5)
    bare = models.mlp((8, 4), normalization="batch")
    for new, old in zip(bare.weights, dropped.weights, strict=True):
        new.assign(old)
    probes.reestimate(bare, images)
    probes.reestimate(dropped, images)
    with_dropout = dropped.layers[6].moving_variance.numpy()
    probes.reestimate(dropped, images, dropout=False)
    for new, old in zip(dropped.weights, bare.weights, strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)
    assert not np.allclose(dropped.layers[6].moving_variance, with_dropout)
    assert [dropped.layers[index].rate for index in (4, 8)] == [0.5, 0.5]


# --- layers of every kind, wherever they are -----------------------------------------


@pytest.fixture
def sequences():
    return 4 + np.random.default_rng(0).random((50, 3, 8), dtype=np.float32)


class Holder(keras.layers.Layer):
    """Keeps its layers in a dictionary."""

    def __init__(self):
        super().__init__()
        self.parts = {"norm": keras.layers.BatchNormalization()}

    def call(self, images, training=None):
        return self.parts["norm"](images, training=training)


def classifier(*layers):
    return keras.Sequential(
        [keras.Input((3, 8)), *layers, keras.layers.Flatten(), keras.layers.Dense(4)]
    )


def norms(model):
    kind = keras.layers.BatchNormalization
    return [layer for layer in models.layers_of(model) if isinstance(layer, kind)]


NESTED = {
    "held": Holder,
    "in a model in a model": lambda: keras.Sequential(
        [keras.Sequential([keras.layers.BatchNormalization()])]
    ),
}


@pytest.mark.parametrize("name", NESTED)
def test_batch_norm_is_found_wherever_it_is(sequences, name):
    model = classifier(NESTED[name]())
    probes.reestimate(model, sequences)
    (norm,) = norms(model)
    np.testing.assert_allclose(norm.moving_mean, sequences.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, sequences.var((0, 1)), rtol=1e-3)


def test_a_layer_called_many_times_keeps_the_average_over_its_calls(sequences):
    norm = keras.layers.BatchNormalization(momentum=0.9)
    probes.reestimate(classifier(keras.layers.TimeDistributed(norm)), sequences)
    np.testing.assert_allclose(norm.moving_mean, sequences.mean((0, 1)), rtol=1e-5)
    expected = sequences.var(axis=0).mean(axis=0)
    np.testing.assert_allclose(norm.moving_variance, expected, rtol=1e-3)
    assert norm.momentum == 0.9


DROPPING = {
    "dropout": lambda: keras.layers.Dropout(0.5),
    "spatial dropout": lambda: keras.layers.SpatialDropout1D(0.5),
    "gaussian dropout": lambda: keras.layers.GaussianDropout(0.5),
    "alpha dropout": lambda: keras.layers.AlphaDropout(0.5),
    "gaussian noise": lambda: keras.layers.GaussianNoise(1.0),
    "in a recurrent layer": lambda: keras.layers.GRU(
        8, dropout=0.5, recurrent_dropout=0.5, return_sequences=True
    ),
}


@pytest.mark.parametrize("name", DROPPING)
def test_dropout_of_every_kind_can_be_switched_off(sequences, name):
    model = classifier(DROPPING[name](), keras.layers.BatchNormalization())
    seeds = [v.numpy() for v in model.variables if "seed" in v.path]
    inputs = np.array(model.layers[0](sequences, training=False), dtype=np.float64)
    for variable, value in zip(
        [v for v in model.variables if "seed" in v.path], seeds, strict=True
    ):
        variable.assign(value)
    probes.reestimate(model, sequences, dropout=False)
    (norm,) = norms(model)
    np.testing.assert_allclose(norm.moving_mean, inputs.mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, inputs.var((0, 1)), rtol=1e-3)
    probes.reestimate(model, sequences)
    assert not np.allclose(norm.moving_variance, inputs.var((0, 1)), rtol=0.01)
    for variable, value in zip(
        [v for v in model.variables if "seed" in v.path], seeds, strict=True
    ):
        np.testing.assert_array_equal(variable, value)


ACTIVATIONS = {
    "activation": lambda: keras.layers.Activation("tanh"),
    "relu": keras.layers.ReLU,
    "leaky relu": keras.layers.LeakyReLU,
    "prelu": keras.layers.PReLU,
    "elu": keras.layers.ELU,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_inputs_are_those_of_the_last_activation_of_every_kind(sequences, name):
    make, dense = ACTIVATIONS[name], keras.layers.Dense(6)
    model = classifier(
        keras.layers.Flatten(), keras.layers.Dense(5), make(), dense, make()
    )
    x = np.array(keras.Sequential(model.layers[:3])(sequences))
    expected = x @ dense.kernel.numpy() + dense.bias.numpy()
    found = probes.activation_inputs(model, sequences)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32


def test_an_activation_may_stand_in_a_layer_and_the_last_is_not_hidden(sequences):
    model = keras.Sequential(
        [
            keras.Input((3, 8)),
            keras.layers.GRU(5),
            keras.layers.Dense(6, "gelu"),
            keras.layers.Dense(4, "softmax"),
        ]
    )
    dense = model.layers[1]
    x = np.array(model.layers[0](sequences))
    expected = x @ dense.kernel.numpy() + dense.bias.numpy()
    found = probes.activation_inputs(model, sequences)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert dense.activation is keras.activations.gelu


WRITTEN = {
    "relu": (keras.ops.relu, lambda z: np.maximum(z, 0)),
    "an activation": (keras.activations.relu, lambda z: np.maximum(z, 0)),
    "tanh": (keras.ops.tanh, np.tanh),
    "leaky relu": (keras.ops.leaky_relu, lambda z: np.maximum(z, 0.2 * z)),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_an_activation_may_be_an_operation_of_a_functional_model(sequences, name):
    operation, activation = WRITTEN[name]
    first, second = keras.layers.Dense(5, "tanh"), keras.layers.Dense(6)
    inputs = keras.Input((3, 8))
    x = operation(second(first(keras.layers.Flatten()(inputs))))
    inner = keras.Model(inputs, x + 1.0)
    for model in (inner, keras.Sequential([inner, keras.layers.Dense(4, "softmax")])):
        found = probes.activation_inputs(model, sequences)
        x = np.tanh(sequences.reshape(50, -1) @ first.kernel.numpy())
        np.testing.assert_allclose(found, x @ second.kernel.numpy(), atol=1e-5)
        z = activation(x @ second.kernel.numpy())
        np.testing.assert_allclose(inner(sequences), z + 1, atol=1e-5)


def test_an_activation_may_be_nested(sequences):
    inner = keras.Sequential([keras.layers.Dense(6), keras.layers.ReLU()])
    model = classifier(keras.layers.Flatten(), inner)
    dense = inner.layers[0]
    expected = sequences.reshape(50, -1) @ dense.kernel.numpy() + dense.bias.numpy()
    found = probes.activation_inputs(model, sequences)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_are_those_of_kernels_of_every_name(sequences):
    labels = np.arange(50, dtype=np.int32) % 4
    model = classifier(
        keras.layers.SeparableConv1D(5, 2),
        keras.layers.PReLU(),
        keras.layers.GRU(3, return_sequences=True),
        keras.layers.LayerNormalization(),
    )
    names = ["depthwise_kernel", "pointwise_kernel", "kernel", "recurrent_kernel"]
    kernels = [v for v in model.trainable_variables if v.name in names]
    assert len(kernels) == 5
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        loss = entropy(labels, model(sequences, training=True))
    slopes = tape.gradient(loss, kernels)
    expected = [np.linalg.norm(slope) for slope in slopes]
    found = probes.gradient_norms(model, sequences, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert list(probes.covariate_shift(model, sequences, labels, 0.1)["kernel"]) == [
        2, 3, 4, 5,
    ]  # fmt: skip


# --- gradients and losses, against closed forms --------------------------------------


@pytest.fixture
def labels():
    return np.arange(300, dtype=np.int32) % 10


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def regression(images, labels, kernel):
    """Loss of softmax regression without bias, and its gradient."""
    x, y = images.reshape(len(images), -1).astype(np.float64), np.eye(10)[labels]
    chances = softmax(x @ kernel)
    entropy = -np.log((chances * y).sum(axis=1)).mean()
    return entropy, x.T @ (chances - y) / len(x), (chances - y).mean(axis=0)


def test_loss_is_that_of_training_mode(images, labels):
    model = models.mlp((8,), normalization="batch")
    logits = np.array(model(images, training=True), dtype=np.float64)
    expected = -np.log(softmax(logits)[np.arange(300), labels]).mean()
    assert probes.loss(model, images, labels) == pytest.approx(expected, rel=1e-5)


class Loud(keras.Model):
    """Hears of training and does not pass it on; its layers hear of it all the same."""

    def __init__(self):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.hidden = keras.layers.Dense(8, "relu")
        self.norm = keras.layers.BatchNormalization()
        self.last = keras.layers.Dense(10)

    def call(self, images, training=None):
        return self.last(self.norm(self.hidden(self.flatten(images))))


class Silent(Loud):
    """Does not take `training`."""

    def call(self, images):
        return super().call(images)


class Within(Silent):
    """Stands in another model."""


@pytest.mark.parametrize("kind", [Loud, Silent, Within])
@pytest.mark.skipif(
    keras.version().split(".")[1] in ("6", "7"), reason="its layers do not hear of it"
)
def test_all_layers_of_a_class_hear_of_training(images, labels, kind):
    made = kind()
    model = keras.Sequential([made]) if kind is Within else made
    model(images)
    made.norm.moving_variance.assign(np.full(8, 3.0))  # inference is another matter
    before = [variable.numpy() for variable in model.variables]
    inputs = images.reshape(300, -1) @ made.hidden.kernel.numpy()
    z = np.maximum(inputs, 0).astype(np.float64)
    z = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-3)
    entropy, slope, _ = regression(z, labels, made.last.kernel.numpy())
    assert probes.loss(model, images, labels) == pytest.approx(entropy, rel=1e-5)
    norms = probes.gradient_norms(model, images, labels)
    assert norms[-1] == pytest.approx(np.linalg.norm(slope), rel=1e-4)
    found = probes.activation_inputs(model, images)
    np.testing.assert_allclose(found, inputs, atol=1e-5)
    for variable, start in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, start)


def test_what_the_loss_does_not_depend_on_has_a_gradient_of_zero(images, labels):
    inputs = keras.Input((28, 28))
    x, aside = keras.layers.Flatten()(inputs), keras.layers.Dense(3)
    stopped = keras.layers.Lambda(keras.ops.stop_gradient)(aside(x))
    last = keras.layers.Dense(10)
    model = keras.Model(inputs, last(keras.layers.Concatenate()([x, stopped])))
    x = images.reshape(300, -1)
    x = np.concatenate([x, x @ aside.kernel.numpy()], axis=1)
    _, slope, _ = regression(x, labels, last.kernel.numpy())
    norms = probes.gradient_norms(model, images, labels)
    np.testing.assert_allclose(norms, [0, np.linalg.norm(slope)], rtol=1e-4)
    frame = probes.covariate_shift(model, images, labels, 0.1)
    assert frame["cosine"][0] == pytest.approx(1)
    assert frame["change"][0] == 0
    assert probes.along_gradient(model, images, labels, [0.1]).notna().all(axis=None)


def test_labels_may_be_a_list(images, labels):
    model, told = models.mlp((8,)), labels.tolist()
    assert probes.loss(model, images, told) == probes.loss(model, images, labels)
    for measure, argument in (
        (probes.gradient_norms, ()),
        (probes.along_gradient, ([0.1],)),
        (probes.covariate_shift, (0.1,)),
    ):
        expected = measure(model, images, labels, *argument)
        np.testing.assert_array_equal(measure(model, images, told, *argument), expected)


def test_gradients_are_those_of_kernels_as_a_layer_normalizes_them(images, labels):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.SpectralNormalization(keras.layers.Dense(8)),
            keras.layers.Dense(10),
        ]
    )
    found = probes.gradient_norms(model, images, labels)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:  # of Keras' own step
        value = loss(labels, model(images, training=True))
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    expected = [np.linalg.norm(each) for each in tape.gradient(value, kernels)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@newest
def test_a_scale_of_two_dimensions_is_no_kernel(images, labels):
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.RMSNormalization(axis=(1, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    assert len(probes.gradient_norms(model, images, labels)) == 1


def test_kernels_that_are_not_there_are_not_measured(images, labels):
    one = models.mlp(())
    with pytest.raises(ValueError, match=r"kernels \(1\): it needs at least 2"):
        probes.covariate_shift(one, images, labels, 0.1)
    one.trainable = False
    with pytest.raises(ValueError, match=r"kernels \(0\): it needs at least 1"):
        probes.gradient_norms(one, images, labels)


def test_a_step_of_no_length_changes_nothing_and_has_no_smoothness(images, labels):
    model = models.mlp((8,))
    row = probes.along_gradient(model, images, labels, [0.0, 0.1]).loc[0]
    assert row["loss"] == pytest.approx(probes.loss(model, images, labels))
    assert row["gradient_change"] == 0
    assert np.isnan(row["smoothness"])


def test_gradients_of_a_linear_network_with_orthogonal_kernels_have_one_length(images):
    # Rotations keep lengths both ways, so every kernel's gradient has the length of
    # the input times that of the error sent back through the output kernel.
    model = models.mlp((784,) * 4, activation="linear", kernel_initializer="orthogonal")
    image, label = images[:1], np.array([3], np.int32)
    error = softmax(np.array(model(image)))[0] - np.eye(10)[3]
    output = model.layers[-1].kernel.numpy()
    length = np.linalg.norm(image)
    expected = [length * np.linalg.norm(output @ error)] * 4
    expected.append(length * np.linalg.norm(error))
    norms = probes.gradient_norms(model, image, label)
    np.testing.assert_allclose(norms, expected, rtol=1e-4)


def test_loss_and_gradient_along_the_gradient_are_those_of_softmax_regression(
    images, labels
):
    model = models.mlp(())
    kernel = model.layers[-1].kernel.numpy().astype(np.float64)
    _, slope, bias_slope = regression(images, labels, kernel)
    length = np.sqrt((slope**2).sum() + (bias_slope**2).sum())
    frame = probes.along_gradient(model, images, labels, [0.01, 0.1])
    assert list(frame["distance"]) == [0.01, 0.1]
    x, y = images.reshape(300, -1), np.eye(10)[labels]
    for row in frame.itertuples():
        bias = -row.distance * bias_slope
        chances = softmax(x @ (kernel - row.distance * slope) + bias)
        there = x.T @ (chances - y) / 300, (chances - y).mean(axis=0)
        change = np.sqrt(
            ((there[0] - slope) ** 2).sum() + ((there[1] - bias_slope) ** 2).sum()
        )
        expected = -np.log((chances * y).sum(axis=1)).mean()
        assert row.loss == pytest.approx(expected, rel=1e-5)
        assert row.gradient_change == pytest.approx(change / length, rel=1e-3)
        assert row.smoothness == pytest.approx(change / length / row.distance, rel=1e-3)


def test_smoothness_near_a_quadratic_is_its_curvature(labels):
    # At zero weights and one constant pixel the loss is quadratic to second order,
    # and the gradient, in the space where the chances sum to one, an eigenvector.
    images = np.full((300, 1, 1), 2.0, np.float32)
    skewed = np.where(labels < 7, 0, labels).astype(np.int32)
    model = models.mlp((), input_shape=(1, 1))
    for variable in model.weights:
        variable.assign(tf.zeros_like(variable))
    frame = probes.along_gradient(model, images, skewed, [1e-3])
    # The Hessian is (2² + 1²) / 10 on that space: pixel 2, bias 1, chances of a tenth.
    assert frame["smoothness"][0] == pytest.approx(0.5, rel=1e-2)


def test_covariate_shift_compares_with_the_gradient_after_the_layers_before_moved(
    images, labels
):
    model = models.mlp((8, 6), normalization="batch")
    frame = probes.covariate_shift(model, images, labels, 0.5)
    assert list(frame["kernel"]) == [2, 3]

    variables = model.trainable_variables
    statistics = [v.numpy() for v in model.non_trainable_variables]
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def slopes():
        with tf.GradientTape() as tape:
            loss = entropy(labels, model(images, training=True))
        return [np.array(g) for g in tape.gradient(loss, variables)]

    first = slopes()
    at = [i for i, variable in enumerate(variables) if variable.name == "kernel"]
    for index, row in zip(at[1:], frame.itertuples(), strict=True):
        start = [v.numpy() for v in variables]
        for variable, slope in list(zip(variables, first, strict=True))[:index]:
            variable.assign_sub(0.5 * slope)
        old, new = first[index], slopes()[index]
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        change = np.linalg.norm(new - old) / np.linalg.norm(old)
        cosine = (new * old).sum() / np.linalg.norm(new) / np.linalg.norm(old)
        assert row.change == pytest.approx(change, rel=1e-3)
        assert row.cosine == pytest.approx(cosine, rel=1e-4)
    assert statistics[0].shape == (8,)


def test_without_a_step_no_gradient_changes(images, labels):
    model = models.mlp((8, 6))
    frame = probes.covariate_shift(model, images, labels, 0.0)
    np.testing.assert_allclose(frame["cosine"], 1, rtol=1e-5)
    np.testing.assert_allclose(frame["change"], 0, atol=1e-6)


def test_drift_is_a_medians_move_over_the_spread():
    first = np.array([[-1.0, 0.0], [0.0, 1.0], [3.0, 2.0]])  # 15, 50, 85 % of two units
    levels = [first, first + [1, 0], first - [1, 0]]  # the first unit moves by 1 and 2
    assert probes.drift(levels) == pytest.approx((1.5 / 2 + 0) / 2)


def test_activation_inputs_are_those_of_the_last_hidden_layer(images):
    plain = models.mlp((8, 6))
    x = images.reshape(300, -1)
    for dense in (plain.layers[1], plain.layers[3]):
        z = x @ dense.kernel.numpy() + dense.bias.numpy()
        x = np.maximum(z, 0)
    found = probes.activation_inputs(plain, images)
    np.testing.assert_allclose(found, z, atol=1e-4)
    normalized = models.mlp((8, 6), normalization="batch")
    found = probes.activation_inputs(normalized, images)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)


def test_a_model_without_activations_is_refused(images):
    with pytest.raises(ValueError, match="no hidden activation"):
        probes.activation_inputs(models.mlp(()), images)


def test_probes_leave_a_model_as_it_was(images, labels):
    model = models.mlp((8, 6), normalization="batch", dropout=0.3)
    before = [variable.numpy() for variable in model.variables]
    probes.loss(model, images, labels)
    probes.gradient_norms(model, images, labels)
    probes.along_gradient(model, images, labels, [0.1])
    probes.covariate_shift(model, images, labels, 0.1)
    probes.activation_inputs(model, images)
    for variable, start in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, start)


def test_probes_follow_the_weights(images, labels):
    model = models.mlp((8,))
    first = probes.loss(model, images, labels)
    model.layers[-1].kernel.assign(100 * model.layers[-1].kernel)
    assert probes.loss(model, images, labels) > 1.5 * first


class Placed(keras.layers.Layer):
    """Adds to each row what it has learned of its place."""

    def __init__(self):
        super().__init__()
        self.places = keras.layers.Embedding(3, 8)

    def call(self, rows):
        return rows + self.places(keras.ops.arange(3))


def test_embeddings_may_be_moved_along_their_gradient(sequences):
    model = keras.Sequential(
        [keras.Input((3, 8)), Placed(), keras.layers.Flatten()]
        + [keras.layers.Dense(3), keras.layers.Dense(2)]
    )
    labels = np.arange(len(sequences)) % 2
    found = probes.along_gradient(model, sequences, labels, [0.0, 0.1])
    assert found["loss"].iloc[0] == pytest.approx(
        probes.loss(model, sequences, labels), rel=1e-6
    )
    assert np.isfinite(found["loss"]).all()
    assert len(probes.covariate_shift(model, sequences, labels, 0.1)) == 1


@pytest.mark.parametrize("change", ["rate", "frozen", "activation"])
def test_probes_follow_what_is_set_in_a_layer(sequences, change):
    free = {"center": False, "scale": False}
    model = keras.Sequential(
        [
            keras.Input((3, 8)),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(**free),
            keras.layers.Dropout(0.5 if change == "rate" else 0.0),
            keras.layers.Activation("relu"),
            keras.layers.Dense(2),
        ]
    )
    labels = np.arange(len(sequences)) % 2
    before = probes.loss(model, sequences, labels)
    if change == "rate":
        model.layers[3].rate = 0.0
    elif change == "frozen":
        model.layers[2].trainable = False
    else:
        model.layers[4].activation = keras.activations.tanh
    after = probes.loss(model, sequences, labels)
    twin = keras.models.clone_model(model)
    for mine, other in zip(twin.layers, model.layers, strict=True):
        mine.set_weights(other.get_weights())
    assert after == pytest.approx(probes.loss(twin, sequences, labels), rel=1e-5)
    assert after != before


def test_a_recurrent_layers_own_activations_are_not_seen(sequences):
    model = keras.Sequential(
        [
            keras.Input((3, 8)),
            keras.layers.Dense(3, activation="relu"),
            keras.layers.GRU(6),
            keras.layers.Dense(2),
        ]
    )
    assert probes.activation_inputs(model, sequences).shape == (len(sequences), 3, 3)


def test_a_last_activation_in_a_loop_is_refused_and_an_earlier_one_is_not(sequences):
    def model(first, second):
        return keras.Sequential(
            [
                keras.Input((3, 8)),
                keras.layers.TimeDistributed(keras.layers.Dense(4, first)),
                keras.layers.Dense(5, second),
                keras.layers.Flatten(),
                keras.layers.Dense(2),
            ]
        )

    with pytest.raises(ValueError, match="step by step, in a TimeDistributed"):
        probes.activation_inputs(model("relu", None), sequences)
    found = probes.activation_inputs(model("relu", "relu"), sequences)
    assert found.shape == (len(sequences), 3, 5)


def test_reestimating_leaves_spectrally_normalized_kernels(sequences):
    model = keras.Sequential(
        [
            keras.Input((3, 8)),
            keras.layers.SpectralNormalization(keras.layers.Dense(3)),
            keras.layers.BatchNormalization(),
        ]
    )
    before = model.layers[0].layer.kernel.numpy()
    probes.reestimate(model, sequences)
    np.testing.assert_array_equal(model.layers[0].layer.kernel.numpy(), before)


@newest
def test_a_layer_that_renormalizes_is_not_reestimated():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(renorm=True, name="again")]
    )
    before = model.get_weights()
    with pytest.raises(ValueError, match="again renormalizes"):
        probes.reestimate(model, np.ones((8, 4), np.float32))
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(old, new)


def test_reestimation_that_is_interrupted_leaves_all_as_it_was(images):
    class Interrupted(keras.layers.Layer):
        def call(self, inputs, training=False):
            if training:
                raise KeyboardInterrupt
            return inputs

    norm = keras.layers.BatchNormalization()
    model = keras.Sequential([norm, keras.layers.Dropout(0.5), Interrupted()])
    model(images)
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(KeyboardInterrupt):
        probes.reestimate(model, images)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable, old)
    assert norm.momentum == 0.99


def test_probes_refuse_no_image_and_labels_out_of_range():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    )
    images = np.ones((4, 4), np.float32)
    with pytest.raises(ValueError, match="no images to probe with"):
        probes.reestimate(model, images[:0])
    assert np.isfinite(model.layers[0].moving_mean).all()
    for wrong in ([0, 1, 2, 3], [-1, 0, 1, 2], [0.5, 1.0, 2.0, 0.0]):
        with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
            probes.loss(model, images, np.array(wrong))
    with pytest.raises(ValueError, match="the first number counts images"):
        training.predict(model, images[0])
