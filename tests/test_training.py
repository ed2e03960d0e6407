"""The compiled trainer against Keras' own `fit` and `evaluate`, and its promises."""

from dataclasses import replace
from functools import partial
from threading import Barrier
from time import sleep

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny import split

from helpers import models, programs, training
from helpers.data import Dataset, Split

BATCH = 16  # 70 training images: four full batches and one of six
UPDATES = 5  # an epoch

TINY = Dataset("tiny", tuple("abcd"), split(70, 1), split(30, 2), split(20, 3))


def mlp(normalization=None):
    return partial(
        models.mlp, (8,), normalization=normalization, input_shape=(4, 4), classes=4
    )


def softmax_regression(*layers, **dense):
    """Make a builder of the smallest classifier, with some layers before its Dense."""
    return lambda: keras.Sequential(
        [keras.Input((4, 4)), keras.layers.Flatten()]
        + [layer() for layer in layers]
        + [keras.layers.Dense(4, **dense)]
    )


BUILDERS = {"plain": mlp(), "batch": mlp("batch"), "layer": mlp("layer")}
ONE = {"linear": softmax_regression()}
train = partial(training.train, dataset=TINY, batch_size=BATCH)
sweep = partial(training.sweep, dataset=TINY)


def refused():
    pytest.fail("a model was built before the arguments were checked")


class Weights(dict):
    """An `at_end` that keeps the weights each run ends with."""

    def __call__(self, name, seed, model):
        self[name, seed] = [variable.numpy() for variable in model.weights]


def use_keras(model, optimizer="sgd"):
    """Compile for `fit` and `evaluate`, uncompiled: Keras' plainest way."""
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=True,
    )


