"""The trainer keeps Keras' promises: it trains as a plain loop of Keras' own steps."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny import newest, split

from helpers import optimizers, programs, training
from helpers.data import Dataset

SEED, BATCH, UPDATES = 7, 16, 12

# Four batches an epoch, and no rest to compile for.
TINY = Dataset("tiny", tuple("abcd"), split(64, 1), split(32, 2), split(32, 3))


def network(*layers, units=8):
    """Make a builder of a normalized classifier with some layers before its last."""
    return lambda: keras.Sequential(
        [
            keras.Input((4, 4)),
            keras.layers.Flatten(),
            keras.layers.Dense(units, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.5),
            *(layer() for layer in layers),
            keras.layers.Dense(4),
        ]
    )


def train(build, **options):
    """Train one run; return its rows and the model it ends with, as arrays."""
    kept = {}

    def at_end(name, seed, model):
        kept["weights"] = [variable.numpy() for variable in model.variables]
        kept["logits"] = training.predict(model, TINY.test.images)

    budget = {"seeds": [SEED], "updates": UPDATES, "batch_size": BATCH, "workers": 1}
    frame = training.train(
        {"m": build}, at_end=at_end, **{"dataset": TINY} | budget | options
    )
    return frame, kept["weights"], kept["logits"]


def plain_loop(build, optimizer, *, seed=SEED, jit_compile=False):
    """Do the same as `train` by a loop of Keras' own steps.

    A random number is another where XLA draws it, hence `jit_compile`.
    """
    keras.utils.set_random_seed(seed)
    model = build()
    if not model.built:  # as `fit` does; a call would move what the model counts
        model(keras.Input((4, 4)), training=False)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(images, training=True))
            for penalty in model.losses:
                loss += tf.reduce_sum(tf.cast(penalty, loss.dtype))
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        # As `fit` hands them over.
        optimizer.apply_gradients(
            zip(gradients, model.trainable_variables, strict=True)
        )

    if jit_compile:
        step = tf.function(step, jit_compile=True)
    orders = [training.epoch_order(seed, epoch, 64) for epoch in (1, 2, 3)]
    for batch in np.concatenate(orders).reshape(UPDATES, BATCH):
        step(TINY.train.images[batch], TINY.train.labels[batch])
    optimizer.finalize_variable_values(model.trainable_variables)
    return model


def assert_equal_to_plain_loop(build, make, choice=None, jit_compile=False):
    """Compare weights, logits and the frame's last score with those of the loop."""
    frame, weights, logits = train(build, optimizer=choice or make())
    model = plain_loop(build, make(), jit_compile=jit_compile)
    expected = [variable.numpy() for variable in model.variables]
    for mine, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        logits, model(TINY.test.images, training=False), atol=1e-5
    )
    hits = logits.argmax(axis=1) == TINY.test.labels
    assert frame["test_accuracy"].iloc[-1] == hits.mean()
    return frame


def assert_each_seed_equals_plain_loop(build, jit_compile=False):
    """Compare the weights that each of two seeds ends with, trained one after another.

    Then again for other settings: what one seed draws must not meet another's run.
    """
    make = partial(keras.optimizers.SGD, 0.1)
    ends = {}

    def at_end(name, seed, model):
        ends[seed] = [variable.numpy() for variable in model.variables]

    budget = {"seeds": [1, 2], "updates": UPDATES, "workers": 1, "optimizer": make}
    settings = [{"batch_size": 8}, {"batch_size": BATCH}]
    training.sweep({"m": build}, TINY, settings, at_end=at_end, **budget)
    for seed, weights in ends.items():
        model = plain_loop(build, make(), seed=seed, jit_compile=jit_compile)
        for mine, other in zip(weights, model.variables, strict=True):
            np.testing.assert_allclose(mine, other.numpy(), rtol=1e-5, atol=1e-5)


# --- optimizers ----------------------------------------------------------------------

SCALED = {
    "scaled loss": lambda: keras.optimizers.SGD(0.1, loss_scale_factor=128.0),
    "loss scale optimizer": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01)
    ),
    "averaged": lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9),
    "averaged and overwritten": lambda: keras.optimizers.SGD(
        0.1, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=5
    ),
    "averaged inside": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
    ),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "free of schedules": lambda: keras.optimizers.ScheduleFreeAdamW(0.05),
    "several": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.SGD(0.1),
            {".*kernel": keras.optimizers.Adam(0.01, use_ema=True)},
        )
    ),
}


NEW = dict.fromkeys(("free of schedules", "several"), newest)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEW.get(name, ())) for name in SCALED]
)
def test_an_optimizer_does_what_it_does_in_a_plain_loop(name):
    assert_equal_to_plain_loop(network(), SCALED[name])


def without_decay_of_shifts():
    optimizer = keras.optimizers.AdamW(0.05, weight_decay=1.0)
    optimizer.exclude_from_weight_decay(var_names=["beta", "bias"])
    return optimizer


def late_start():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.3, 16)
    optimizer = keras.optimizers.SGD(schedule)
    optimizer.iterations.assign(8)
    return optimizer


