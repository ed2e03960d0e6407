"""What people who tried to break the trainer and the probes found, each with its test.

A fault is trained truly, as a plain loop of Keras' own steps would, or refused.
"""

import itertools
import random
import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_promises import (
    TINY,
    Counted,
    assert_each_seed_equals_plain_loop,
    assert_equal_to_plain_loop,
    network,
)
from tiny import newest

from helpers import models, probes, programs, training
from helpers.data import Split

IMAGES, LABELS = TINY.test.images, TINY.test.labels
SGD = partial(keras.optimizers.SGD, 0.1)
BARE = partial(keras.layers.BatchNormalization, center=False, scale=False)


def last_loss(build, **options):
    """Train a run of a seed, or of some, and return the test loss of each."""
    few = {"seeds": [1], "updates": 8, "batch_size": 16, "workers": 1}
    frame = training.train({"m": build}, TINY, **few | options)
    return frame.groupby("seed")["test_loss"].last().to_dict()


# --- what Python keeps ---------------------------------------------------------------


class InPython(keras.layers.Layer):
    """Does in training what a function of the layer says."""

    def __init__(self, factor, **held):
        super().__init__(name="culprit")
        self.factor = factor
        for name, value in held.items():
            setattr(self, name, value)

    def call(self, images, training=False):
        return images * self.factor(self) if training else images


def drawn():
    return np.float32(np.random.uniform())  # noqa: NPY002


def bump(layer):
    layer.calls[0] += 1
    return 1 + 0.1 * layer.calls[0]


def flip(layer):
    layer.on = not layer.on
    return 2.0 if layer.on else 1.0


PYTHON = {
    "a list": lambda: InPython(bump, calls=[0]),
    "a switch": lambda: InPython(flip, on=False),
    "a counter": lambda: InPython(
        lambda layer: 1 / next(layer.count), count=itertools.count(1)
    ),
    "NumPy's older generator": lambda: InPython(
        lambda layer: layer.draw.uniform(),
        draw=np.random.RandomState(0),  # noqa: NPY002
    ),
    "an object": lambda: InPython(
        lambda layer: layer.draw.from_.uniform(),
        draw=SimpleNamespace(from_=np.random.default_rng(0)),
    ),
    "a method": lambda: InPython(
        lambda layer: layer.draw(), draw=np.random.default_rng(0).normal
    ),
    "a function's own": lambda: InPython(
        partial(lambda draw, layer: draw.uniform(), np.random.default_rng(0))
    ),
    "nothing": lambda: InPython(lambda layer: np.random.default_rng().uniform()),
    "a function that draws": lambda: InPython(
        lambda layer: tf.ensure_shape(tf.numpy_function(drawn, [], tf.float32), ())
    ),
}


@pytest.mark.parametrize("name", PYTHON)
def test_a_layer_that_keeps_something_in_python_is_refused(name):
    with pytest.raises(ValueError, match="the layer culprit draws from"):
        last_loss(network(PYTHON[name]))


class Wandering(keras.optimizers.SGD):
    """Adds noise of NumPy's to each gradient."""

    def update_step(self, gradient, variable, learning_rate):
        noise = np.random.normal(size=variable.shape).astype(np.float32)  # noqa: NPY002
        super().update_step(gradient + noise, variable, learning_rate)


class Fading(keras.optimizers.schedules.LearningRateSchedule):
    """Falls with its calls, which Python alone counts."""

    def __init__(self):
        self.calls = 0

    def __call__(self, step):
        self.calls += 1
        return 0.1 / self.calls


class Rough(keras.regularizers.Regularizer):
    """Weighs a kernel by a number that NumPy draws."""

    def __call__(self, kernel):
        return keras.ops.sum(kernel) * np.random.uniform()  # noqa: NPY002


@pytest.mark.parametrize(
    ("build", "optimizer"),
    [
        (network(), lambda: Wandering(0.1)),
        (network(), lambda: keras.optimizers.SGD(Fading())),
        (network(lambda: keras.layers.Dense(8, kernel_regularizer=Rough())), "sgd"),
    ],
)
def test_an_optimizer_or_rule_that_draws_in_python_is_refused(build, optimizer):
    with pytest.raises(ValueError, match="its schedule, or a rule on weights draws"):
        last_loss(build, optimizer=optimizer)


def test_what_another_thread_draws_is_no_fault_of_the_model():
    done = threading.Event()

    def draw():
        while not done.is_set():
            np.random.uniform()  # noqa: NPY002

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        last_loss(network(lambda: keras.layers.Dense(9, activation="relu")))
    finally:
        done.set()
        thread.join()


# --- what programs and starting weights share ----------------------------------------


def test_a_builder_that_was_corrected_starts_from_its_own_weights():
    def pinned():
        keras.utils.set_random_seed(0)
        return network()()

    programs.clear()
    right = last_loss(network(), seeds=[0, 1])
    for first, second in [(pinned, network()), (network(), pinned)]:
        programs.clear()
        last_loss(first, seeds=[0, 1])
        found = last_loss(second, seeds=[0, 1])
        assert (found == right) == (second is not pinned)
    both = {"pinned": pinned, "m": network()}
    programs.clear()
    frame = training.train(
        both, TINY, seeds=[0, 1], updates=8, batch_size=16, workers=1
    )
    last = frame[frame["model"] == "m"].groupby("seed")["test_loss"].last()
    assert last.to_dict() == right


@newest
def test_optimizers_that_choose_by_name_share_no_program():
    def two(first, second):
        return lambda: keras.Sequential(
            [
                keras.Input((4, 4)),
                keras.layers.Flatten(),
                keras.layers.Dense(8, "relu", name=first),
                keras.layers.Dense(4, name=second),
            ]
        )

    slow, fast = keras.optimizers.SGD(1e-4), keras.optimizers.SGD(0.5)
    chosen = keras.optimizers.OptimizerMap(slow, {".*head.*": fast})
    optimizer = keras.optimizers.MultiOptimizer(chosen)
    found = [
        last_loss(build, optimizer=optimizer)
        for build in (two("head", "body"), two("body", "head"))
    ]
    assert found[0] != found[1]
    # Muon leaves out what is called an embedding.
    assert_no_trace_of(two("embedding", "b"), two("a", "b"), optimizer="muon")


def assert_no_trace_of(first, build, **options):
    """Compare a network trained after another with the same in a fresh process."""
    last_loss(first, **options)
    found = last_loss(build, **options)
    programs.clear()
    assert found == last_loss(build, **options)


def test_a_number_that_no_configuration_shows_makes_another_program():
    def padded(padding):  # before Keras 3.14 its configuration lacks it
        return lambda: keras.Sequential(
            [
                keras.Input((4, 4)),
                keras.layers.Reshape((4, 4, 1)),
                keras.layers.Conv2DTranspose(
                    2, 3, strides=3, padding="same", output_padding=padding
                ),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(4),
            ]
        )

    assert_no_trace_of(padded((1, 1)), padded((2, 2)))


def test_layers_of_one_name_are_not_taken_for_one():
    def nested(last):
        def build():
            twins = [keras.layers.Dense(8, name="same") for _ in "ab"]
            parts = [twins[0], twins[1], twins[last]]
            blocks = [
                keras.Sequential([keras.Input((8,)), part], name=f"block_{index}")
                for index, part in enumerate(parts)
            ]
            head = [keras.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(8)]
            return keras.Sequential([*head, *blocks, keras.layers.Dense(4)])

        return build

    assert_no_trace_of(nested(0), nested(1))