def evaluate(model):
    """Score a model with Keras as the columns of the frame do."""
    use_keras(model)
    scores = {}
    for name in ("train", "validation", "test"):
        part = getattr(TINY, name)
        loss, accuracy = model.evaluate(part.images, part.labels, verbose=0)
        scores |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
    return scores


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Assert bitwise equality of all but the seconds."""
    pd.testing.assert_frame_equal(
        left.drop(columns="seconds").reset_index(drop=True),
        right.drop(columns="seconds").reset_index(drop=True),
        check_exact=True,
    )


@pytest.fixture(scope="module")
def study():
    """Train three arms, seeds and epochs; add the weights and scores at the ends."""
    weights, scores = Weights(), {}

    def at_end(name, seed, model):
        weights(name, seed, model)
        if seed == 2:
            scores[name, seed] = evaluate(model)

    frame = train(BUILDERS, seeds=[3, 1, 2], epochs=3, at_end=at_end)
    return frame, weights, scores


@pytest.fixture
def made(monkeypatch):
    """Collect the compiled programs that studies make, none kept from before."""
    made = []

    class Recorded(programs.Program):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    programs.clear()
    monkeypatch.setattr(programs, "Program", Recorded)
    return made


# --- the same as Keras ---------------------------------------------------------------

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(3e-3),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
}
REGULARIZED = softmax_regression(kernel_regularizer=keras.regularizers.L2(0.3))
CONVOLUTION = softmax_regression(
    partial(keras.layers.Reshape, (4, 4, 1)),
    partial(keras.layers.Conv2D, 3, 3),
    keras.layers.Flatten,
)
FITTED = BUILDERS | {"regularized": REGULARIZED, "convolution": CONVOLUTION}


def assert_close(ours, theirs):
    assert [tuple(v.shape) for v in ours] == [tuple(v.shape) for v in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [(model, name) for model in BUILDERS for name in OPTIMIZERS]
    + [("regularized", "momentum"), ("convolution", "momentum")],
)
def test_matches_fit(model, optimizer, made):
    build, optimizer = FITTED[model], OPTIMIZERS[optimizer]
    seed, epochs = 7, 4
    train({model: build}, seeds=[seed], epochs=epochs, optimizer=optimizer())

    keras.utils.set_random_seed(seed)
    reference = build()
    start = [variable.numpy() for variable in reference.weights]
    use_keras(reference, optimizer())
    for epoch in range(1, epochs + 1):
        order = training.epoch_order(seed, epoch, len(TINY.train))
        reference.fit(
            TINY.train.images[order],
            TINY.train.labels[order],
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        )

    assert reference.optimizer.iterations == epochs * UPDATES
    trained = [variable.numpy() for variable in reference.weights]
    assert max(abs(a - b).max() for a, b in zip(start, trained, strict=True)) > 0.01
    (program,) = made
    assert_close(program.model.weights, trained)
    assert_close(program.optimizer.variables, reference.optimizer.variables)


def test_metrics_equal_evaluate_of_the_trained_model(study):
    frame, _, scores = study
    last = frame.groupby(["model", "seed"]).tail(1).set_index(["model", "seed"])
    expected = pd.DataFrame(scores).T
    measured = last.loc[expected.index, expected.columns]
    assert measured.shape == (3, 6)
    np.testing.assert_allclose(measured, expected, atol=1e-5)


def test_predict_gives_the_logits_of_inference_mode():
    model = mlp("batch")()
    images = TINY.test.images
    model(images, training=True)  # the moving statistics are no longer the initial ones
    expected = model(images, training=False)
    np.testing.assert_allclose(training.predict(model, images), expected, atol=1e-6)


def test_predict_asks_for_an_image():
    with pytest.raises(ValueError, match="there are no images to predict"):
        training.predict(mlp("batch")(), TINY.test.images[:0])


def test_epoch_order_is_a_permutation_of_its_own_for_seed_and_epoch():
    orders = [
        training.epoch_order(seed, epoch, 70) for seed in (1, 2) for epoch in (1, 2)
    ]
    assert all(sorted(order) == list(range(70)) for order in orders)
    assert len({order.tobytes() for order in orders}) == 4


# --- the frame -----------------------------------------------------------------------


def test_frame_holds_a_row_per_model_seed_and_epoch_in_order(study):
    frame, *_ = study
    assert list(frame.columns) == [
        *("model", "seed", "epoch", "updates"),
        *("train_loss", "train_accuracy"),
        *("validation_loss", "validation_accuracy"),
        *("test_loss", "test_accuracy"),
        *("seconds", "diverged"),
    ]
    expected = [
        (model, seed, epoch, epoch * UPDATES)
        for model in BUILDERS
        for seed in (3, 1, 2)
        for epoch in (1.0, 2.0, 3.0)
    ]
    columns = ["model", "seed", "epoch", "updates"]
    assert list(frame[columns].itertuples(index=False, name=None)) == expected
    assert list(frame.index) == list(range(27))
    assert not frame["diverged"].any()


def test_seconds_of_training_increase_within_a_run(study):
    frame, *_ = study
    steps = frame.groupby(["model", "seed"])["seconds"].diff().dropna()
    assert (steps > 0).all()


@pytest.mark.parametrize(
    ("budget", "every", "points"),
    [
        ({"epochs": 2}, None, [5, 10]),
        ({"epochs": 2}, 2, [2, 4, 6, 8, 10]),
        ({"epochs": 1}, 9, [5]),
        ({"updates": 8}, None, [5, 8]),
        ({"updates": 12}, 5, [5, 10, 12]),
        ({"updates": 3}, None, [3]),
    ],
)
def test_measurements_come_where_asked_and_never_more_than_due(budget, every, points):
    five = {"batch_size": 14}  # updates an epoch, and no rest to compile for
    frame = train(ONE, seeds=[1], measure_every=every, **five, **budget)
    assert list(frame["updates"]) == points
    assert list(frame["epoch"]) == [point / UPDATES for point in points]
    assert frame["validation_loss"].notna().all()
    ends = [point % UPDATES == 0 or point == points[-1] for point in points]
    last = [point == points[-1] for point in points]
    for metric in ("loss", "accuracy"):
        assert list(frame[f"train_{metric}"].notna()) == ends
        assert list(frame[f"test_{metric}"].notna()) == last


def test_measuring_oftener_changes_nothing_in_training(study):
    frame, *_ = study
    plain = {"plain": mlp()}
    often = train(plain, seeds=[3], updates=3 * UPDATES, measure_every=1)
    ends = often[often["updates"] % UPDATES == 0]
    same(ends, frame[(frame["model"] == "plain") & (frame["seed"] == 3)])


# --- pairing -------------------------------------------------------------------------


def test_a_run_depends_on_its_own_seed_and_builder_only(study):
    frame, kept, _ = study
    weights = Weights()
    alone = train({"batch": mlp("batch")}, seeds=[2], epochs=3, at_end=weights)
    same(alone, frame[(frame["model"] == "batch") & (frame["seed"] == 2)])
    np.testing.assert_equal(weights["batch", 2], kept["batch", 2])


def test_runs_of_different_seeds_differ(study):
    frame, *_ = study
    last = frame.groupby(["model", "seed"])["train_loss"].last()
    assert last.groupby("model").nunique().eq(3).all()


def test_arms_start_from_the_same_kernels():
    # A rate of nearly nothing leaves the kernels where they started.
    starts = Weights()
    still = {"updates": 1, "batch_size": 70, "learning_rate": 1e-30}
    train(BUILDERS, seeds=[1], at_end=starts, **still)
    kernels = {
        name: [array for array in weights if array.ndim == 2]
        for (name, _), weights in starts.items()
    }
    assert [kernel.shape for kernel in kernels["plain"]] == [(16, 8), (8, 4)]
    np.testing.assert_equal(kernels["batch"], kernels["plain"])
    np.testing.assert_equal(kernels["layer"], kernels["plain"])


def test_two_arms_of_one_builder_see_the_same_batches():
    build = softmax_regression(keras.layers.BatchNormalization)
    frame = train({"a": build, "b": build}, seeds=[1, 2], epochs=2, batch_size=35)
    arms = [group.drop(columns="model") for _, group in frame.groupby("model")]
    same(*arms)


def test_dropout_is_trained_and_reproducible():
    drop = partial(keras.layers.Dropout, 0.5)
    arms = {"dropout": softmax_regression(drop), "none": softmax_regression()}
    common = {"epochs": 2, "batch_size": 35}
    first = train(arms, seeds=[1, 2], **common)
    again = train({"dropout": arms["dropout"]}, seeds=[2, 1], **common)
    for seed in (1, 2):
        dropped = first[(first["model"] == "dropout") & (first["seed"] == seed)]
        same(dropped, again[again["seed"] == seed])
    last = first.groupby(["seed", "model"])["train_loss"].last().unstack()
    assert (last["dropout"] != last["none"]).all()


# --- divergence ----------------------------------------------------------------------


def test_a_diverged_run_is_recorded_to_its_end_and_spares_the_others():
    explodes = softmax_regression(partial(keras.layers.Rescaling, 1e25))
    sgd = {"seeds": [1, 2], "epochs": 3, "optimizer": "sgd", "batch_size": 35}
    frame = train({"explodes": explodes, "plain": mlp()}, **sgd)
    diverged = frame[frame["model"] == "explodes"]
    assert list(diverged["updates"]) == [2, 4, 6] * 2
    assert diverged["diverged"].all()
    assert diverged.groupby("seed")["seconds"].nunique().eq(1).all()
    assert diverged["test_accuracy"].count() == 2
    same(frame[frame["model"] == "plain"], train({"plain": mlp()}, **sgd))


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_a_huge_learning_rate_diverges_without_an_exception(normalization):
    # The first update still has a finite loss: only measuring shows what it did.
    huge = {"optimizer": "sgd", "learning_rate": 1e30, "batch_size": 70}
    frame = train({"model": mlp(normalization)}, seeds=[1], epochs=2, **huge)
    assert list(frame["diverged"]) == [True, True]


def test_a_setting_after_a_diverged_one_is_unharmed():
    frame = sweep(
        {"model": mlp()},
        settings=[{"learning_rate": 1e30}, {"learning_rate": 0.1}],
        **{"seeds": [1], "epochs": 1, "optimizer": "sgd", "batch_size": 35},
    )
    assert list(frame.groupby("learning_rate")["diverged"].any()) == [False, True]


# --- errors before anything is trained -----------------------------------------------

SETTINGS = {
    "batch_size": [{"epochs": 1, "batch_size": size} for size in (0, 71, 16.0)],
    "epochs": [{"epochs": 0}, {"epochs": 1.5}, {}, {"epochs": 1, "updates": 1}],
    "updates": [{"updates": 0}, {}, {"epochs": 1, "updates": 1}],
    "measure_every": [{"epochs": 1, "measure_every": 0}],
    "unknown optimizer": [{"epochs": 1, "optimizer": name} for name in ("adamm", None)],
    "learning_rate": [
        {"epochs": 1, "learning_rate": rate} for rate in (-0.1, 0.0, np.nan, np.inf)
    ],
}


@pytest.mark.parametrize(
    ("named", "setting"),
    [(name, setting) for name, settings in SETTINGS.items() for setting in settings],
)
def test_a_setting_out_of_range_is_named_before_training(named, setting):
    with pytest.raises(ValueError, match=named):
        train({"model": refused}, seeds=[1], **setting)


@pytest.mark.parametrize("named", ["batch_size", "learning_rate"])
def test_a_later_setting_of_a_sweep_is_checked_before_the_first_trains(named):
    settings = [{named: 1}, {named: -1}]
    with pytest.raises(ValueError, match=named):
        sweep({"model": refused}, settings=settings, seeds=[1], epochs=1)


@pytest.mark.parametrize("seeds", [[], [1, 2, 1], [-1], [0.5], [2**32]])
def test_seeds_must_be_there_whole_and_different(seeds):
    with pytest.raises(ValueError, match="seeds"):
        train({"model": refused}, seeds=seeds, epochs=1)


def test_no_builder_is_refused():
    with pytest.raises(ValueError, match="builder"):
        train({}, seeds=[1], epochs=1)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused(part, value):
    good = getattr(TINY, part)
    images = good.images.copy()
    images[3, 2, 1] = value
    broken = replace(TINY, **{part: Split(images, good.labels)})
    with pytest.raises(ValueError, match=f"{part} images hold NaN"):
        train({"model": refused}, dataset=broken, seeds=[1], epochs=1)


def test_an_empty_grid_and_a_duplicate_setting_are_refused():
    with pytest.raises(ValueError, match="grid is empty"):
        sweep({"model": refused}, settings=[], seeds=[1], epochs=1)
    twice = [{"batch_size": 8}, {"batch_size": 16}, {"batch_size": 8}]
    with pytest.raises(ValueError, match="setting stands twice"):
        sweep({"model": refused}, settings=twice, seeds=[1], epochs=1)


def test_a_misspelt_setting_is_named():
    with pytest.raises(ValueError, match="unknown setting batchsize"):
        sweep({"model": refused}, settings=[{"batchsize": 8}], seeds=[1], epochs=1)


# --- sweeps --------------------------------------------------------------------------


def test_a_sweep_equals_separate_trainings_row_for_row():
    grid = [
        {"batch_size": 35, "learning_rate": 0.01},
        {"batch_size": 7, "learning_rate": 0.1},
    ]
    common = {"seeds": [2, 1], "updates": 12, "optimizer": "sgd"}
    arms = ONE | {"batch": softmax_regression(keras.layers.BatchNormalization)}
    swept = sweep(arms, settings=grid, **common)
    assert list(swept.columns[:4]) == ["batch_size", "learning_rate", "model", "seed"]
    separate = pd.concat(
        train(arms, **common | setting).assign(**setting) for setting in grid
    )
    assert len(swept) == len(separate)
    for setting in grid:
        chosen = [
            frame[(frame[list(setting)] == pd.Series(setting)).all(axis=1)]
            for frame in (swept, separate)
        ]
        same(chosen[0], chosen[1][swept.columns])


def test_a_grid_of_learning_rates_compiles_once(made):
    rates = [0.001, 0.01, 0.1]
    frame = sweep(
        ONE,
        settings=[{"learning_rate": rate} for rate in rates],
        **{"seeds": [1, 2], "epochs": 1, "batch_size": BATCH},
    )
    assert len(made) == 2  # one a worker
    for program in made:
        assert program.loop.experimental_get_tracing_count() == 1
        # Once for full batches, once for the last of an epoch.
        assert program.compiled == {(70, 4, BATCH), (70, 1, 6)}
    assert frame["train_loss"].nunique() == 6


def curved(peak):
    """Make a stand-in for `sweep`: validation accuracy peaks at each model's rate."""

    def sweep(builders, dataset, settings, *, seeds, **common):
        rows = [
            (setting["learning_rate"], name, seed, common["updates"])
            for setting in settings
            for name, seed in [(name, seed) for name in builders for seed in seeds]
        ]
        columns = ["learning_rate", "model", "seed", "updates"]
        frame = pd.DataFrame(rows, columns=columns)
        far = np.log(frame["learning_rate"] / frame["model"].map(peak)).abs()
        return frame.assign(validation_accuracy=1 - far / 100, diverged=False)

    return sweep