@pytest.mark.parametrize("make", [without_decay_of_shifts, late_start])
def test_what_methods_set_is_kept_by_a_function_and_refused_in_a_copy(make):
    assert_equal_to_plain_loop(network(), make, choice=make)
    with pytest.raises(ValueError, match=r"cannot be copied .*give a function"):
        train(network(), optimizer=make())


def test_a_function_whose_optimizer_hides_something_shares_no_program():
    plain = partial(keras.optimizers.AdamW, 0.05, weight_decay=1.0)
    settings = [{"optimizer": choice} for choice in (plain, without_decay_of_shifts)]
    common = {"seeds": [SEED], "updates": 4, "batch_size": BATCH, "workers": 1}
    swept = training.sweep({"m": network()}, TINY, settings, **common)
    for setting in settings:
        programs.clear()
        alone = training.train({"m": network()}, TINY, **setting, **common)
        chosen = swept[swept["optimizer"] == setting["optimizer"]]
        assert list(chosen["test_loss"]) == list(alone["test_loss"])
    assert swept["test_loss"].nunique() == 2


@dataclass
class Maker:
    """Makes an optimizer, and has no hash."""

    weight_decay: float

    def __call__(self):
        optimizer = keras.optimizers.AdamW(0.05, weight_decay=self.weight_decay)
        optimizer.exclude_from_weight_decay(var_names=["beta", "bias"])
        return optimizer


def test_what_makes_an_optimizer_needs_no_hash():
    settings = [{"optimizer": Maker(decay)} for decay in (0.5, 0.0)]
    common = {"seeds": [SEED], "updates": 4, "batch_size": BATCH}
    swept = training.sweep({"m": network()}, TINY, settings, **common)
    assert swept["test_loss"].nunique() == 2


def test_a_grid_over_a_function_compiles_once(monkeypatch):
    made = []
    init = programs.Program.__init__
    monkeypatch.setattr(
        programs.Program,
        "__init__",
        lambda program, *arguments: made.append(program) or init(program, *arguments),
    )
    rates = [{"learning_rate": rate} for rate in (0.01, 0.1)]
    common = {"seeds": [1], "updates": 4, "batch_size": BATCH, "workers": 1}
    common |= {"optimizer": without_decay_of_shifts}
    swept = training.sweep({"m": network(units=5)}, TINY, rates, **common)
    assert len(made) == 1
    assert swept["test_loss"].nunique() == 2


@newest
@pytest.mark.parametrize("seed", [8, 9])
def test_what_an_optimizer_starts_from_is_its_own_seeds(seed):
    make = SCALED["free of schedules"]
    ends = {}

    def at_end(name, seed, model):
        ends[seed] = [variable.numpy() for variable in model.variables]

    common = {"updates": UPDATES, "batch_size": BATCH, "optimizer": make()}
    training.train({"m": network()}, TINY, seeds=[SEED, seed], at_end=at_end, **common)
    expected = plain_loop(network(), make(), seed=seed).variables
    for mine, other in zip(ends[seed], expected, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-5, atol=1e-5)


class Anchored(keras.optimizers.SGD):
    """Pulls weights back to where they started, and remembers where in a tensor."""

    def build(self, variables):
        super().build(variables)
        self.anchors = [tf.identity(variable) for variable in variables]


def test_an_optimizer_that_hides_copies_of_weights_is_refused():
    with pytest.raises(ValueError, match="Anchored keeps copies of weights"):
        train(network(), optimizer=Anchored(0.1))


def built():
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([keras.Variable(1.0)])
    return optimizer


ONE = keras.optimizers.SGD(0.1)
NO_OPTIMIZERS = {
    "an optimizer of another model": (built(), "belongs to a model"),
    "a function that makes such": (built, "belongs to a model"),
    "one optimizer again and again": (lambda: ONE, "a new Keras optimizer"),
    "a function of something else": (lambda: 0.1, "a new Keras optimizer"),
    "a rate by a function": (keras.optimizers.SGD(lambda: 0.1), "give a function"),
}


@pytest.mark.parametrize("name", NO_OPTIMIZERS)
@pytest.mark.filterwarnings("error")
def test_no_optimizer_is_trained_with_that_cannot_be_made_anew(name):
    choice, said = NO_OPTIMIZERS[name]
    with pytest.raises(ValueError, match=said):
        train(lambda: pytest.fail("a model was built"), optimizer=choice)


@newest
@pytest.mark.parametrize("option", [{"learning_rate": 0.1}, {"cosine_decay": True}])
def test_several_rates_are_not_replaced_by_one(option):
    with pytest.raises(ValueError, match=f"leave {next(iter(option))} out"):
        train(network(), optimizer=SCALED["several"](), **option)


def test_a_rate_reaches_the_optimizer_inside_another():
    inside = partial(keras.optimizers.LossScaleOptimizer, keras.optimizers.SGD(0.9))
    frame, *_ = train(network(), optimizer=inside(), learning_rate=0.05)
    plain, *_ = train(network(), optimizer="sgd", learning_rate=0.05)
    np.testing.assert_allclose(frame["test_loss"], plain["test_loss"], rtol=1e-5)