class Same(keras.layers.Layer):
    """Returns what it is given."""

    def call(self, images):
        return images


@pytest.mark.parametrize("layers", [(), (Same,)])
def test_what_a_builder_draws_for_training_alone_is_each_seeds_own(layers):
    def drawn():
        return keras.layers.Dropout(random.uniform(0.1, 0.9))

    assert_each_seed_equals_plain_loop(network(*layers, drawn), jit_compile=True)


class Leashed(keras.layers.Dense):
    """Is pulled, in training, to where its kernel was drawn."""

    def build(self, shape):
        super().build(shape)
        self.start = self.kernel.numpy()

    def call(self, images, training=False):
        if training:
            self.add_loss(keras.ops.sum((self.kernel - self.start) ** 2))
        return super().call(images)


def test_what_a_layer_draws_for_training_alone_is_each_seeds_own():
    def shifted():
        drawn = np.float32(np.random.uniform(1, 2))  # noqa: NPY002
        return InPython(lambda layer: layer.drawn, drawn=drawn)

    for drawing in (shifted, lambda: Leashed(8)):
        assert_each_seed_equals_plain_loop(network(drawing))


class Penalized(keras.layers.Layer):
    """Adds a loss in training, and none at inference."""

    def call(self, images, training=False):
        if training:
            self.add_loss(0.1 * keras.ops.mean(images**2))
        return images


def test_a_loss_may_be_added_in_training_alone():
    assert_equal_to_plain_loop(network(Penalized), SGD)


class Permuted(keras.layers.Layer):
    """Puts units in an order that is drawn, by a number, the same in each call."""

    def call(self, images):
        order = keras.random.shuffle(keras.ops.arange(images.shape[-1]), seed=3)
        return keras.ops.take(images, order, axis=-1)


class Shifted(keras.layers.Layer):
    """Adds what is drawn, by a number, the same in each call."""

    def call(self, images):
        return images + keras.random.normal((8,), seed=5)


@pytest.mark.filterwarnings("ignore:XLA cannot compile")
@pytest.mark.parametrize("layer", [Permuted, Shifted])
def test_numbers_drawn_by_a_fixed_seed_are_those_of_scoring(layer):
    assert_equal_to_plain_loop(network(layer), SGD)


class Always(keras.layers.Layer):
    """Adds noise at inference too, from the generator that all share."""

    def call(self, images):
        return images + 0.1 * keras.random.normal(keras.ops.shape(images))


def test_a_layer_that_draws_at_inference_too_is_refused_by_name():
    with pytest.raises(ValueError, match=r"the layer or .*always.*SeedGenerator"):
        last_loss(network(Always), seeds=[1, 2])


class Halving(keras.optimizers.Optimizer):
    """Halves gradients, and lets another optimizer step."""

    def __init__(self, inner):
        super().__init__(learning_rate=0.1)
        self.inner = inner

    def build(self, variables):
        super().build(variables)
        self.inner.build(variables)

    def apply(self, gradients, variables=None):
        self.inner.apply([gradient / 2 for gradient in gradients], variables)

    def get_config(self):
        return {}


def test_an_optimizer_within_another_starts_afresh():
    def make():
        return Halving(keras.optimizers.Adam(0.01))

    assert_equal_to_plain_loop(network(), make, choice=make)
    both = last_loss(network(), optimizer=make, seeds=[1, 2])
    assert both[2] == last_loss(network(), optimizer=make, seeds=[2])[2]


def test_a_variable_that_keras_does_not_show_starts_afresh():
    def make():  # Nadam's product of momenta
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.Nadam(0.01))

    assert_equal_to_plain_loop(network(), make, choice=make)
    both = last_loss(network(), optimizer=make, seeds=[1, 2])
    assert both[2] == last_loss(network(), optimizer=make, seeds=[2])[2]


class Drawing(keras.optimizers.SGD):
    """Adds noise to gradients."""

    def __init__(self):
        super().__init__(0.1)
        self.draws = keras.random.SeedGenerator(1)

    def update_step(self, gradient, variable, learning_rate):
        noise = keras.random.normal(gradient.shape, seed=self.draws)
        super().update_step(gradient + 0.01 * noise, variable, learning_rate)


def test_an_optimizer_that_draws_starts_afresh():
    both = last_loss(network(), optimizer=Drawing, seeds=[1, 2])
    assert both[2] == last_loss(network(), optimizer=Drawing, seeds=[2])[2]
    assert both == last_loss(network(), optimizer=Drawing, seeds=[1, 2], workers=2)


class Pulling(keras.optimizers.SGD):
    """Pulls weights to what NumPy keeps of their start."""

    def __init__(self, kept):
        super().__init__(0.1)
        self.kept = kept

    def build(self, variables):
        super().build(variables)
        self.starts = [self.kept(variable.numpy()) for variable in variables]


@pytest.mark.parametrize("kept", [np.copy, lambda array: float(np.sum(array))])
def test_an_optimizer_that_keeps_weights_by_numpy_is_refused(kept):
    with pytest.raises(ValueError, match="Pulling keeps copies of weights"):
        last_loss(network(), optimizer=lambda: Pulling(kept))


class Shorter(keras.constraints.Constraint):
    """Keeps a kernel short; its configuration, Keras' own, does not tell how short."""

    def __init__(self, length):
        self.length = length

    def __call__(self, kernel):
        norm = keras.ops.sqrt(keras.ops.sum(kernel**2))
        return kernel * keras.ops.minimum(1.0, self.length / norm)


class Penalty(keras.regularizers.Regularizer):
    """Has a configuration, and a class that a notebook's cell may define anew."""

    power = 2

    def __call__(self, kernel):
        return 0.1 * keras.ops.sum(keras.ops.abs(kernel) ** self.power)

    def get_config(self):
        return {}


def test_a_rule_that_is_set_on_a_kernel_is_its_own():
    def ruled(**rule):
        def build():
            model = network()()
            for name, value in rule.items():
                setattr(model.layers[1].kernel, name, value)
            return model

        return build

    assert_no_trace_of(ruled(constraint=Shorter(2.0)), ruled(constraint=Shorter(0.5)))
    assert_equal_to_plain_loop(ruled(constraint=Shorter(0.5)), SGD)
    other = type("Penalty", (Penalty,), {"power": 1, "__module__": Penalty.__module__})
    assert_no_trace_of(ruled(regularizer=Penalty()), ruled(regularizer=other()))