def test_a_grid_of_rates_grows_at_the_end_where_the_best_lies(monkeypatch):
    peak = {"low": 0.02, "inside": 0.3, "high": 5.0}
    monkeypatch.setattr(training, "sweep", curved(peak))
    frame = training.sweep_rates(
        dict.fromkeys(peak, refused),
        TINY,
        [0.1, 0.3, 1.0],
        step=3,
        seeds=iter([1, 2]),
        updates=4,
    )
    rates = frame.groupby("model")["learning_rate"].unique().map(sorted)
    assert rates["inside"] == [0.1, 0.3, 1.0]
    assert rates["low"] == pytest.approx([0.1 / 9, 0.1 / 3, 0.1, 0.3, 1.0])
    assert rates["high"] == pytest.approx([0.1, 0.3, 1.0, 3.0, 9.0])
    assert set(frame["seed"]) == {1, 2}


def test_a_grid_of_rates_that_grows_trains_as_a_sweep_does():
    common = {"seeds": [1, 2], "updates": 6, "batch_size": 35, "optimizer": "sgd"}
    rates, grows = [0.001, 0.01], {"step": 10, "by": "validation_loss"}
    frame = training.sweep_rates(ONE, TINY, rates, **grows, **common)
    tried = frame["learning_rate"].unique()
    assert list(tried[:2]) == rates
    assert len(tried) > 2
    swept = sweep(ONE, settings=[{"learning_rate": rate} for rate in tried], **common)
    same(frame, swept)