NAMES = [
    *("SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax"),
    *("Adafactor", "Nadam", "Ftrl", "Lion", "Lamb", "Muon"),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_keras_optimizer_can_be_copied(name):
    kind = getattr(keras.optimizers, name, None)
    if kind is None:
        pytest.skip("this Keras has no such optimizer")
    first, second = (optimizers.recipe(choice) for choice in (kind(), kind))
    assert first.rate == second.rate == pytest.approx(float(kind().learning_rate))
    if name == "Muon":  # it reads the names of variables: its programs are not shared
        assert not isinstance(first.kind, str)
    else:
        assert isinstance(first.kind, str)
        assert first.kind == second.kind


# --- what `fit` does at the end ------------------------------------------------------


def test_scores_are_of_the_averaged_weights_and_training_is_not():
    make = SCALED["averaged"]
    often = assert_equal_to_plain_loop(network(), make)
    seldom, *_ = train(network(), optimizer=make(), measure_every=UPDATES)
    columns = ["test_loss", "validation_loss", "train_loss"]
    last, only = often[columns].iloc[-1], seldom[columns].iloc[-1]
    pd.testing.assert_series_equal(last, only, check_names=False, check_exact=True)

    # The first epoch's score is of what training would have ended with there.
    first, *_ = train(network(), optimizer=make(), updates=4)
    assert first["validation_loss"].iloc[0] == often["validation_loss"].iloc[0]


def test_probes_see_what_is_scored():
    def probe(model):
        logits = training.predict(model, TINY.validation.images)
        return {"seen": np.mean(logits.argmax(axis=1) == TINY.validation.labels)}

    frame, *_ = train(network(), optimizer=SCALED["averaged"](), probe=probe)
    assert list(frame["seen"]) == list(frame["validation_accuracy"])


# --- state and randomness of layers --------------------------------------------------


class Counted(keras.layers.Layer):
    """Counts its calls, in inference mode too, and weighs its inputs by them."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, images):
        self.count.assign_add(1.0)
        return images * (1 + 0.1 * keras.ops.sin(self.count))


RECURRENT = (
    partial(keras.layers.Reshape, (2, 4)),
    partial(keras.layers.GRU, 4, dropout=0.3, recurrent_dropout=0.2),
)
STATEFUL = {"recurrent": RECURRENT, "counted": (Counted,)}


@pytest.mark.parametrize("name", STATEFUL)
def test_measuring_leaves_the_state_of_layers_as_it_was(name):
    build = network(*STATEFUL[name])
    _, often, _ = train(build, measure_every=1)
    _, seldom, _ = train(build, measure_every=UPDATES)
    for mine, other in zip(often, seldom, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_probe_may_change_moving_statistics():
    def probe(model):
        model(TINY.train.images, training=True)
        return {}

    _, probed, _ = train(network(), probe=probe, measure_every=2)
    _, plain, _ = train(network())
    for mine, other in zip(probed, plain, strict=True):
        np.testing.assert_array_equal(mine, other)


class Noise(keras.layers.Layer):
    """Adds noise in training, drawn in some way."""

    def __init__(self, draw):
        super().__init__(name="noise")
        self.draw = draw

    def call(self, images, training=None):
        return images + self.draw(keras.ops.shape(images)) if training else images


class Outer(keras.layers.Layer):
    """Holds a layer that draws."""

    def __init__(self):
        super().__init__(name="outer")
        self.inner = Noise(keras.random.normal)

    def call(self, images, training=None):
        return self.inner(images, training=training)


def in_a_branch(shape):
    zeros = tf.zeros(shape)
    return tf.cond(tf.size(zeros) > 0, lambda: tf.random.normal(shape), lambda: zeros)


class Drifting(keras.layers.Layer):
    """Changes a variable that Keras does not know."""

    def __init__(self):
        super().__init__(name="drifting")
        self.drift = tf.Variable(0.0)

    def call(self, images):
        self.drift.assign_add(1.0)
        return images + self.drift


HIDDEN = {
    "noise": partial(Noise, keras.random.normal),
    "noise by TensorFlow": partial(Noise, tf.random.normal),
    "noise in a branch": partial(Noise, in_a_branch),
    "noise from a generator": partial(
        Noise, lambda shape: tf.random.Generator.from_seed(1).normal(shape)
    ),
    "noise within": Outer,
    "drifting": Drifting,
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_layer_whose_randomness_no_seed_fixes_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"the layer or .*{name.split()[0]}"):
        train(network(HIDDEN[name]))


class OwnNoise(Noise):
    """Adds noise of its own generator in training."""

    def __init__(self):
        super().__init__(None)
        self.generator = keras.random.SeedGenerator()
        self.draw = partial(keras.random.normal, seed=self.generator)


class Constant(keras.layers.Layer):
    """Reads a variable that Keras does not know, and never changes it."""

    def __init__(self):
        super().__init__()
        self.factor = tf.Variable(2.0)

    def call(self, images):
        return self.factor * images


class Watched(keras.layers.Layer):
    """Keeps a metric, which decides nothing."""

    def __init__(self):
        super().__init__()
        self.mean = keras.metrics.Mean()

    def call(self, images):
        self.mean.update_state(images)
        return images


class Counting(keras.layers.Layer):
    """Grows with the number of its calls, which Python alone knows."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, images):
        self.calls += 1
        return images * (1 + 0.1 * self.calls)


class Rolling(keras.layers.Layer):
    """Draws a number from NumPy's own generator at each call."""

    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def call(self, images):
        return images * self.generator.uniform()


class Shy(keras.layers.Layer):
    """Draws by Python's `random`, in training alone."""

    def call(self, images, training=False):
        return images * random.choice([0.9, 1.1]) if training else images


class Around(keras.layers.Layer):
    """Holds another layer."""

    def __init__(self):
        super().__init__()
        self.inner = Shy(name="inner_one")

    def call(self, images, training=False):
        return self.inner(images, training=training)


IN_PYTHON = {"counting": Counting, "rolling": Rolling, "shy": Shy, "inner_one": Around}


@pytest.mark.parametrize("name", IN_PYTHON)
def test_a_layer_that_draws_or_counts_in_python_is_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"the layer {name}(_\d+)? draws from"):
        train(network(IN_PYTHON[name]))