class Block(keras.layers.Layer):
    """Has weights of its own, and a layer that nobody builds before it is called."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(8)

    def build(self, shape):
        self.scale = self.add_weight(shape=(8,), initializer="ones")

    def call(self, images):
        return self.scale * self.dense(images)

    def compute_output_shape(self, shape):
        return *shape[:-1], 8


class Between(keras.layers.Layer):
    """Passes on images, and lets a layer of its own act in training alone."""

    def __init__(self):
        super().__init__()
        self.aside = keras.layers.Dense(8)

    def call(self, images, training=False):
        return images + self.aside(images) if training else images


@pytest.mark.parametrize(
    "late",
    [Block, Between, lambda: keras.layers.Dense(8, activation=keras.layers.PReLU())],
)
def test_weights_that_a_call_makes_are_trained_as_by_fit(late):
    build = network(late)
    keras.utils.set_random_seed(1)
    model = build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(SGD(), loss)
    train = TINY.train
    for epoch in (1, 2):
        order = training.epoch_order(1, epoch, len(train))
        images, labels = train.images[order], train.labels[order]
        model.fit(images, labels, batch_size=16, shuffle=False, verbose=0)
    expected = float(loss(LABELS, model(IMAGES, training=False)))
    assert last_loss(build, optimizer=SGD)[1] == pytest.approx(expected, rel=1e-5)


def test_metrics_of_a_compiled_model_make_another_program():
    def compiled(**metrics):
        def build():
            model = network()()
            model.compile("sgd", "sparse_categorical_crossentropy", **metrics)
            model.fit(IMAGES, LABELS, verbose=0)
            return model

        return build

    assert_no_trace_of(compiled(), compiled(metrics=["accuracy"]))


@pytest.mark.parametrize("n", [10, 4_000, 5_000])
def test_predict_of_several_outputs_is_refused(n):
    inputs = keras.Input((4, 4))
    parts = [keras.layers.Dense(8)(keras.layers.Flatten()(inputs)) for _ in "ab"]
    images = np.zeros((n, 4, 4), np.float32)
    with pytest.raises(ValueError, match="returns 2 tensors, not one"):
        training.predict(keras.Model(inputs, parts), images)


def times(factor):
    return lambda gradient: factor * gradient


class Factor:
    """Scales what it is given; `repr` does not tell by what."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, gradient):
        return self.factor * gradient


class Shaped(keras.optimizers.SGD):
    """Changes gradients by a function, and has no configuration of its own."""

    def __init__(self, learning_rate=0.1, shape=None, **options):
        super().__init__(learning_rate, **options)
        self.shape = shape or type(self).usual()

    usual = staticmethod(lambda: times(1.0))

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(self.shape(gradient), variable, learning_rate)


class ShapedByAnObject(Shaped):
    usual = staticmethod(lambda: Factor(1.0))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(Shaped, times(5.0)), (ShapedByAnObject, Factor(5.0))],
    ids=["a function", "an object"],
)
def test_a_copy_that_would_lose_what_a_function_holds_is_refused(kind, shape):
    with pytest.raises(ValueError, match="its configuration lacks shape"):
        last_loss(network(), optimizer=kind(0.1, shape))
    assert_equal_to_plain_loop(network(), kind)


class OfItself(Shaped):
    """Its function holds the optimizer, as one that reads an attribute does."""

    def __init__(self, learning_rate=0.1, **options):
        shape = lambda gradient: self.factor * gradient  # noqa: E731
        super().__init__(learning_rate, shape, **options)
        self.factor = 2.0


def test_an_optimizer_may_hold_a_function_that_holds_it():
    assert_equal_to_plain_loop(network(), OfItself)


def test_a_number_set_in_a_layer_of_keras_makes_another_program():
    def bent(alpha):
        def build():
            model = network(keras.layers.ELU)()
            model.layers[-2].alpha = alpha
            return model

        return build

    assert_no_trace_of(bent(1.0), bent(0.05))


class Orthogonal(keras.initializers.Initializer):
    """Orthogonal kernels times a gain that no configuration shows."""

    def __init__(self, gain):
        self.gain = gain

    def __call__(self, shape, dtype=None):
        return self.gain * keras.initializers.Orthogonal(seed=0)(shape, dtype)


@pytest.mark.parametrize("make", [Orthogonal, lambda gain: Orthogonal(gain).__call__])
def test_an_initializer_of_ones_own_is_used_as_it_is(make):
    model = models.mlp((16,), kernel_initializer=make(3.0))
    values = np.linalg.svd(model.trainable_variables[0].numpy())[1]
    np.testing.assert_allclose(values, 3.0, rtol=1e-5)


class Louder(keras.initializers.HeNormal):
    """Keras' own times a gain, with the configuration that it inherits."""

    def __init__(self, gain):
        super().__init__(seed=3)
        self.gain = gain

    def __call__(self, shape, dtype=None):
        return self.gain * super().__call__(shape, dtype)


def test_an_initializer_that_inherits_its_configuration_is_used_as_it_is():
    model = models.mlp((16,), kernel_initializer=Louder(5.0), input_shape=(20, 20))
    expected = 5 * keras.initializers.HeNormal(seed=3)((400, 16))
    np.testing.assert_allclose(model.trainable_variables[0], expected)


@pytest.mark.skipif(
    not hasattr(keras.layers, "RandomElasticTransform"), reason="newer than this Keras"
)
def test_images_are_distorted_each_by_itself():
    """Where the number of images is open, Keras distorts the first for all."""

    def build():
        return keras.Sequential(
            [
                keras.Input((4, 4)),
                keras.layers.Reshape((4, 4, 1)),
                keras.layers.RandomElasticTransform(
                    1.0, scale=0.1, value_range=(-1, 2), seed=1
                ),
                keras.layers.Flatten(),
                keras.layers.Dense(4),
            ]
        )

    with pytest.warns(UserWarning, match="XLA cannot compile"):
        assert_equal_to_plain_loop(build, SGD)


# --- measuring -----------------------------------------------------------------------


@pytest.mark.parametrize("layer", [BARE, Counted])
def test_a_shared_layer_that_training_moves_is_refused(layer):
    shared = layer()
    with pytest.raises(ValueError, match="into two models, so that the training of"):
        last_loss(network(lambda: shared), seeds=[1, 2])


def test_a_shared_layer_that_training_leaves_alone_is_trained_with():
    given = {"mean": [0.5] * 8, "variance": [2.0] * 8}
    shared = keras.layers.Normalization(**given)
    table = keras.layers.BatchNormalization(trainable=False)
    own = network(lambda: keras.layers.Normalization(**given))
    assert last_loss(network(lambda: shared)) == last_loss(own)
    last_loss(network(lambda: table), seeds=[1, 2])


class Decaying(keras.layers.Layer):
    """Shrinks a trained weight whenever it is called."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(8, 8))

    def call(self, images):
        self.kernel.assign(0.9 * self.kernel)
        return images @ self.kernel


def test_measuring_leaves_trained_weights_as_they_were():
    ways = [{}, {"measure_every": 1}, {"measure_every": 1, "probe": lambda model: {}}]
    found = [last_loss(network(Decaying), **way) for way in ways]
    found.append({1: last_loss(network(Decaying), seeds=[2, 1])[1]})
    assert found == [found[0]] * len(found)


# --- shapes and resources ------------------------------------------------------------


class First(keras.layers.Layer):
    """Adds running sums of as many numbers as are positive, from the first on."""

    def call(self, images):
        flat = tf.reshape(images, [-1])
        count = tf.reduce_sum(tf.cast(flat > 0, tf.int32))
        return images + 1e-3 * tf.reduce_sum(tf.cumsum(flat[:count]))


def test_a_slice_whose_end_depends_on_values_is_trained_truly():
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        assert_equal_to_plain_loop(network(First), SGD)


class Chosen(keras.layers.Layer):
    """Multiplies by a column that the values choose."""

    def call(self, images):
        column = tf.reduce_sum(tf.cast(images > 0, tf.int32)) % 8
        return images * images[:, column][:, None]


def test_a_column_that_depends_on_values_is_compiled(recwarn):
    assert_equal_to_plain_loop(network(Chosen), SGD)
    assert not [each for each in recwarn.list if "XLA" in str(each.message)]


class Looking(keras.layers.Layer):
    """Reads rows of a variable that is TensorFlow's, and never changes it."""

    def __init__(self):
        super().__init__()
        self.table = tf.Variable(tf.random.stateless_normal((10, 8), [1, 2]))

    def call(self, images):
        rows = tf.cast(tf.abs(images[:, 0]), tf.int32) % 10
        return images + tf.gather(self.table, rows)