def test_a_grid_of_rates_without_a_best_one_ends(monkeypatch):
    monkeypatch.setattr(training, "sweep", curved({"m": 1e9}))
    with pytest.raises(ValueError, match="best rate of m, .* still an end of its grid"):
        training.sweep_rates(
            {"m": refused}, TINY, [0.1, 1.0], step=2, seeds=[1], updates=4
        )


@pytest.mark.parametrize(("rates", "step"), [([0.1], 3), (0.1, 3), ([0.1, 0.3], 1)])
def test_a_grid_of_rates_that_cannot_grow_is_refused(rates, step):
    with pytest.raises(ValueError, match="needs two rates or more and a step above 1"):
        training.sweep_rates(
            {"m": refused}, TINY, rates, step=step, seeds=[1], epochs=1
        )


def test_a_grid_of_rates_takes_several_seeds_and_named_builders():
    with pytest.raises(ValueError, match="seeds must be different whole numbers"):
        training.sweep_rates(ONE, TINY, [0.1, 0.3], step=3, seeds=3)
    with pytest.raises(ValueError, match="builders must hold a name for each model"):
        training.sweep_rates([mlp()], TINY, [0.1, 0.3], step=3, seeds=[1])


def test_a_learning_rate_of_one_setting_does_not_leak_into_the_next():
    grid = [{"learning_rate": 0.5}, {"learning_rate": None}]
    common = {"seeds": [1], "epochs": 2, "batch_size": 35}
    swept = sweep(ONE, settings=grid, **common)
    same(swept.drop(columns="learning_rate").tail(2), train(ONE, **common))


def test_settings_may_differ_in_their_keys():
    # Equal epochs against equal updates, say.
    grid = [{"batch_size": 35, "epochs": 2}, {"batch_size": 35, "updates": 3}]
    frame = sweep(ONE, settings=grid, seeds=[1])
    assert list(frame.groupby("batch_size")["validation_loss"].count()) == [4]


# --- other promises ------------------------------------------------------------------


def test_the_users_optimizer_is_copied_and_never_changed():
    optimizer = keras.optimizers.Adam(0.01, beta_1=0.5)
    config = optimizer.get_config()
    common = {"seeds": [1], "epochs": 2, "batch_size": 35}
    frame = train(ONE, optimizer=optimizer, learning_rate=0.1, **common)
    assert optimizer.get_config() == config
    assert optimizer.iterations == 0
    assert not optimizer.built
    fresh = keras.optimizers.Adam(0.1, beta_1=0.5)
    same(frame, train(ONE, optimizer=fresh, **common))