class Sized(keras.layers.Layer):
    """Keeps the size of the batch that it saw last, which decides nothing."""

    def __init__(self):
        super().__init__()
        self.size = 0

    def call(self, images):
        self.size = images.shape[0] or 1
        return images


RANDOM = {
    "sized": (Sized,),
    "own noise": (OwnNoise,),
    "dropout": (partial(keras.layers.Dropout, 0.3),),
    "gaussian noise": (partial(keras.layers.GaussianNoise, 0.3),),
    "recurrent": RECURRENT,
    "penalty": (partial(keras.layers.ActivityRegularization, 0.1),),
    "constant": (Constant,),
    "watched": (Watched,),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_layer_that_holds_what_it_changes_trains_as_in_a_plain_loop(name):
    make = partial(keras.optimizers.SGD, 0.1)
    draws = name in ("own noise", "dropout", "gaussian noise", "recurrent")
    assert_equal_to_plain_loop(network(*RANDOM[name]), make, jit_compile=draws)


def test_a_run_is_the_same_whichever_ran_before_and_beside_it():
    builders = {"noise": network(OwnNoise), "recurrent": network(*RECURRENT)}
    common = {"updates": 4, "batch_size": BATCH}
    frames = [
        training.train(builders, TINY, seeds=seeds, workers=workers, **common)
        for seeds, workers in [([1, 2], 2), ([2, 1], 1)]
    ]
    left, right = (
        frame.drop(columns="seconds").sort_values(["model", "seed"]) for frame in frames
    )
    pd.testing.assert_frame_equal(
        left.reset_index(drop=True), right.reset_index(drop=True), check_exact=True
    )


# --- models of every make ------------------------------------------------------------


class Subclassed(keras.Model):
    """Shows its layers in its call alone."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(8, activation="relu")
        self.norm = keras.layers.BatchNormalization(momentum=0.5)
        self.last = keras.layers.Dense(4)

    def call(self, images, training=None):
        flat = keras.ops.reshape(images, (-1, 16))
        return self.last(self.norm(self.hidden(flat), training=training))


class Silent(Subclassed):
    """Does not take `training`; its layers hear of it all the same."""

    def call(self, images):
        flat = keras.ops.reshape(images, (-1, 16))
        return self.last(self.norm(self.hidden(flat)))


def operated():
    """Do with operations what else layers do."""
    inputs = keras.Input((4, 4))
    x = keras.layers.Dense(8)(keras.ops.reshape(inputs, (-1, 16)))
    x = keras.layers.BatchNormalization(momentum=0.5)(x + keras.ops.relu(-x))
    return keras.Model(inputs, keras.layers.Dense(4)(0.5 * x))


@pytest.mark.parametrize("build", [Subclassed, Silent, operated])
@pytest.mark.filterwarnings("error")
def test_models_that_a_call_builds(build):
    assert_equal_to_plain_loop(build, partial(keras.optimizers.Adam, 0.01))


def test_a_frozen_layer_may_stand_in_all_models():
    frozen = keras.layers.Dense(8, "relu", trainable=False)
    adapted = keras.layers.Normalization()
    adapted.adapt(3 * TINY.train.images.reshape(64, 16) @ np.ones((16, 8)))
    build = network(lambda: adapted, lambda: frozen)
    assert_equal_to_plain_loop(build, partial(keras.optimizers.Adam, 0.01))


class Summed(keras.layers.Layer):
    """Adds the running sums of as many numbers as are positive."""

    def call(self, images):
        positive = tf.boolean_mask(images, images > 0)
        return images + 1e-3 * tf.reduce_sum(tf.cumsum(positive))


def test_shapes_that_depend_on_values_are_trained_truly():
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        assert_equal_to_plain_loop(network(Summed), partial(keras.optimizers.SGD, 0.1))


class Cut(keras.layers.Layer):
    """Adds the mean of as many numbers as are positive."""

    def call(self, images):
        flat = tf.reshape(images, [-1])
        count = tf.reduce_sum(tf.cast(flat > 0, tf.int32))
        return images + tf.reduce_mean(tf.slice(flat, [0], [count]))


def test_a_length_that_depends_on_values_is_trained_truly():
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        assert_equal_to_plain_loop(network(Cut), partial(keras.optimizers.SGD, 0.1))


class Block(keras.layers.Layer):
    """Adds the mean of a block whose length follows from a shape."""

    def call(self, images):
        half = tf.shape(images) // 2
        return images + tf.reduce_mean(tf.slice(images, [0, 0], half))


def test_a_length_that_follows_from_a_shape_is_compiled(recwarn):
    assert_equal_to_plain_loop(network(Block), partial(keras.optimizers.SGD, 0.1))
    assert not [each for each in recwarn.list if "XLA" in str(each.message)]


class Spread(keras.layers.Layer):
    """Needs finite weights and different images, or there is no such logarithm."""

    def call(self, images):
        moments = tf.matmul(images, images, transpose_a=True)
        return images + 0.01 * tf.linalg.slogdet(moments)[1]


def test_the_hidden_first_step_is_one_of_training():
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        assert_equal_to_plain_loop(network(Spread), partial(keras.optimizers.SGD, 0.1))


# --- labels and images ---------------------------------------------------------------

L = TINY.train.labels
BROKEN = {
    "a column of labels": ({"labels": L[:, None].copy()}, r"ravel"),
    "one-hot labels": ({"labels": np.eye(4, dtype=int)[L]}, "shape"),
    "too few labels": ({"labels": L[:-1].copy()}, "63"),
    "labels of numbers with a point": ({"labels": L.astype(float)}, "float64"),
    "negative labels": ({"labels": L - 1}, "from 0"),
    "no images": (
        {"labels": L[:0].copy(), "images": TINY.train.images[:0].copy()},
        "no images",
    ),
    "images of another shape": (
        {"images": np.zeros((64, 5, 4), np.float32)},
        "make them alike",
    ),
    "images of another dtype": ({"images": np.zeros((64, 4, 4))}, "make them alike"),
}


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("name", BROKEN)
def test_labels_and_images_are_checked_before_a_model_is_built(name, part):
    changes, said = BROKEN[name]
    broken = replace(TINY, **{part: replace(TINY.train, **changes)})
    with pytest.raises(ValueError, match=said):
        train(lambda: pytest.fail("a model was built"), dataset=broken)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_labels_beyond_the_logits_are_refused(part):
    broken = replace(TINY, **{part: replace(TINY.train, labels=L + 1)})
    with pytest.raises(ValueError, match="'m' returns shape .*let it return 5 logits"):
        train(network(), dataset=broken)


def test_logits_of_another_shape_are_refused():
    build = lambda: keras.Sequential([keras.Input((4, 4)), keras.layers.Dense(4)])  # noqa: E731
    with pytest.raises(ValueError, match="let it return 4 logits an image"):
        train(build)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint32])
def test_labels_may_be_whole_numbers_of_any_kind(dtype):
    changed = {
        part: replace(
            getattr(TINY, part), labels=getattr(TINY, part).labels.astype(dtype)
        )
        for part in ("train", "validation", "test")
    }
    frame, *_ = train(network(), dataset=replace(TINY, **changed))
    plain, *_ = train(network())
    assert list(frame["validation_loss"]) == list(plain["validation_loss"])


def test_whole_numbers_may_be_numpys():
    names = ("updates", "batch_size", "measure_every", "workers")
    sizes = dict(zip(names, (8, 16, 2, 1), strict=True))
    theirs = {name: np.int64(size) for name, size in sizes.items()}
    columns = ["updates", "validation_loss"]
    frames = [train(network(), **options)[0][columns] for options in (sizes, theirs)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    *_, epochs = train(network(), updates=None, epochs=np.int32(3))
    *_, updates = train(network())
    np.testing.assert_array_equal(epochs, updates)


# --- policies of precision -----------------------------------------------------------


def deep():
    """Eight layers of small gradients, which halves alone would lose."""
    hidden = [keras.layers.Dense(16, activation="sigmoid") for _ in range(8)]
    ends = [keras.layers.Flatten(), *hidden, keras.layers.Dense(4)]
    return keras.Sequential([keras.Input((4, 4)), *ends])


def fitted(build, optimizer):
    """Weights by Keras' `fit` on the batches of `train`."""
    keras.utils.set_random_seed(SEED)
    model = build()
    start = [variable.numpy() for variable in model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Without XLA, which compiles no half precision for some processors.
    model.compile(optimizer, loss, jit_compile=False)
    orders = [training.epoch_order(SEED, epoch, 64) for epoch in (1, 2, 3)]
    order = np.concatenate(orders)
    model.fit(
        TINY.train.images[order],
        TINY.train.labels[order],
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
    )
    return start, [variable.numpy() for variable in model.trainable_variables]


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float64"], indirect=True
)
def test_policies_of_precision_are_those_of_fit(policy):
    make = partial(keras.optimizers.SGD, 0.5)
    _, weights, logits = train(deep, optimizer=make())
    start, expected = fitted(deep, make())
    kernel = 0  # the first kernel, whose gradient is the smallest
    change, theirs = weights[kernel] - start[kernel], expected[kernel] - start[kernel]
    error = np.linalg.norm(change - theirs) / np.linalg.norm(theirs)
    assert error < {"mixed_bfloat16": 0.2}.get(policy, 0.02)
    assert logits.dtype == np.float32


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_a_policy_shares_no_program_with_another(policy):
    halves, *_ = train(network())
    keras.config.set_dtype_policy("float32")
    singles, *_ = train(network())
    programs.clear()
    again, *_ = train(network())
    assert list(singles["validation_loss"]) == list(again["validation_loss"])
    assert list(singles["validation_loss"]) != list(halves["validation_loss"])


class Projection(keras.layers.Layer):
    """Projects by an array that it draws, which is no variable."""

    def __init__(self):
        super().__init__()
        drawn = np.random.normal(size=(8, 8))  # noqa: NPY002  # by the global seed
        self.matrix = drawn.astype("float32")

    def call(self, images):
        return keras.ops.tanh(images @ self.matrix)


DRAWN = {
    "array": (Projection,),
    "slope": (lambda: keras.layers.LeakyReLU(random.random()),),
    "width": (lambda: keras.layers.Dense(random.randint(3, 500)),),
}


@pytest.mark.parametrize("name", DRAWN)
def test_what_a_builder_draws_beside_variables_is_each_seeds_own(name):
    assert_each_seed_equals_plain_loop(network(*DRAWN[name]))


def test_a_builder_whose_seeds_have_other_logits_is_refused():
    def build():
        units = random.randint(4, 50)
        layers = [keras.Input((4, 4)), keras.layers.Flatten()]
        return keras.Sequential([*layers, keras.layers.Dense(units)])

    with pytest.raises(ValueError, match="let all return as many logits"):
        train(build, seeds=[1, 2])


def test_a_builder_that_draws_another_network_in_each_call_is_refused():
    rates = iter(np.linspace(0.1, 0.9, 9))
    build = network(lambda: keras.layers.Dropout(next(rates)))
    settings = [{"optimizer": "sgd"}, {"optimizer": "adam"}]
    with pytest.raises(ValueError, match="a builder's models of one seed differ"):
        training.sweep({"m": build}, TINY, settings, seeds=[1], updates=4)


def test_a_layer_that_draws_the_same_for_every_seed_is_trained():
    class Fixed(Projection):
        def __init__(self):
            super().__init__()
            generator = np.random.default_rng(0)
            self.matrix = generator.normal(size=(8, 8)).astype("float32")

    assert len(train(network(Fixed), seeds=[1, 2], measure_every="end")[0]) == 2


@pytest.mark.parametrize("kind", ["variable", "generator"])
def test_a_variable_in_two_models_is_refused(kind):
    made = keras.Variable(1.0), keras.random.SeedGenerator(3)
    held = made[kind == "generator"]

    class Shares(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.held = held

        def call(self, images):
            return images * held if kind == "variable" else images

    with pytest.raises(ValueError, match="put one variable, .*, into two models"):
        train(network(Shares), seeds=[1, 2])


class Centred(keras.layers.Layer):
    """Takes off the mean of all that it has seen in training, which a metric keeps."""

    def __init__(self):
        super().__init__()
        self.mean = keras.metrics.Mean()

    def call(self, images, training=False):
        if training:
            self.mean.update_state(images)
        return images - self.mean.result()


def test_a_metric_that_decides_something_starts_afresh():
    make = partial(keras.optimizers.SGD, 0.1)
    assert_equal_to_plain_loop(network(Centred), make)


def maps(factor):
    """Make a builder whose model maps a function, which no text shows."""

    def build():
        def scale(row):
            return factor * row

        images = keras.Input((4, 4))
        hidden = keras.layers.Dense(8)(keras.layers.Flatten()(images))
        hidden = keras.ops.map(scale, hidden)
        return keras.Model(images, keras.layers.Dense(4)(hidden))

    return build


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_functions_that_operations_are_called_with_share_no_program(factor):
    assert_equal_to_plain_loop(maps(factor), partial(keras.optimizers.SGD, 0.1))


def test_a_schedule_defined_again_is_the_one_used():
    def warm(scale):
        @keras.saving.register_keras_serializable("tests")
        class Warm(keras.optimizers.schedules.LearningRateSchedule):
            def __call__(self, step):
                return scale * (1 + keras.ops.cast(step, "float32"))

            def get_config(self):
                return {}

        return lambda: keras.optimizers.SGD(Warm())

    for scale in (0.01, 0.05):
        assert_equal_to_plain_loop(network(), warm(scale))


class Branches(keras.Model):
    """Decides in Python by the value of a tensor."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, images):
        logits = self.dense(keras.ops.reshape(images, (-1, 16)))
        return logits if keras.ops.mean(logits) > 0 else -logits


def test_what_cannot_be_compiled_is_refused_by_a_sentence():
    with pytest.raises(ValueError, match="the model Branches cannot be compiled"):
        train(Branches)
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.raises(ValueError, match="run_functions_eagerly"):
            train(network())
    finally:
        tf.config.run_functions_eagerly(False)


def test_two_threads_may_train():
    def losses(units):
        network_of = {"m": network(keras.layers.ReLU, units=units)}
        options = {"seeds": [1, 2, 3], "updates": 2, "batch_size": BATCH}
        rows = training.train(network_of, TINY, measure_every="end", **options)
        return rows.sort_values("seed")["test_loss"].tolist()

    alone = [losses(units) for units in (9, 10)]
    programs.clear()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(losses, (9, 10))) == alone


# --- as students write them ----------------------------------------------------------


class Centring(keras.optimizers.SGD):
    """Centres gradients where `fit` hands them over."""

    def apply_gradients(self, grads_and_vars):
        centred = [(g - keras.ops.mean(g), v) for g, v in grads_and_vars]
        return super().apply_gradients(centred)


def test_gradients_are_handed_over_as_fit_does():
    assert_equal_to_plain_loop(network(), partial(Centring, 0.1), choice=Centring(0.1))
    _, mine, _ = train(network(), optimizer=Centring(0.1))
    _, plain, _ = train(network(), optimizer=keras.optimizers.SGD(0.1))
    assert np.abs(mine[0] - plain[0]).max() > 1e-4


def compiled(**how):
    def build():
        model = network()()
        model.compile("sgd", **how)
        return model

    return build


COMPILED = {
    "plainly": {"loss": "mse"},
    "with metrics": {
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "metrics": ["accuracy"],
    },
    "with a function": {"loss": lambda labels, logits: keras.ops.mean(logits)},
}


@pytest.mark.parametrize("name", COMPILED)
def test_a_builder_may_compile_its_model_for_fit(name):
    make = partial(keras.optimizers.Adam, 0.01)
    assert_equal_to_plain_loop(compiled(**COMPILED[name]), make)


class Keyed(keras.layers.Layer):
    """Keeps layers under keys that have no order."""

    def __init__(self):
        super().__init__()
        self.parts = {0: keras.layers.Dense(8), "last": keras.layers.Dense(8)}

    def call(self, images):
        return self.parts["last"](self.parts[0](images))


def test_a_dictionary_of_layers_needs_no_order():
    assert_equal_to_plain_loop(network(Keyed), partial(keras.optimizers.SGD, 0.1))


class Strict(Subclassed):
    """Must be told whether it trains."""

    def call(self, images, training):
        return super().call(images, training=training)


def test_a_call_may_need_training():
    assert_equal_to_plain_loop(Strict, partial(keras.optimizers.Adam, 0.01))


class Pair(Subclassed):
    def call(self, images):
        logits = super().call(images)
        return logits, keras.ops.sum(logits)


def outputs(kind):
    def build():
        images = keras.Input((4, 4))
        hidden = keras.layers.Dense(8)(keras.layers.Flatten()(images))
        logits = keras.layers.Dense(4)(hidden)
        both = {"list": [logits, hidden], "dict": {"logits": logits}}
        return keras.Model(images, both[kind])

    return build


@pytest.mark.parametrize(
    ("build", "what"),
    [(Pair, "tuple of 2"), (outputs("list"), "list of 2"), (outputs("dict"), "dict")],
)
def test_other_than_logits_is_refused(build, what):
    with pytest.raises(ValueError, match=f"{what}.* let it return the logits alone"):
        train(build)


class Unique(keras.layers.Layer):
    """Counts the different whole numbers in a batch."""

    def call(self, images):
        whole = tf.reshape(tf.round(tf.stop_gradient(images)), [-1])
        return images + 0.01 * tf.reduce_sum(tf.ones_like(tf.unique(whole)[0]))


def test_the_different_values_of_a_batch_are_counted_truly():
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        assert_equal_to_plain_loop(network(Unique), partial(keras.optimizers.SGD, 0.1))


def called(*names):
    first, last = names
    return lambda: keras.Sequential(
        [
            keras.Input((4, 4)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="relu", name=first),
            keras.layers.Dense(4, name=last),
        ]
    )


def test_an_optimizer_that_reads_names_shares_no_program_with_other_names():
    if not hasattr(keras.optimizers, "Muon"):
        pytest.skip("this Keras has no such optimizer")
    losses = []
    for names in [("embedding", "out"), ("one", "two")]:
        make = partial(keras.optimizers.Muon, 0.05)
        common = {"seeds": [SEED], "updates": UPDATES, "batch_size": BATCH}
        frame = training.train({"m": called(*names)}, TINY, optimizer=make(), **common)
        model = plain_loop(called(*names), make())
        logits = model(TINY.test.images, training=False)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        expected = float(loss(TINY.test.labels, logits))
        assert frame["test_loss"].iloc[-1] == pytest.approx(expected, rel=1e-4)
        losses.append(expected)
    assert abs(losses[0] - losses[1]) > 1e-3


class Warming(keras.optimizers.schedules.LearningRateSchedule):
    """Decides in Python."""

    def __call__(self, step):
        return 0.1 if step > 3 else 0.01


class Halving(keras.layers.Layer):
    """Decides in Python, in training alone."""

    def call(self, images, training=None):
        if training and keras.ops.mean(images) > 0:
            return images / 2
        return images


class Reading(keras.layers.Layer):
    """Takes a number out of a tensor, in training alone."""

    def call(self, images, training=None):
        return images * float(images.numpy().mean()) if training else images


def warming():
    return keras.optimizers.SGD(Warming())


UNCOMPILED = {
    "schedule": (network(), warming, "SGD"),
    "branch": (network(Halving), "sgd", "Sequential"),
    "number": (network(Reading), "sgd", "numpy"),
}


@pytest.mark.parametrize("name", UNCOMPILED)
def test_an_update_that_cannot_be_compiled_is_refused_by_a_sentence(name):
    build, optimizer, said = UNCOMPILED[name]
    with pytest.raises(ValueError, match=said) as caught:
        train(build, optimizer=optimizer)
    message = str(caught.value)
    assert "cannot be compiled" in message
    assert "\n" not in message
    assert "File" not in message


def test_a_schedule_is_no_learning_rate():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    with pytest.raises(ValueError, match="give a schedule to the optimizer"):
        train(lambda: pytest.fail("a model was built"), learning_rate=schedule)
    for rate in ("0.1", [0.1]):
        with pytest.raises(ValueError, match="learning_rate must be one positive"):
            train(lambda: pytest.fail("a model was built"), learning_rate=rate)


def test_a_builder_must_return_a_model():
    with pytest.raises(ValueError, match="returned None, no keras.Model"):
        train(lambda: None)


def test_the_loss_may_be_of_double_precision():
    keras.config.set_floatx("float64")
    try:
        frame, *_ = train(network(), cosine_decay=True)
    finally:
        keras.config.set_floatx("float32")
    assert np.isfinite(frame["test_loss"].iloc[-1])


class OwnNorm(keras.layers.Layer):
    """Keeps a moving average where Keras does not look."""

    def build(self, shape):
        self.mean = tf.Variable(tf.zeros(shape[-1:]), trainable=False)

    def call(self, images, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(images, 0))
        return images - self.mean


def test_a_variable_of_tensorflow_is_refused_by_its_layer_and_remedy():
    with pytest.raises(ValueError, match=r"optimizer own_norm\w* draws .*add_weight"):
        train(network(OwnNorm))


def test_a_frozen_network_that_draws_is_not_told_to_be_frozen():
    drawing = [keras.layers.Flatten(), keras.layers.Dropout(0.5)]
    base = keras.Sequential([keras.Input((4, 4)), *drawing], name="base")
    base.trainable = False
    build = lambda: keras.Sequential([base, keras.layers.Dense(4)])  # noqa: E731
    with pytest.raises(ValueError, match="one layer, base, .*clone_model"):
        train(build, seeds=[1, 2])


SLIPS = {
    "a builder alone": ({"builders": network()}, "builders must hold a name"),
    "builders in a list": ({"builders": [network()]}, "builders must hold a name"),
    "a model": ({"builders": {"m": network()()}}, "and a function that builds it"),
    "a number of seeds": ({"seeds": 3}, "seeds must be different .* not 3"),
    "a dataset's name": ({"dataset": "mnist"}, "must be a helpers.data.Dataset"),
    "a probe of a number": ({"probe": lambda model: 1.0}, "a probe must return"),
    "a probe of nothing": ({"probe": lambda model: None}, "not None"),
    "a probe's old column": ({"probe": lambda model: {"seed": 1.0}}, "new columns"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_in_an_argument_is_named(name):
    given, said = SLIPS[name]
    common = {"builders": {"m": network()}, "dataset": TINY, "seeds": [SEED]}
    budget = {"updates": 1, "batch_size": BATCH}
    with pytest.raises(ValueError, match=said):
        training.train(**common | given, **budget)


@pytest.mark.parametrize("grid", [{"learning_rate": [0.1, 0.3]}, [0.1, 0.3]])
def test_a_grid_is_a_list_of_settings(grid):
    with pytest.raises(ValueError, match="ParameterGrid makes one"):
        training.sweep({"m": network()}, TINY, grid, seeds=[SEED], updates=1)


def test_logits_follow_what_is_set_in_a_layer():
    kept = {}
    train_it = {"m": network(lambda: keras.layers.Activation("relu"))}
    training.train(
        train_it, TINY, seeds=[SEED], updates=1, batch_size=BATCH,
        at_end=lambda name, seed, model: kept.update(model=model),
    )  # fmt: skip
    model, images = kept["model"], TINY.test.images
    before = training.predict(model, images)
    (layer,) = (x for x in model.layers if isinstance(x, keras.layers.Activation))
    layer.activation = keras.activations.tanh
    after = training.predict(model, images)
    np.testing.assert_allclose(after, model(images, training=False), rtol=1e-5)
    assert np.abs(after - before).max() > 1e-3