def test_a_table_that_is_only_read_is_no_change():
    assert_equal_to_plain_loop(network(Looking), SGD)


# --- slips that are named ------------------------------------------------------------


class Flattened(keras.Model):
    """Returns the logits that a function makes of flat images and a layer."""

    def __init__(self, logits):
        super().__init__()
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(4)
        self.convolution, self.logits = keras.layers.Conv2D(2, 3), logits

    def call(self, images):
        return self.logits(self, images)


class FlattenedAndCompiled(Flattened):
    @tf.function
    def call(self, images):
        return self.dense(self.flatten(images))


class OwnStep(keras.Model):
    """Says itself how it is trained."""

    def __init__(self):
        super().__init__()
        self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(4)

    def call(self, images):
        return self.dense(self.flat(images))

    def train_step(self, data):
        return {}


def frozen():
    model = network()()
    model.trainable = False
    return model


class Updated(keras.layers.Layer):
    """Sets a row, by what has no gradient under XLA."""

    def call(self, images):
        return keras.ops.slice_update(images, [0, 0], images[:1] * 2)


def lost():
    cut = keras.layers.Lambda(lambda x: keras.ops.cast(x > 0, "float32"))
    return keras.Sequential([*network()().layers, cut])


def of_a_size():
    layers = [keras.Input((4, 4), batch_size=16), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(4)])