def test_an_initializer_object_draws_anew_for_each_seed_and_layer():
    build = partial(
        models.mlp,
        (16, 16),
        kernel_initializer=keras.initializers.HeNormal(),
        input_shape=(4, 4),
        classes=4,
    )
    starts = Weights()
    still = {"updates": 1, "batch_size": 70, "learning_rate": 1e-30}
    train({"model": build}, seeds=[1, 2], at_end=starts, **still)
    kernels = [
        starts["model", seed][layer].tobytes() for seed in (1, 2) for layer in (0, 2)
    ]
    assert len(set(kernels)) == 4


@pytest.mark.parametrize("where", ["builder", "at_end"])
def test_an_interrupt_passes_through(where):
    def interrupt(*_):
        raise KeyboardInterrupt

    builder = interrupt if where == "builder" else softmax_regression()
    common = {"seeds": [1, 2], "epochs": 1, "batch_size": 70}
    with pytest.raises(KeyboardInterrupt):
        train({"model": builder}, at_end=interrupt, **common)


def all_weights(model):
    """Keep a model's weights as a column of the frame: a probe."""
    return {"weights": b"".join(v.numpy().tobytes() for v in model.variables)}


@pytest.mark.parametrize("workers", [2, 3, 9])
@pytest.mark.parametrize("names", [["plain"], ["plain", "batch"], ["drop", *BUILDERS]])
def test_side_by_side_trains_the_same_as_one_at_a_time(names, workers):
    builders = BUILDERS | {
        "drop": softmax_regression(partial(keras.layers.Dropout, 0.5))
    }
    builders = {name: builders[name] for name in names}
    common = {"seeds": [3, 1, 2], "epochs": 2, "measure_every": 2, "batch_size": 14}
    alone = train(builders, workers=1, probe=all_weights, **common)
    together = train(builders, workers=workers, probe=all_weights, **common)
    assert alone["weights"].nunique() == len(alone)
    same(together, alone)


def test_runs_side_by_side_overlap_in_time():
    barrier = Barrier(2, timeout=60)  # breaks unless two runs are on their way

    def meet(*which):
        barrier.wait()
        return training.epoch_order(*which)

    train(ONE, seeds=[1, 2], epochs=2, order=meet)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_one_run_stops_those_beside_it(workers):
    started = []

    def fail(seed, epoch, size):
        if seed == 1:
            raise KeyboardInterrupt
        started.append(seed)
        sleep(0.02)
        return training.epoch_order(seed, epoch, size)

    with pytest.raises(KeyboardInterrupt):
        train(ONE, seeds=[1, 2, 3], epochs=1000, workers=workers, order=fail)
    assert len(started) < 100


@pytest.mark.parametrize("workers", [0, -1, 1.5])
def test_workers_must_be_a_whole_number(workers):
    with pytest.raises(ValueError, match="workers"):
        train({"model": refused}, seeds=[1], epochs=1, workers=workers)


class Uncompilable(keras.layers.Layer):
    """Does nothing, by way of Python, where XLA cannot follow."""

    def call(self, images):
        nothing = tf.numpy_function(np.zeros_like, [images], tf.float32)
        return images + tf.stop_gradient(tf.ensure_shape(nothing, images.shape))


def test_without_xla_the_same_is_trained_with_a_plain_warning():
    common = {"seeds": [1], "epochs": 2, "batch_size": 35}
    with pytest.warns(UserWarning, match="XLA cannot compile") as caught:
        slow = train({"model": softmax_regression(Uncompilable)}, **common)
    # Python 3.13 has TensorFlow's own warnings on record as well.
    assert sum("XLA" in str(warning.message) for warning in caught) == 1
    fast = train(ONE, **common)
    columns = ["train_loss", "validation_loss", "test_loss"]
    np.testing.assert_allclose(slow[columns], fast[columns], rtol=1e-5)


def test_a_learning_rate_beside_a_schedule_is_refused_before_training():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    sgd = keras.optimizers.SGD(schedule)
    with pytest.raises(ValueError, match="schedule"):
        train({"m": refused}, seeds=[1], epochs=1, optimizer=sgd, learning_rate=0.1)


def test_seeds_may_be_numpys_whole_numbers():
    frame = train(ONE, seeds=np.arange(2), updates=1, batch_size=70)
    assert list(frame["seed"]) == [0, 1]


def test_a_model_without_an_input_layer_is_built_on_the_images():
    layers = lambda: [keras.layers.Flatten(), keras.layers.Dense(4)]  # noqa: E731
    common = {"seeds": [1], "updates": 1, "batch_size": 70}
    frame = train({"linear": lambda: keras.Sequential(layers())}, **common)
    same(frame, train(ONE, **common))


def test_a_builder_that_returns_one_model_twice_is_refused():
    model = softmax_regression()()
    with pytest.raises(ValueError, match="builder"):
        train({"model": lambda: model}, seeds=[1, 2], epochs=1, batch_size=70)


COMMON = {
    "dense": lambda: keras.layers.Dense(16),
    "batch": lambda: keras.layers.BatchNormalization(),
    "dropout": lambda: keras.layers.Dropout(0.5),
    "nested": lambda: keras.Sequential([keras.layers.Dense(16)]),
}


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_a_builder_that_puts_one_layer_into_two_models_is_refused(name, seeds):
    programs.clear()
    layer = COMMON[name]()
    layer.build((None, 16))
    before = [variable.numpy() for variable in layer.variables]
    build = softmax_regression(lambda: layer)
    with pytest.raises(ValueError, match=r"one layer, \w+, into two models.*new layer"):
        train({"model": build}, seeds=seeds, updates=1)
    np.testing.assert_equal([v.numpy() for v in layer.variables], before)


# --- decaying rates and probes -------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("updates", [3, 12])  # 12: three epochs, the last unfinished
def test_cosine_decay_is_that_of_keras(optimizer, updates):
    ours, theirs = Weights(), Weights()
    budget = {"seeds": [1], "updates": updates}
    common = {"learning_rate": 0.05, "optimizer": OPTIMIZERS[optimizer]()}
    train({"m": mlp("batch")}, cosine_decay=True, at_end=ours, **common, **budget)
    scheduled = OPTIMIZERS[optimizer]().get_config()
    scheduled["learning_rate"] = keras.optimizers.schedules.CosineDecay(0.05, updates)
    kind = type(OPTIMIZERS[optimizer]())
    train({"m": mlp("batch")}, optimizer=kind(**scheduled), at_end=theirs, **budget)
    assert_close(ours["m", 1], theirs["m", 1])


def test_a_grid_of_decaying_rates_compiles_once_and_equals_separate_trainings(made):
    common = {"seeds": [1, 2], "updates": 7, "cosine_decay": True}
    rates = [{"learning_rate": rate} for rate in (0.3, 0.01)]
    swept = sweep(ONE, settings=rates, batch_size=BATCH, **common)
    assert [p.loop.experimental_get_tracing_count() for p in made] == [1, 1]
    for setting in rates:
        alone = train(ONE, **setting, **common)
        chosen = swept[swept["learning_rate"] == setting["learning_rate"]]
        same(chosen.drop(columns="learning_rate"), alone)


def test_a_decayed_rate_does_not_stay_for_the_next_setting():
    grid = [{"cosine_decay": True}, {"cosine_decay": False}]
    common = {"seeds": [1], "epochs": 2, "batch_size": 35, "learning_rate": 0.1}
    swept = sweep(ONE, settings=grid, **common)
    last = swept[~swept["cosine_decay"]].drop(columns="cosine_decay")
    same(last, train(ONE, **common))


def test_cosine_decay_of_a_schedule_is_refused_before_training():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    sgd = keras.optimizers.SGD(schedule)
    with pytest.raises(ValueError, match="leave cosine_decay out"):
        train({"m": refused}, seeds=[1], epochs=1, optimizer=sgd, cosine_decay=True)


def test_what_a_probe_returns_becomes_columns_of_each_measurement():
    weights = Weights()

    def probe(model):
        kernel = model.trainable_variables[0].numpy()
        return {"size": np.abs(kernel).max(), "kernel": kernel}

    budget = {"seeds": [1, 2], "updates": 4, "measure_every": 2}
    frame = train({"a": mlp()}, probe=probe, at_end=weights, **budget)
    assert list(frame["updates"]) == [2, 4, 2, 4]
    assert frame["size"].nunique() == 4
    last = frame[frame["updates"] == 4].set_index("seed")
    for seed in (1, 2):
        np.testing.assert_array_equal(last["kernel"][seed], weights["a", seed][0])
    same(frame.drop(columns=["size", "kernel"]), train({"a": mlp()}, **budget))