SLIPS = {
    "no gradient at all": ({"build": lost}, "no weight of .* gets a gradient"),
    "a fixed batch": ({"build": of_a_size}, "leave batch_size out of its Input"),
    "no batch size": ({"batch_size": None}, "batch_size must be a whole number"),
    "a dictionary": ({"optimizer": {"name": "sgd"}}, "unknown optimizer"),
    "a schedule": (
        {"optimizer": keras.optimizers.schedules.CosineDecay(0.1, 4)},
        r"as in optimizer=keras\.optimizers\.SGD\(schedule\)",
    ),
    "a function of the rate": (
        {"optimizer": lambda rate: keras.optimizers.SGD(rate)},
        "without being given anything",
    ),
    "own step": ({"build": OwnStep}, "train_step of its own"),
    "nothing trained": ({"build": frozen}, "no weight to train"),
    "no gradient": ({"build": network(Updated)}, "cannot be compiled"),
    "a name that is wrong": (
        {"build": lambda: Flattened(lambda own, x: own.dens(own.flatten(x)))},
        "Flattened cannot be compiled .* has no attribute 'dens'",
    ),
    "no axis of channels": (
        {"build": lambda: Flattened(lambda own, x: own.convolution(x))},
        "expected min_ndim=4, found ndim=3",
    ),
    "nothing returned": (
        {"build": lambda: Flattened(lambda own, x: None)},
        "Flattened returns None: let its call end in `return`",
    ),
    "a compiled call": (
        {"build": lambda: FlattenedAndCompiled(None)},
        "the call of flattened_and_compiled.* is a tf.function",
    ),
    "one layer for all places": (
        {"build": lambda: models.mlp((8,), normalization=BARE())},
        "what makes a layer for each place",
    ),
    "images of another shape": (
        {"build": lambda: models.mlp((8,), classes=4)},
        r"takes images of shape \(None, 28, 28\), not \(64, 4, 4\)",
    ),
    "a rate of two": ({"learning_rate": np.ones(2)}, "one positive number"),
    "a rate that is a function": ({"learning_rate": len}, "one positive number"),
    "a rate that is a text": ({"learning_rate": "0.1"}, "one positive number"),
    "a decay that is a text": ({"cosine_decay": "no"}, "True or False"),
    "an end that is no function": ({"at_end": 3}, "must be a function"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_named_in_a_sentence(name):
    options, said = SLIPS[name]
    with pytest.raises(ValueError, match=said) as caught:
        last_loss(**{"build": network()} | options)
    assert len(str(caught.value)) < 400


def test_a_rate_may_be_a_number_of_numpys():
    assert last_loss(network(), learning_rate=np.array(0.1)) == last_loss(
        network(), learning_rate=0.1
    )


class Keeping(keras.layers.Layer):
    """Keeps what it was given last."""

    def call(self, images):
        self.last = images
        return images


def test_a_layer_may_keep_what_it_saw():
    seen = []

    def probe(model):
        found = training.predict(model, IMAGES), probes.loss(model, IMAGES, LABELS)
        seen.append(found)
        return {}

    last_loss(network(Keeping), probe=probe)
    assert np.isfinite(seen[0][1])


def test_what_is_predicted_is_a_model_and_its_images():
    model = network()()
    for given in (network(), IMAGES, None):
        with pytest.raises(ValueError, match="a keras.Model and then images"):
            training.predict(given, IMAGES)
    for given in (TINY, TINY.test):
        with pytest.raises(ValueError, match=r"as in dataset\.test\.images"):
            training.predict(model, given)


def test_a_frozen_base_is_never_overwritten_by_anothers_weights():
    def extractor(seed):
        keras.utils.set_random_seed(seed)
        ends = [keras.layers.Flatten(), keras.layers.Dense(8, activation="relu")]
        base = keras.Sequential([keras.Input((4, 4)), *ends])
        base.trainable = False
        return base

    def head_on(base):
        return lambda: keras.Sequential(
            [keras.Input((4, 4)), base, keras.layers.Dense(4)]
        )

    first, second = extractor(1), extractor(2)
    before = first.get_weights()
    found = last_loss(head_on(first))
    last_loss(head_on(second))
    for mine, other in zip(first.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert last_loss(head_on(first)) == found


def measured(model):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.evaluate(IMAGES, LABELS, verbose=0)


def frozen_after(model):
    model.trainable = False


@pytest.mark.parametrize("use", [measured, frozen_after])
@pytest.mark.parametrize("layers", [(), (Same,)])
def test_what_is_done_with_a_trained_model_changes_no_later_run(layers, use):
    grid = [{"optimizer": "sgd"}, {"optimizer": "adam"}]
    common = {"seeds": [1], "updates": 4, "batch_size": 16}
    swept = training.sweep(
        {"m": network(*layers)}, TINY, grid, at_end=lambda *run: use(run[2]), **common
    )
    for setting in grid:
        programs.clear()
        alone = training.train({"m": network(*layers)}, TINY, **setting, **common)
        chosen = swept[swept["optimizer"] == setting["optimizer"]]
        assert list(chosen["test_loss"]) == list(alone["test_loss"])


class Forgot(keras.Model):
    def __init__(self):
        self.last = 4


class Grouped(keras.layers.Layer):
    """Takes batches of so many images alone."""

    def call(self, images, training=False):
        if not training:
            return images
        groups = keras.ops.reshape(images, (-1, 8, images.shape[-1]))
        groups = groups - keras.ops.mean(groups, axis=1, keepdims=True)
        return keras.ops.reshape(groups, (-1, images.shape[-1]))


def test_slips_of_students_are_named():
    with pytest.raises(ValueError, match=r"Forgot lacks its first line, super\(\)"):
        last_loss(Forgot)
    with pytest.raises(ValueError, match=r"in batches of 28 and 8 images \(Input to"):
        last_loss(network(Grouped), batch_size=28)
    inputs = [keras.Input((4, 4)), keras.Input((4, 4))]
    total = keras.layers.Flatten()(keras.ops.add(*inputs))
    with pytest.raises(ValueError, match="takes several inputs, and predict gives one"):
        training.predict(keras.Model(inputs, keras.layers.Dense(4)(total)), IMAGES)


# --- probes --------------------------------------------------------------------------


class Compiled(keras.layers.Layer):
    """Hides its layer in a function of TensorFlow's."""

    def __init__(self):
        super().__init__(name="hidden_one")
        self.dense = keras.layers.Dense(8)

    def build(self, shape):
        self.dense.build(shape)

    @tf.function
    def call(self, images):
        return self.dense(images)


@pytest.mark.parametrize(
    "probe",
    [
        probes.loss,
        probes.gradient_norms,
        partial(probes.along_gradient, distances=[0.1]),
        partial(probes.covariate_shift, learning_rate=0.1),
        lambda model, images, labels: probes.reestimate(model, images),
        lambda model, images, labels: probes.activation_inputs(model, images),
    ],
)
def test_what_a_probe_cannot_see_into_is_refused(probe):
    with pytest.raises(ValueError, match=r"the call of hidden_one is a tf\.function"):
        probe(network(Compiled)(), IMAGES, LABELS)


class Helped(keras.layers.Layer):
    """Hides its layer in a method."""

    def __init__(self):
        super().__init__(name="hidden_one")
        self.dense = keras.layers.Dense(8, "relu")

    def build(self, shape):
        self.dense.build(shape)

    @tf.function
    def apart(self, images):
        return self.dense(images)

    def call(self, images):
        return self.apart(images)


def test_a_method_that_hides_a_layer_is_refused():
    with pytest.raises(ValueError, match=r"the apart of hidden_one is a tf\.function"):
        probes.activation_inputs(network(Helped)(), IMAGES)


def test_probes_say_that_they_need_compiled_functions():
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.raises(ValueError, match=r"run_functions_eagerly\(False\)"):
            probes.activation_inputs(network()(), IMAGES)
    finally:
        tf.config.run_functions_eagerly(False)


def test_a_share_of_no_gradient_is_no_number():
    model = models.mlp((8, 8), kernel_initializer="zeros", input_shape=(4, 4))
    frame = probes.covariate_shift(model, IMAGES, LABELS, 0.1)
    assert frame["change"].isna().any()
    assert not np.isinf(frame["change"]).any()


def test_what_does_not_fit_the_model_is_named():
    model = network()()
    with pytest.raises(ValueError, match=r"takes images of shape \(None, 4, 4\)"):
        probes.loss(model, IMAGES[:, :2], LABELS)
    with pytest.raises(ValueError, match=r"labels of shape \(3,\) do not fit 32"):
        probes.loss(model, IMAGES, LABELS[:3])
    with pytest.raises(ValueError, match="no weights yet"):
        probes.loss(OwnStep(), IMAGES, LABELS)
    with pytest.raises(ValueError, match=r"takes a keras\.Model, not a function"):
        probes.loss(network(), IMAGES, LABELS)
    with pytest.raises(ValueError, match="give the images as one array"):
        probes.loss(model, list(IMAGES), LABELS)
    with pytest.raises(ValueError, match="a logit for each"):
        probes.loss(model, IMAGES, np.arange(32))


class Two(keras.Model):
    """Returns logits by a name, or of each row, as its last layer says."""

    def __init__(self, last):
        super().__init__()
        self.dense, self.last = keras.layers.Dense(4), last

    def call(self, images):
        return self.last(self.dense(images))


@pytest.mark.parametrize("last", [lambda x: x, lambda x: {"logits": x[:, 0]}])
@pytest.mark.parametrize("functional", [True, False])
def test_a_model_that_returns_no_logits_is_refused(last, functional):
    model, images = Two(last), keras.Input((4, 4))
    if functional:
        model = keras.Model(images, last(keras.layers.Dense(4)(images)))
    model(IMAGES)
    for probe in (probes.loss, probes.gradient_norms):
        with pytest.raises(ValueError, match="let it return logits alone"):
            probe(model, IMAGES, LABELS)


@pytest.mark.parametrize("probe", [probes.loss, probes.gradient_norms])
def test_a_model_of_a_class_that_was_only_built_is_measured(probe):
    """Keras' `build` leaves its layers without weights."""
    model = Flattened(lambda own, x: own.dense(own.flatten(x)))
    model.build((None, 4, 4))
    found = probe(model, IMAGES, LABELS)
    np.testing.assert_array_equal(found, probe(model, IMAGES, LABELS))


def test_a_distance_may_be_one_number():
    frame = probes.along_gradient(network()(), IMAGES, LABELS, 0.1)
    assert frame["distance"].to_list() == [0.1]


def test_measures_follow_which_weights_are_trained():
    model = network()()
    norm = model.layers[2]
    norm.gamma.assign(np.full(8, 2.0))
    for gamma, beta in [(False, True), (True, False)]:
        norm.gamma.trainable, norm.beta.trainable = gamma, beta
        logits = model(IMAGES, training=True)
        right = keras.losses.sparse_categorical_crossentropy(LABELS, logits, True)
        expected = pytest.approx(float(np.mean(right)), rel=1e-5)
        assert probes.loss(model, IMAGES, LABELS) == expected


class ByTheBatch(keras.layers.BatchNormalization):
    """Knows no inference."""

    def call(self, inputs):
        return super().call(inputs, training=True)


@pytest.mark.parametrize("kind", [keras.layers.BatchNormalization, ByTheBatch])
def test_averages_that_are_no_numbers_are_replaced_too(kind):
    layers = [keras.Input((4, 4)), keras.layers.Flatten(), kind()]
    model = keras.Sequential([*layers, keras.layers.Dense(4)])
    layers[-1].moving_mean.assign(np.full(16, np.nan))
    layers[-1].moving_variance.assign(np.full(16, np.inf))
    probes.reestimate(model, IMAGES)
    flat = IMAGES.reshape(-1, 16)
    np.testing.assert_allclose(layers[-1].moving_mean, flat.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(layers[-1].moving_variance, flat.var(axis=0), rtol=1e-4)


def test_a_last_axis_of_one_may_be_left_out():
    """As in Keras, which adds it: images of 28 × 28 fit a model of 28 × 28 × 1."""
    whole, bare = (
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(4)]
        for shape in ((4, 4, 1), (4, 4))
    )
    first, second = (partial(keras.Sequential, layers) for layers in (whole, bare))
    assert last_loss(lambda: keras.models.clone_model(first())) == last_loss(
        lambda: keras.models.clone_model(second())
    )
    assert training.predict(first(), IMAGES).shape == (32, 4)
    assert training.predict(second(), IMAGES[..., None]).shape == (32, 4)
    assert np.isfinite(probes.loss(first(), IMAGES, LABELS))


def test_labels_that_are_names_are_named():
    names = np.array(["cat", "dog"] * 16)
    with pytest.raises(ValueError, match="whole numbers from 0 to 3, not <U3: number"):
        probes.loss(network()(), IMAGES, names)
    named = replace(TINY, test=Split(IMAGES, names))
    with pytest.raises(ValueError, match="test labels must be whole numbers from 0"):
        training.train({"m": network()}, named, seeds=[1], updates=1)


def test_images_of_another_size_are_named():
    with pytest.raises(ValueError, match=r"not \(2, 5, 4\): the first number counts"):
        training.predict(network()(), np.zeros((2, 5, 4), np.float32))


def test_gradients_do_not_vanish_in_half_precision():
    """As the optimizer of `fit` scales the loss; not as half precision would round."""
    images, labels = np.tile(IMAGES, (32, 1, 1)), np.tile(LABELS, 32)
    build = partial(models.mlp, (32,) * 8, activation="sigmoid", input_shape=(4, 4))
    model = build()
    weights, norms = model.get_weights(), probes.gradient_norms(model, images, labels)
    shift = probes.covariate_shift(model, images, labels, 0.1)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(weights)
    halves = probes.gradient_norms(model, images, labels)
    np.testing.assert_allclose(halves, norms, rtol=0.02)
    found = probes.covariate_shift(model, images, labels, 0.1)
    np.testing.assert_allclose(found["cosine"], shift["cosine"], atol=1e-3)


def test_gradients_that_overflow_when_scaled_are_scaled_less():
    model = keras.Sequential(
        [keras.Input((4, 4)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    halves = keras.Sequential(
        [
            keras.Input((4, 4)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, dtype="mixed_float16"),
        ]
    )
    halves.set_weights(model.get_weights())
    images = 100 * np.ones((8, 4, 4), np.float32)
    norms = probes.gradient_norms(model, images, np.zeros(8, int))
    assert norms[0] > 65504 / 2**15  # more than half precision holds at that scale
    found = probes.gradient_norms(halves, images, np.zeros(8, int))
    np.testing.assert_allclose(found, norms, rtol=0.02)


class Cell(keras.layers.Layer):
    """A recurrent step that normalizes."""

    def __init__(self):
        super().__init__()
        self.state_size, self.dense = 5, keras.layers.Dense(5)
        self.norm = keras.layers.BatchNormalization()

    def build(self, shape):
        self.dense.build((None, shape[-1] + 5))
        self.norm.build((None, 5))

    def call(self, inputs, states, training=None):
        both = keras.ops.concatenate([inputs, states[0]], axis=-1)
        state = keras.ops.tanh(self.norm(self.dense(both), training=training))
        return state, [state]


class ActiveCell(Cell):
    """A recurrent step whose layer has an activation."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(5, "tanh")

    def call(self, inputs, states, training=None):
        state = self.dense(keras.ops.concatenate([inputs, states[0]], axis=-1))
        return state, [state]


class Mapped(keras.layers.Layer):
    """Calls its layer image by image."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(5, "relu")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, images):
        return keras.ops.vectorized_map(self.dense, images)


def each():
    step = keras.Input((8,))
    hidden = keras.ops.relu(keras.layers.Dense(5)(step))
    return keras.layers.TimeDistributed(keras.Model(step, hidden))


@pytest.mark.parametrize("last", [lambda: keras.layers.RNN(ActiveCell()), Mapped, each])
def test_an_activation_in_a_loop_is_refused(last):
    """Of a functional model, too, that is called step by step."""
    layers = [keras.Input((4, 4)), keras.layers.Dense(8, "relu"), last()]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="step by step|in a loop"):
        probes.activation_inputs(model, IMAGES)


def test_a_norm_in_a_loop_is_refused_and_unrolled_is_the_mean_over_its_steps():
    looped = keras.Sequential([keras.Input((4, 4)), keras.layers.RNN(Cell())])
    with pytest.raises(ValueError, match="build it with unroll=True"):
        probes.reestimate(looped, IMAGES)
    cell = Cell()
    layers = [keras.Input((4, 4)), keras.layers.RNN(cell, unroll=True)]
    probes.reestimate(keras.Sequential(layers), IMAGES)
    state, means = np.zeros((len(IMAGES), 5)), []
    for step in range(4):
        both = np.concatenate([IMAGES[:, step], state], axis=1)
        inputs = both @ cell.dense.kernel.numpy()
        means.append(inputs.mean(axis=0))
        state = np.tanh((inputs - means[-1]) / np.sqrt(inputs.var(axis=0) + 1e-3))
    np.testing.assert_allclose(cell.norm.moving_mean, np.mean(means, axis=0), atol=1e-5)


def test_layers_that_models_share_may_be_probed_side_by_side():
    base = keras.Sequential(
        [
            keras.Input((4, 4)),
            keras.layers.Flatten(),
            *(keras.layers.Dense(16, "relu") for _ in range(3)),
            keras.layers.Dense(8, "relu"),
            keras.layers.BatchNormalization(),
        ]
    )
    base.trainable = False
    units = set()

    def probe(model):
        probes.reestimate(model, IMAGES)
        found = probes.activation_inputs(model, IMAGES)
        units.add(found.shape)
        return {"total": found.sum()}

    def build():
        return keras.Sequential([keras.Input((4, 4)), base, keras.layers.Dense(4)])

    few = {"seeds": [1, 2], "updates": 4, "batch_size": 16, "workers": 2}
    found = training.train({"a": build, "b": build}, TINY, probe=probe, **few)
    assert units == {(32, 8)}
    assert found["total"].nunique() == 1
    assert base.layers[-2].activation is keras.activations.relu
    assert base.layers[-1].momentum == 0.99


class OfAClass(keras.Model):
    """A model whose state moves with every call, until it is called for the first."""

    def __init__(self):
        super().__init__()
        self.recurrent = keras.layers.GRU(6, dropout=0.3, recurrent_dropout=0.3)
        self.count = Counted()
        self.normalize = keras.layers.BatchNormalization(momentum=0.5)
        self.last = keras.layers.Dense(4)

    def call(self, images):
        found = self.count(self.recurrent(images))
        return self.last(self.normalize(found, training=True))


def test_a_model_of_a_class_starts_where_fit_starts_it():
    assert_equal_to_plain_loop(OfAClass, SGD, jit_compile=True)


def test_a_program_is_of_the_epsilon_it_was_compiled_with():
    unit = keras.constraints.UnitNorm()
    build = network(lambda: keras.layers.Dense(8, kernel_constraint=unit))
    before = last_loss(build)
    kept = keras.config.epsilon()
    try:
        keras.config.set_epsilon(0.5)
        found = last_loss(build)
        programs.clear()
        assert found == last_loss(build)
        assert found != before
    finally:
        keras.config.set_epsilon(kept)
        programs.clear()


def test_the_pace_of_a_run_that_diverges_is_of_its_updates():
    setting = {"updates": 40, "batch_size": 4, "optimizer": "sgd"}
    way = {"m": network()}, TINY
    calm = training.pace(*way, seeds=[1, 2], learning_rate=0.1, **setting)
    wild = training.pace(*way, seeds=[1, 2], learning_rate=1e30, **setting)
    assert calm["m"].notna().all()
    assert wild["m"].isna().all()  # it diverged before the first measurement
    with pytest.raises(ValueError, match=r"must be a helpers\.data\.Dataset"):
        training.pace({"m": network()}, "mnist", seeds=[1])


def test_an_activation_may_be_a_partial_function():
    leaky = partial(keras.activations.leaky_relu, negative_slope=0.3)
    within = network(lambda: keras.layers.Activation(leaky))
    named = network(lambda: keras.layers.LeakyReLU(negative_slope=0.3))
    found, expected = (last_loss(build, seeds=[1, 2]) for build in (within, named))
    assert found == pytest.approx(expected, rel=1e-5)
    last_loss(network(lambda: keras.layers.Dense(8, activation=leaky)), seeds=[1, 2])


class Scaled(keras.layers.Layer):
    """Multiplies by a number that it keeps in some way."""

    def __init__(self, keep, read):
        super().__init__(name="scaled")
        self.keep, self.read = keep, read

    def call(self, images):
        return images * self.read(self)


KEPT = {
    "a tensor": (
        lambda layer, value: setattr(layer, "value", tf.constant(value)),
        lambda layer: layer.value,
    ),
    "a private attribute": (
        lambda layer, value: setattr(layer, "_value", value),
        lambda layer: layer._value,
    ),
    "a dictionary": (
        lambda layer, value: setattr(layer, "values", {"factor": value}),
        lambda layer: layer.values["factor"],
    ),
    "an object": (
        lambda layer, value: setattr(layer, "object", SimpleNamespace(value=value)),
        lambda layer: layer.object.value,
    ),
    "a range": (
        lambda layer, value: setattr(layer, "range", range(int(2 * value), 9)),
        lambda layer: layer.range[0] / 2,
    ),
    "a partial function": (
        lambda layer, value: setattr(layer, "f", partial(np.multiply, value)),
        lambda layer: float(layer.f(1.0)),
    ),
    "a new function": (
        lambda layer, value: setattr(layer, "f", lambda: value),
        lambda layer: layer.f(),
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_measures_follow_what_a_layer_holds_however_it_is_kept(name):
    keep, read = KEPT[name]
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4, 4)), keras.layers.Flatten(), Scaled(keep, read)]
    keep(layers[-1], 1.0)
    model = keras.Sequential([*layers, keras.layers.Dense(4)])
    for value in (1.0, 2.0, 3.0, 0.5):
        keep(model.get_layer("scaled"), value)
        logits = keras.ops.convert_to_numpy(model(IMAGES, training=False))
        np.testing.assert_allclose(training.predict(model, IMAGES), logits, rtol=1e-5)
        right = keras.losses.sparse_categorical_crossentropy(LABELS, logits, True)
        expected = pytest.approx(float(np.mean(right)), rel=1e-4)
        assert probes.loss(model, IMAGES, LABELS) == expected


class Masked(keras.layers.Layer):
    """Multiplies by an array and a list that may be set."""

    def __init__(self):
        super().__init__(name="masked")
        self.mask, self.factor = np.ones(8, np.float32), [1.0]

    def call(self, images):
        return images * self.mask * self.factor[0]


def test_measures_follow_arrays_lists_and_numbers_of_numpys_that_are_set():
    model = network(Masked)()
    seen = {probes.loss(model, IMAGES, LABELS)}
    model.get_layer("masked").mask = np.full(8, 2, np.float32)
    seen.add(probes.loss(model, IMAGES, LABELS))
    for factor in (3.0, np.float32(4), np.float32(5)):
        model.get_layer("masked").factor[0] = factor
        seen.add(probes.loss(model, IMAGES, LABELS))
    assert len(seen) == 5


class Optional(keras.layers.Layer):
    """Has an activation, or none."""

    def __init__(self, activation=None):
        super().__init__()
        self.dense, self.activation = keras.layers.Dense(8), activation

    def call(self, images):
        found = self.dense(images)
        return found if self.activation is None else self.activation(x=found)


@pytest.mark.parametrize(("activation", "units"), [(None, 6), (keras.ops.tanh, 8)])
def test_a_layer_may_have_no_activation_or_call_it_by_keyword(activation, units):
    hidden = [keras.layers.Dense(6, activation="relu"), Optional(activation)]
    head = [keras.Input((4, 4)), keras.layers.Flatten()]
    model = keras.Sequential([*head, *hidden, keras.layers.Dense(4)])
    assert probes.activation_inputs(model, IMAGES).shape == (32, units)


def test_a_linear_activation_is_none():
    layers = [keras.Input((4, 4)), keras.layers.Flatten()]
    layers += [keras.layers.Dense(5, activation="relu"), keras.layers.Dense(4)]
    layers += [keras.layers.Activation("linear"), keras.layers.Reshape((4,))]
    found = probes.activation_inputs(keras.Sequential(layers), IMAGES)
    assert found.shape == (32, 5)


def test_a_model_without_hidden_activation_is_refused_without_a_trace():
    with pytest.raises(ValueError, match="no hidden activation") as caught:
        probes.activation_inputs(models.mlp(()), np.zeros((2, 28, 28), np.float32))
    assert "in user code" not in str(caught.value)


STEPS = np.random.default_rng(0).normal(size=(24, 6, 5)).astype("float32")


class Steps(keras.layers.Layer):
    """Calls a layer step by step, in a loop that a function makes."""

    def __init__(self, inner, loop):
        super().__init__()
        self.inner, self.loop = inner, loop

    def build(self, shape):
        self.inner.build((None, shape[-1]))

    def call(self, sequences):
        steps = keras.ops.transpose(sequences, (1, 0, 2))
        return keras.ops.transpose(self.loop(self.inner, steps), (1, 0, 2))


def in_steps(inner, loop):
    ends = [keras.layers.Flatten(), keras.layers.Dense(4)]
    earlier = keras.layers.Dense(5, "tanh")
    return keras.Sequential([keras.Input((6, 5)), earlier, Steps(inner, loop), *ends])


def fori(inner, steps):
    return keras.ops.fori_loop(0, 6, lambda i, state: inner(state), steps)


@pytest.mark.parametrize("loop", [keras.ops.map, tf.map_fn, fori])
def test_an_activation_in_a_loop_of_any_kind_is_refused(loop):
    model = in_steps(keras.layers.Dense(5, "relu"), loop)
    with pytest.raises(ValueError, match="step by step, in a TimeDistributed"):
        probes.activation_inputs(model, STEPS)


def test_a_norm_in_a_compiled_loop_is_refused_and_left_as_it_was():
    norm = keras.layers.BatchNormalization()
    model = in_steps(norm, keras.ops.vectorized_map)
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(ValueError, match="is called in a loop that is compiled"):
        probes.reestimate(model, STEPS)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


class Counting(keras.Model):
    """Keeps a state from call to call, and measures itself."""

    def __init__(self):
        super().__init__()
        self.memory = keras.layers.GRU(4, stateful=True)
        self.last = keras.layers.Dense(4)
        self.seen = keras.metrics.Mean()

    def call(self, sequences):
        self.seen.update_state(1.0)
        return self.last(self.memory(sequences))


@pytest.mark.parametrize(
    "probe",
    [
        probes.loss,
        probes.gradient_norms,
        lambda model, images, labels: probes.reestimate(model, images),
    ],
)
def test_states_and_metrics_stay_as_they_are(probe):
    model = Counting()
    model(STEPS)
    state = model.memory.states[0].numpy()
    probe(model, STEPS, np.arange(24) % 4)
    np.testing.assert_array_equal(model.memory.states[0], state)
    assert float(model.seen.count) == 1


def test_a_model_of_two_inputs_is_no_matter_of_the_images():
    inputs = [keras.Input((5,)), keras.Input((5,))]
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.ops.add(*inputs)))
    with pytest.raises(ValueError, match="takes several inputs, and a probe gives one"):
        probes.loss(model, np.zeros((2, 3, 5)), np.zeros(3, int))


class Again(keras.layers.Layer):
    """Saves memory, as Keras' own documentation has it."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(8)
        self.again = keras.remat(self.dense.__call__)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, images):
        return self.again(images)


@newest
@pytest.mark.parametrize("layers", [(), (Again,)])
def test_outputs_that_are_computed_twice_are_refused(layers):
    with keras.RematScope(mode=None if layers else "full"):
        model = network(*layers)()
    with pytest.raises(ValueError, match=r"build it outside of a keras\.RematScope"):
        probes.gradient_norms(model, IMAGES, LABELS)


class Parted(keras.layers.BatchNormalization):
    """Normalizes each half of a batch by itself."""

    def call(self, images, training=None):
        if not training:
            return super().call(images, training=False)
        halves = keras.ops.split(images, 2)
        return keras.ops.concatenate(
            [super(Parted, self).call(h, True) for h in halves]
        )


def test_parts_of_a_batch_count_alike():
    model = keras.Sequential([keras.Input((16,)), Parted()])
    images = IMAGES.reshape(len(IMAGES), -1)
    probes.reestimate(model, images)
    halves = np.split(images.astype(np.float64), 2)
    norm = model.layers[0]
    np.testing.assert_allclose(norm.moving_mean, images.mean(axis=0), atol=1e-5)
    variance = np.mean([half.var(axis=0) for half in halves], axis=0)
    np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-4)


class Aside(keras.Model):
    """Has a layer, and may have an output, in training alone."""

    def __init__(self, auxiliary=False):
        super().__init__()
        self.flat, self.last = keras.layers.Flatten(), keras.layers.Dense(4)
        self.aside, self.auxiliary = keras.layers.Dense(4), auxiliary

    def call(self, images, training=False):
        flat = self.flat(images)
        logits = self.last(flat)
        if training:
            aside = self.aside(flat)
            return (logits, aside) if self.auxiliary else logits + aside
        return logits


def test_what_a_model_has_in_training_alone_is_seen():
    model = Aside()
    model(IMAGES)
    norms = probes.gradient_norms(model, IMAGES, LABELS)
    with tf.GradientTape() as tape:
        loss = keras.losses.sparse_categorical_crossentropy(
            LABELS, model(IMAGES, training=True), from_logits=True
        )
        loss = tf.reduce_mean(loss)
    kernels = [model.last.kernel.value, model.aside.kernel.value]
    expected = [np.linalg.norm(g) for g in tape.gradient(loss, kernels)]
    np.testing.assert_allclose(sorted(norms), sorted(expected), rtol=1e-4)
    other = Aside(auxiliary=True)
    other(IMAGES)
    with pytest.raises(ValueError, match="let it return logits alone"):
        probes.loss(other, IMAGES, LABELS)


class ScaledByAWeight(keras.layers.Layer):
    """Scales by a weight that an activation keeps positive."""

    def build(self, shape):
        self.raw = self.add_weight(shape=shape[-1:], initializer="ones")
        self.activation = keras.activations.softplus

    def call(self, images):
        return images * self.activation(self.raw) * self.activation(self.raw + 1.0)


def test_an_activation_of_a_weight_is_not_one_of_units():
    relu = keras.layers.Dense(8, "relu")
    model = network(lambda: relu, ScaledByAWeight)()
    found = probes.activation_inputs(model, IMAGES)
    inputs = keras.Model(model.inputs, model.layers[2].output)(IMAGES, training=True)
    expected = np.asarray(inputs) @ relu.kernel.numpy() + relu.bias.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


class Served(keras.Model):
    """Has compiled functions that no probe calls, and one that its call may call."""

    def __init__(self, fast=False):
        super().__init__()
        self.flat, self.last = keras.layers.Flatten(), keras.layers.Dense(4)
        self.fast = tf.function(self.apart) if fast else self.apart

    def apart(self, images):
        return self.last(self.flat(images))

    @tf.function
    def serve(self, images):
        return self(images)

    @property
    def ready(self):
        raise RuntimeError("not yet")

    def call(self, images):
        return self.fast(images)


def test_only_compiled_functions_that_are_called_are_refused():
    model = Served()
    model(IMAGES)
    assert len(probes.gradient_norms(model, IMAGES, LABELS)) == 1
    model = Served(fast=True)
    model(IMAGES)
    with pytest.raises(ValueError, match=r"the fast of served.* is a tf\.function"):
        probes.gradient_norms(model, IMAGES, LABELS)


def test_a_setting_within_settings_may_be_changed():
    class Configured(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace(norm=SimpleNamespace(scale=1.0))

        def call(self, images):
            return images * self.config.norm.scale

    model = network(Configured)()
    probes.loss(model, IMAGES, LABELS)
    model.layers[3].config.norm.scale = 3.0
    expected = keras.losses.sparse_categorical_crossentropy(
        LABELS, model(IMAGES, training=True), from_logits=True
    )
    assert probes.loss(model, IMAGES, LABELS) == pytest.approx(
        float(np.mean(expected)), rel=1e-5
    )


def test_an_exponential_is_an_activation():
    inputs = keras.Input((4, 4))
    flat = keras.layers.Flatten()(inputs)
    hidden = keras.activations.exponential(keras.layers.Dense(6)(flat))
    model = keras.Model(inputs, keras.layers.Dense(4)(hidden))
    found = probes.activation_inputs(model, IMAGES)
    kernel = next(v for v in model.variables if v.shape == (16, 6)).numpy()
    expected = IMAGES.reshape(len(IMAGES), -1) @ kernel
    np.testing.assert_allclose(found, expected, atol=1e-5)


def splits_of(dataset):
    return dataset.train, dataset.validation, dataset.test


def test_a_keras_layer_for_pictures_changes_each_grey_image_by_itself():
    flipped = TINY.map(keras.layers.RandomFlip("vertical", seed=0))
    for split, other in zip(splits_of(TINY), splits_of(flipped), strict=True):
        for image, found in zip(split.images, other.images, strict=True):
            assert np.array_equal(found, image) or np.array_equal(found, image[::-1])
    assert not np.array_equal(TINY.train.images, flipped.train.images)
    for held in (
        keras.Sequential([keras.Sequential([keras.layers.RandomFlip("vertical")])]),
        partial(keras.layers.RandomFlip("vertical"), training=True),
        keras.Sequential(
            [
                keras.layers.Reshape((4, 4, 1)),
                keras.layers.RandomFlip("vertical"),
                keras.layers.Reshape((4, 4)),
            ]
        ),
    ):
        train = TINY.map(held).train.images
        for image, found in zip(TINY.train.images, train, strict=True):
            assert np.array_equal(found, image) or np.array_equal(found, image[::-1])
    padded = TINY.map(keras.layers.ZeroPadding2D(1)).train.images
    np.testing.assert_array_equal(padded[:, 1:-1, 1:-1], TINY.train.images)
    both = [keras.layers.Resizing(9, 9), keras.layers.Rescaling(2.0)]
    sizes = [s.images.shape[1:] for s in splits_of(TINY.map(keras.Sequential(both)))]
    assert sizes == [(9, 9)] * 3