def test_batches_are_cut_from_the_order_one_asks_for():
    # Reversed, the images of an epoch are those of a reversed dataset in file order.
    asked = []

    def backwards(seed, epoch, size):
        asked.append((seed, epoch, size))
        return np.arange(size, dtype=np.int32)[::-1].copy()

    def in_file_order(seed, epoch, size):
        return np.arange(size, dtype=np.int32)

    train_split = Split(TINY.train.images[::-1].copy(), TINY.train.labels[::-1].copy())
    reversed_tiny = replace(TINY, train=train_split)
    budget = {"seeds": [4], "epochs": 2}
    ours, theirs = Weights(), Weights()
    train(ONE, order=backwards, at_end=ours, **budget)
    train(ONE, order=in_file_order, at_end=theirs, dataset=reversed_tiny, **budget)
    for mine, other in zip(ours["linear", 4], theirs["linear", 4], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert asked == [(4, 1, 70), (4, 2, 70)]


# --- programs and starting weights kept from call to call ----------------------------

ARCHITECTURES = {
    "dense": mlp(),
    "batch": mlp("batch"),
    "dropout": softmax_regression(partial(keras.layers.Dropout, 0.5)),
    "regularized": REGULARIZED,
    "group": softmax_regression(partial(keras.layers.GroupNormalization, 4)),
    "convolution": CONVOLUTION,
}


@pytest.mark.parametrize(
    ("name", "decay"), [*((name, False) for name in ARCHITECTURES), ("batch", True)]
)
def test_a_program_that_is_used_again_trains_the_same(name, decay, made):
    common = {"seeds": [3, 1], "epochs": 2, "cosine_decay": decay, "batch_size": 35}
    arm = {name: ARCHITECTURES[name]}
    fresh = train(arm, **common)
    again = train(arm, **common)
    assert len(made) == 2  # one a worker, and none for the second call
    same(fresh, again)
    # Other batch sizes, seeds and data in between leave no trace.
    half = replace(TINY, train=Split(TINY.train.images[:35], TINY.train.labels[:35]))
    other = {"seeds": [9], "epochs": 1, "batch_size": 7, "dataset": half}
    train(arm, cosine_decay=decay, **other)
    same(fresh, train(arm, **common))
    assert len(made) == 2


def scaled(factor):
    """Builder whose kernels are drawn with another deviation."""
    initializer = keras.initializers.VarianceScaling(factor)
    return partial(
        models.mlp, (8,), kernel_initializer=initializer, input_shape=(4, 4), classes=4
    )


def test_other_initializers_share_a_program_but_no_weights(made):
    common = {"seeds": [1, 2], "updates": 3, "batch_size": 35}
    together = {factor: train({"m": scaled(factor)}, **common) for factor in (1.0, 9.0)}
    assert len(made) == 2
    for factor, frame in together.items():
        programs.clear()
        same(frame, train({"m": scaled(factor)}, **common))
    assert together[1.0]["train_loss"].iloc[0] != together[9.0]["train_loss"].iloc[0]


def test_equal_layers_that_draw_in_another_order_keep_their_own_weights():
    def first_of_two(build):
        def reordered():
            keras.initializers.GlorotUniform()  # draws a seed, and is not used
            return build()

        return reordered

    common = {"seeds": [1, 2], "updates": 3, "batch_size": 35}
    frames = [train({"m": b}, **common) for b in (mlp(), first_of_two(mlp()))]
    programs.clear()
    same(frames[1], train({"m": first_of_two(mlp())}, **common))
    assert frames[0]["train_loss"].iloc[0] != frames[1]["train_loss"].iloc[0]


class Shifted(keras.layers.Layer):
    """Adds a number that its configuration does not show."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = shift

    def call(self, images):
        return images + self.shift

    def get_config(self):
        return {}


def negative(x):
    return -x


def relu(x):  # a namesake of Keras' own
    return x


class Halved(keras.optimizers.SGD):
    """Takes half of a step; its configuration is that of SGD."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(0.5 * gradient, variable, learning_rate)


HIDDEN = {
    "layer": (softmax_regression(), softmax_regression(partial(Shifted, 3.0))),
    "hidden number": (
        softmax_regression(partial(Shifted, 0.0)),
        softmax_regression(partial(Shifted, 3.0)),
    ),
    "activation": (
        softmax_regression(activation="relu"),
        softmax_regression(activation=relu),
    ),
    "lambda": (
        softmax_regression(partial(keras.layers.Lambda, abs)),
        softmax_regression(partial(keras.layers.Lambda, negative)),
    ),
    "frozen variable": (softmax_regression(), None),
    "momentum": (
        softmax_regression(partial(keras.layers.BatchNormalization, momentum=0.5)),
        softmax_regression(partial(keras.layers.BatchNormalization, momentum=0.9)),
    ),
    "penalty": (REGULARIZED, softmax_regression()),
}


def frozen():
    model = softmax_regression()()
    model.layers[-1].kernel.trainable = False
    return model


class Raised(keras.Operation):
    """Adds a number that its configuration does not show; it is no layer."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def call(self, images):
        return images + self.number

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape, images.dtype)

    def get_config(self):
        return {}


def operated(operation):
    """Make a builder of a functional model with an operation before its Dense."""

    def build():
        inputs = keras.Input((4, 4))
        flat = operation(keras.layers.Flatten()(inputs))
        return keras.Model(inputs, keras.layers.Dense(4)(flat))

    return build


def adapted(scale):
    """Make a layer whose mean and variance are those of images so many times as big."""
    layer = keras.layers.Normalization()
    layer.adapt(scale * TINY.train.images.reshape(70, 16))
    return layer


HIDDEN |= {
    "operation": (operated(Raised(0.0)), operated(Raised(3.0))),
    "another operation": (operated(keras.ops.relu), operated(keras.ops.tanh)),
    "adapted": (
        softmax_regression(partial(adapted, 1.0)),
        softmax_regression(partial(adapted, 9.0)),
    ),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_networks_that_differ_never_share_a_program(what):
    first, second = HIDDEN[what]
    second = second or frozen
    common = {"seeds": [1], "epochs": 2, "batch_size": 35}
    train({"m": first}, **common)
    after = train({"m": second}, **common)
    programs.clear()
    same(after, train({"m": second}, **common))


@pytest.mark.parametrize(
    "other",
    [
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.optimizers.SGD(0.1, clipnorm=0.1),
        keras.optimizers.Adam(0.1),
        Halved(0.1),
    ],
    ids=["momentum", "clipped", "adam", "subclass"],
)
def test_optimizers_that_differ_never_share_a_program(other):
    common = {"seeds": [1], "epochs": 2, "batch_size": 35}
    plain = train(ONE, optimizer=keras.optimizers.SGD(0.1), **common)
    after = train(ONE, optimizer=other, **common)
    programs.clear()
    same(after, train(ONE, optimizer=other, **common))
    assert (after["train_loss"] != plain["train_loss"]).all()


def test_a_sweep_over_optimizers_equals_separate_trainings():
    optimizers = ["sgd", "adam", keras.optimizers.SGD(0.01, momentum=0.9)]
    common = {"seeds": [1], "epochs": 2, "learning_rate": 0.05, "batch_size": 35}
    swept = sweep(ONE, settings=[{"optimizer": o} for o in optimizers], **common)
    assert swept["train_loss"].nunique() == len(swept)
    for optimizer in optimizers:
        programs.clear()
        alone = train(ONE, optimizer=optimizer, **common)
        chosen = swept[swept["optimizer"] == optimizer]
        same(chosen.drop(columns="optimizer"), alone)


def test_models_handed_to_at_end_are_not_trained_by_later_calls():
    kept = {}
    one = {"seeds": [1], "epochs": 1}
    train(ONE, at_end=lambda name, seed, model: kept.update({seed: model}), **one)
    before = [variable.numpy() for variable in kept[1].variables]
    train(ONE, seeds=[1], epochs=3)
    np.testing.assert_equal([v.numpy() for v in kept[1].variables], before)


def test_a_study_within_a_study_takes_programs_of_its_own():
    common = {"seeds": [1, 2], "epochs": 2, "batch_size": 35}
    alone = train(ONE, **common)
    inner = []

    def probe(model):
        if not inner:
            inner.append(None)
            inner[0] = train(ONE, workers=1, **common)
        return {}

    outer = train(ONE, probe=probe, workers=1, **common)
    same(outer, alone)
    same(inner[0], alone)


def test_one_worker_lets_the_models_of_a_seed_take_turns(monkeypatch):
    turns, names = [], {}
    advance = programs.Program.advance

    def note(program, *stretch):
        turns.append(program)
        return advance(program, *stretch)

    arms = {"a": ONE["linear"], "b": ONE["linear"]}
    study = {"seeds": [1, 2], "epochs": 3, "batch_size": 35, "workers": 1}
    train(arms, **study)  # what is compiled now is not compiled while turns are noted
    monkeypatch.setattr(programs.Program, "advance", note)
    train(arms, at_end=lambda name, _, model: names.update({model: name}), **study)
    forwards, backwards = ["a", "b"], ["b", "a"]
    models = forwards + backwards + forwards
    assert [names[program.model] for program in turns] == 2 * models


def test_training_images_may_be_left_unscored():
    common = {"seeds": [1, 2], "epochs": 2, "batch_size": 35}
    scored = train(ONE, **common)
    unscored = train(ONE, score_training=False, **common)
    columns = ["train_loss", "train_accuracy"]
    assert unscored[columns].isna().all(axis=None)
    same(unscored.drop(columns=columns), scored.drop(columns=columns))


@pytest.mark.parametrize(
    "order",
    [
        np.full(70, 10**6, np.int32),
        np.arange(70) - 1,
        np.arange(140) % 70,
        np.arange(35),
        np.arange(70) / 1.0,
    ],
    ids=["beyond", "negative", "twice", "half", "floats"],
)
def test_an_order_of_other_than_the_images_is_refused(order):
    with pytest.raises(ValueError, match="order must return 70 whole numbers"):
        train(ONE, seeds=[1], epochs=1, order=lambda *_: order)


def test_an_order_may_be_a_list_of_numpys_own_whole_numbers():
    frames = [
        train(ONE, seeds=[1], epochs=1, order=lambda *_, kind=kind: kind(range(70)))
        for kind in (list, np.arange(70, dtype=np.int32).take)
    ]
    same(*frames)


def test_the_pace_is_measured_over_the_budget_given_and_alone():
    paces = training.pace(ONE, TINY, seeds=[1, 2], updates=4, batch_size=7)
    assert (paces["linear"] > 0).all()
    with pytest.raises(ValueError, match="batch_size"):
        training.pace(ONE, TINY, seeds=[1], batch_size=0)


def test_what_is_kept_is_bounded_and_cleared(monkeypatch):
    programs.clear()
    monkeypatch.setattr(programs, "KEPT", 2 * 4 * (16 * 4 + 4 * 4 + 8) + 100)
    for units in (4, 3, 4):
        build = partial(models.mlp, (units,), input_shape=(4, 4), classes=4)
        for seed in (1, 2):
            train({"m": build}, seeds=[seed], updates=1, workers=1, optimizer="sgd")
    assert 1 <= len(programs.idle_programs) <= 2
    assert 1 <= len(programs.starting_weights) <= 2
    monkeypatch.setattr(programs, "KEPT", 0)
    programs.forget_the_oldest()
    assert not programs.idle_programs
    assert not programs.starting_weights
    monkeypatch.setattr(programs, "KEPT", 1e6)
    train(ONE, seeds=[1], updates=1)
    assert programs.idle_programs
    assert programs.starting_weights
    programs.clear()
    assert not programs.idle_programs
    assert not programs.starting_weights


def test_all_images_are_scored_in_their_pieces(monkeypatch):
    whole = train(ONE, seeds=[1], epochs=1)
    monkeypatch.setattr(programs, "AT_A_TIME", 7)
    pieces = train(ONE, seeds=[1], epochs=1)
    metrics = [name for name in whole if name.endswith(("loss", "accuracy"))]
    np.testing.assert_allclose(pieces[metrics], whole[metrics], rtol=1e-6)
    model = mlp("batch")()
    images = TINY.test.images
    expected = model(images, training=False)
    np.testing.assert_allclose(training.predict(model, images), expected, atol=1e-6)
