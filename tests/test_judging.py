"""The hidden checks: a mistake costs its price and is named; nothing earns nothing."""

import json

import keras
import numpy as np
import pandas as pd
import pytest

from assignment import asking, formulas, networks, tables
from assignment.exam import Exam, pixels
from helpers import claims


def over_the_wire(value):
    """Return a value as the judge gets it."""
    return asking.decode(json.loads(json.dumps(asking.encode(value))))


def asked(function, calls) -> list[dict]:
    """Return the answers of a function as the judge gets them."""
    found = []
    for arguments in calls:
        try:
            found.append({"value": over_the_wire(function(*arguments))})
        except Exception as error:
            found.append({"error": f"{type(error).__name__}: {error}"})
    return found


# --- what is said over the pipe ------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64", "float16"])
def test_arrays_come_back_as_they_were(dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    back = over_the_wire([values, {"a": values.T}])
    assert np.array_equal(back[0], values)
    assert np.array_equal(back[1]["a"], values.T)


@pytest.mark.parametrize(
    "said",
    [
        {"array": "object", "shape": [1], "bytes": "gASVBQAAAAAAAABLAS4="},
        {"array": "float64", "shape": [2**40], "bytes": ""},
        {"array": "float64", "shape": [-1], "bytes": ""},
        [1] * 10_001,
        {"array": "float64", "shape": [3], "bytes": "AAAA"},
        {"pickle": "gASVBQAAAAAAAABLAS4="},
        [[[[[[[[[[1]]]]]]]]]],
    ],
)
def test_what_is_no_answer_is_refused(said):
    with pytest.raises(ValueError):
        asking.decode(said)


def test_a_column_that_was_not_asked_for_does_no_harm():
    frame = pd.DataFrame({"seed": [0, 1], "plain": [0.5, 0.6]}).assign(
        when=pd.Timestamp(0), model=[object(), object()]
    )
    assert over_the_wire(frame)["plain"] == [0.5, 0.6]
    assert over_the_wire(frame.set_index("seed"))["seed"] == [0, 1]
    assert "model" not in over_the_wire(frame)


def test_words_and_intervals_may_come_from_numpy_and_pandas():
    assert over_the_wire(np.where(True, "supported", "undecided")) == "supported"
    assert over_the_wire(pd.Series([0.1, 0.2], index=["low", "high"])) == [0.1, 0.2]
    assert over_the_wire({"low": 0.1, "high": 0.2}.values()) == [0.1, 0.2]
    frame = pd.DataFrame({"seed": [0, 1]})
    assert over_the_wire(frame.set_index("seed", drop=False))["seed"] == [0, 1]


def test_what_cannot_be_written_is_an_error():
    with pytest.raises(TypeError, match="neither array, table nor number"):
        asking.encode(object())


# --- Q1.3 ----------------------------------------------------------------------------


def forward(x, gamma, beta, epsilon=1e-3, *, axis=0, ddof=0, inside=True):
    mean = x.mean(axis, keepdims=True)
    variance = x.var(axis, ddof=ddof, keepdims=True)
    std = np.sqrt(variance + epsilon) if inside else np.sqrt(variance) + epsilon
    return gamma * (x - mean) / std + beta


def backward(dy, x, gamma, epsilon=1e-3, *, ddof=0, mean=True, variance=True):
    m = len(x)
    centered = x - x.mean(0)
    std = np.sqrt(x.var(0, ddof=ddof) + epsilon)
    x_hat = centered / std
    dx = dy.copy()
    if mean:
        dx = dx - dy.mean(0)
    if variance:
        dx = dx - x_hat * (dy * x_hat).sum(0) / (m - ddof)
    return gamma / std * dx, (dy * x_hat).sum(0), dy.sum(0)


def update_moving(moving, batch, momentum):
    return momentum * moving + (1 - momentum) * batch


def inference(x, gamma, beta, mean, variance, epsilon):
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


RIGHT = {
    "Q1.3-forward": forward,
    "Q1.3-backward": backward,
    "Q1.3-moving": update_moving,
    "Q1.3-inference": inference,
}
FULL = {"Q1.3-forward": 6, "Q1.3-backward": 6, "Q1.3-moving": 2, "Q1.3-inference": 2}


def theory(**changed) -> dict:
    """Return the marks of Q1.3 with some functions replaced."""
    calls = formulas.calls(np.random.default_rng())
    functions = RIGHT | {f"Q1.3-{name}": f for name, f in changed.items()}
    answers = {
        name: asked(function, calls[name]) for name, function in functions.items()
    }
    return formulas.judge(calls, answers)


def test_right_functions_get_full_marks():
    marks = theory()
    assert {name: mark.points for name, mark in marks.items()} == FULL
    assert {mark.message for mark in marks.values()} == {""}


def test_the_gradient_of_the_judge_is_the_numeric_one():
    calls = formulas.calls(np.random.default_rng(3))["Q1.3-backward"]
    for dy, x, gamma, epsilon in calls:
        numeric = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[index] = 1e-5
            up, down = (
                formulas.forward(moved, gamma, 0 * gamma, epsilon)
                for moved in (x + step, x - step)
            )
            numeric[index] = np.sum(dy * (up - down)) / 2e-5
        assert np.allclose(formulas.dx(dy, x, gamma, epsilon), numeric, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "function", "points", "message"),
    [
        ("forward", lambda *a: forward(*a, ddof=1), 4, "divides by m − 1"),
        ("forward", lambda *a: forward(*a, axis=1), 4, "down each column"),
        ("forward", lambda *a: forward(*a, inside=False), 5, "under the root"),
        ("forward", lambda x, g, b, e: forward(x, 1, b, e), 5, "not multiplied by γ"),
        ("forward", lambda x, g, b, e: forward(x, g, 0, e), 5, "β is not added"),
        ("forward", lambda x, g, b, e: forward(x, abs(g), b, e), 0, "other numbers"),
        (
            "forward",
            lambda x, g, b, e: forward(x, g, 0 * b, e, ddof=1),
            3,
            "divides by m − 1: divide by m, the number of rows; β is not added",
        ),
        ("forward", lambda x, g, b, e: None, 0, "returns nothing"),
        ("forward", lambda x, g, b, e: x, 0, "other numbers than the formula"),
        ("forward", lambda x, g, b, e: 0 * x, 0, "other numbers than the formula"),
        ("forward", lambda x, g, b, e: g * 0 + b, 0, "returns shape (4,)"),
        ("forward", lambda x, g, b, e: x @ x, 0, "stopped with ValueError"),
        ("forward", lambda x, g, b, e: "y", 0, "does not return an array"),
        ("forward", lambda x, g, b, e: np.nan * x, 0, "other numbers"),
        (
            "backward",
            lambda *a: backward(*a, mean=False, variance=False),
            2,
            "treats the mean as a constant",
        ),
        ("backward", lambda *a: backward(*a, mean=False), 4, "the mean as a constant"),
        (
            "backward",
            lambda *a: backward(*a, variance=False),
            4,
            "the variance as a constant",
        ),
        ("backward", lambda *a: backward(*a, ddof=1), 4, "divides by m − 1"),
        ("backward", lambda *a: backward(*a)[0], 0, "three gradients"),
        ("backward", lambda dy, x, g, e: (dy, g, g), 0, "dx returns other numbers"),
        ("backward", lambda dy, x, g, e: None, 0, "returns nothing"),
        ("backward", lambda dy, x, g, e: backward(dy, x, abs(g), e), 2, "dx returns"),
        (
            "moving",
            lambda old, new, momentum: update_moving(old, new, 1 - momentum),
            1,
            "weighs the new value",
        ),
        ("moving", lambda old, new, momentum: old, 0, "other numbers"),
        (
            "inference",
            lambda x, g, b, mean, variance, e: forward(x, g, b, e),
            0,
            "the batch's own statistics",
        ),
        (
            "inference",
            lambda x, g, b, mean, v, e: inference(x, g, b, mean, (v + e) ** 2 - e, e),
            1,
            "take its root",
        ),
        ("inference", lambda x, g, *rest: inference(x, abs(g), *rest), 0, "other num"),
    ],
)
def test_a_mistake_costs_its_price_and_is_named(name, function, points, message):
    marks = theory(**{name: function})
    mark = marks.pop(f"Q1.3-{name}")
    assert mark.points == points
    assert message in mark.message
    for other, rest in marks.items():  # nobody pays for another's mistake
        assert rest.points == FULL[other]


def test_a_backward_pass_that_agrees_with_the_forward_pass_pays_no_second_time():
    marks = theory(
        forward=lambda *a: forward(*a, ddof=1), backward=lambda *a: backward(*a, ddof=1)
    )
    assert marks["Q1.3-forward"].points == 4
    assert marks["Q1.3-backward"].points == 6


def test_the_closed_form_of_another_forward_pass_is_named_and_costs_little():
    def closed(dy, x, gamma, epsilon):
        std = np.sqrt(x.var(0, ddof=1) + epsilon)
        x_hat = (x - x.mean(0)) / std
        part = dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)
        return gamma / std * part, (dy * x_hat).sum(0), dy.sum(0)

    marks = theory(forward=lambda *a: forward(*a, ddof=1), backward=closed)
    assert marks["Q1.3-forward"].points == 4
    assert marks["Q1.3-backward"].points == 5
    assert "is the closed form" in marks["Q1.3-backward"].message


def test_no_answers_earn_nothing():
    marks = formulas.judge(formulas.calls(np.random.default_rng()), {})
    assert sum(mark.points for mark in marks.values()) == 0
    assert "not defined" in marks["Q1.3-forward"].message


def test_float32_is_good_enough():
    marks = theory(forward=lambda *a: forward(*a).astype("float32"))
    assert marks["Q1.3-forward"].points == 6


# --- Q2.1 ----------------------------------------------------------------------------


def prepared(preprocess, test=None):
    """Return the mark of Q2.1, where the test images may go another way."""
    grey = pixels("mnist")
    calls = networks.image_calls(np.random.default_rng(), grey)
    images = {part: preprocess(networks.sample(grey[part])) for part in networks.PARTS}
    if test is not None:
        images["test"] = test(networks.sample(grey["test"]))
    answers = asked(lambda: images, [[]])
    return networks.judge_images(calls, asked(preprocess, calls), answers)


def scaled(grey):
    return (grey / 255).astype("float32")


@pytest.mark.parametrize(
    ("preprocess", "test", "points", "message"),
    [
        (scaled, None, 6, ""),
        (
            scaled,
            lambda grey: grey.astype("float32"),
            4,
            "test images run from 0 to 255",
        ),
        (scaled, lambda grey: scaled(scaled(grey)), 4, "test images run from 0 to"),
        (lambda grey: grey / 255, None, 5, "float64, not float32"),
        (lambda grey: grey, None, 0, "unscaled"),
        (
            lambda grey: grey / np.float32(127.5) - 1,
            None,
            3,
            "become -1 to 1, not 0 to 1",
        ),
        (
            lambda grey: grey / grey.max((1, 2), keepdims=True).astype("float32"),
            None,
            3,
            "become 0 to 1",
        ),
        (lambda grey: scaled(grey).reshape(-1, 784), None, 3, "returns shape (3, 784)"),
    ],
)
def test_images(preprocess, test, points, message):
    mark = prepared(preprocess, test)
    assert (mark.points, mark.of) == (points, 6)
    assert message in mark.message
    assert message or not mark.message


def test_no_images_earn_nothing():
    calls = networks.image_calls(np.random.default_rng(), pixels("mnist"))
    nothing = asked(lambda x: None, calls)
    mark = networks.judge_images(calls, nothing, asked(lambda: None, [[]]))
    assert mark.points == 0


# --- Q2.4 ----------------------------------------------------------------------------


def build(
    normalized,
    *,
    bias=False,
    after=False,
    end=None,
    fixed=None,
    widths=(256, 128),
    scale=True,
    slope=0.0,
):
    if fixed is not None:
        keras.utils.set_random_seed(fixed)
    made = [keras.Input((28, 28)), keras.layers.Flatten()]
    for width in widths:
        made.append(keras.layers.Dense(width, use_bias=bias or not normalized))
        norm = keras.layers.BatchNormalization(scale=scale)
        between, relu = [norm] * normalized, [keras.layers.ReLU(negative_slope=slope)]
        made += relu + between if after else between + relu
    made.append(keras.layers.Dense(10, activation=end))
    return keras.Sequential(made)


def frozen(network):
    for layer in network.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return network


def with_dropout(network):
    return keras.Sequential([*network.layers[:-1], keras.layers.Dropout(0.3),
                             network.layers[-1]])  # fmt: skip


def twins(build_):
    """Return the mark of Q2.4."""
    seeded = asking.seeded(build_)
    return networks.judge_networks(asked(seeded, networks.network_calls()))


@pytest.mark.parametrize(
    ("build_", "points", "message"),
    [
        (build, 12, ""),
        (lambda n: build(n, bias=True), 11, "236,682 parameters instead of 236,298"),
        (lambda n: build(n, end="softmax"), 10, "ends in softmax: return logits"),
        (lambda n: build(n, after=True), 9, "does not stand right before each ReLU"),
        (lambda n: build(n, fixed=1), 9, "the same kernels after every seed"),
        (lambda n: build(n, widths=(128, 64)), 9, "asked is 784-dense256"),
        (lambda n: build(n, widths=(128, 256)), 9, "not 784-dense128-relu-dense256"),
        (lambda n: frozen(build(n)), 9, "a layer is frozen"),
        (lambda n: with_dropout(build(n)) if n else build(n), 9, "has dropout"),
        (lambda n: build(n, scale=False), 9, "lacks γ or β"),
        (lambda n: build(n, slope=0.1), 6, "another relu"),
        (lambda n: build(False), 8, "has 0 batch normalizations"),
        (lambda n: None, 0, "returns nothing"),
        (lambda n: 3, 0, "does not return a Keras network"),
        (lambda n: keras.Sequential([keras.Input((28, 28))]), 0, "does not return a"),
        (
            lambda n: build(n, bias=True, end="softmax"),
            9,
            "return logits, the loss has the softmax; a bias is left",
        ),
    ],
)
def test_networks(build_, points, message):
    mark = twins(build_)
    assert (mark.points, mark.of) == (points, 12)
    assert message in mark.message
    assert message or not mark.message


def test_other_ways_to_write_the_same_network_are_right():
    def functional(normalized):
        inputs = keras.Input((28, 28))
        x = keras.layers.Reshape((784,))(inputs)
        for width in (256, 128):
            if normalized:
                x = keras.layers.Dense(width, use_bias=False)(x)
                x = keras.layers.BatchNormalization()(x)
                x = keras.layers.Activation("relu")(x)
            else:
                x = keras.layers.Dense(width, activation="relu")(x)
        return keras.Model(inputs, keras.layers.Dense(10)(x))

    def without_input(normalized):
        return keras.Sequential(build(normalized).layers)

    def with_layers_as_activations(normalized):
        layers = [keras.Input((28, 28)), keras.layers.Flatten()]
        for width in (256, 128):
            relu = keras.layers.ReLU()
            layers.append(
                keras.layers.Dense(
                    width,
                    use_bias=not normalized,
                    activation=None if normalized else relu,
                )
            )
            if normalized:
                layers += [keras.layers.BatchNormalization(), relu]
        return keras.Sequential([*layers, keras.layers.Dense(10)])

    for write in (functional, without_input, with_layers_as_activations):
        mark = twins(write)
        assert mark.points == 12, mark.message


@pytest.mark.parametrize("normalized", [False, True])
def test_the_judge_scores_weights_as_keras_does(normalized):
    rng = np.random.default_rng(0)
    images, labels = rng.random((200, 28, 28), "float32"), rng.integers(0, 10, 200)
    keras.utils.set_random_seed(5)
    model = build(normalized)
    model(images, training=True)  # moves the moving statistics
    expected = (np.array(model(images)).argmax(1) == labels).mean()
    assert networks.accuracy(over_the_wire(model), images, labels) == expected


# --- Q2.5 ----------------------------------------------------------------------------

GUESSED = [0.098, 0.1135, 0.1028]  # each with one digit for all images
PLAIN, NORMALIZED = [0.8967, 0.8965, 0.8949], [0.9312, 0.9311, 0.9293]


def compared(
    plain=PLAIN, normalized=NORMALIZED, ends=None, word="supported", again=None
):
    """Return the mark of Q2.5; the interval is the right one unless given."""
    ends = tables.interval(plain, normalized) if ends is None else ends
    seeds = list(range(len(plain)))
    runs = {"seed": seeds, "plain": plain, "batch_norm": normalized}
    value = over_the_wire([runs, ends, word])
    again = {"plain": plain[0], "batch_norm": normalized[0]} if again is None else again
    return tables.judge_runs([{"value": value}], again, 0)


def test_the_interval_of_the_judge_is_that_of_the_claims():
    right = tables.interval(PLAIN, NORMALIZED)
    assert np.allclose(right, claims.t_interval(np.subtract(NORMALIZED, PLAIN)))


@pytest.mark.parametrize(
    ("changed", "points", "message"),
    [
        ({}, 12, ""),
        ({"plain": PLAIN * 2, "normalized": NORMALIZED * 2}, 12, ""),  # six seeds
        ({"word": "no effect"}, 9, "points, says “supported”, not “no effect”"),
        ({"word": None}, 9, "verdict is missing"),
        ({"ends": ..., "word": None}, 6, "interval is missing; verdict is missing"),
        ({"ends": np.round(tables.interval(PLAIN, NORMALIZED), 4)}, 12, ""),
        ({"ends": [0.0, 1.0]}, 9, "not the 95 % t interval"),
        ({"ends": [-1.0, 1.0], "word": "undecided"}, 6, "not the 95 % t interval"),
        ({"ends": [0.5, 0.2]}, 9, "not the 95 % t interval"),
        (
            {"ends": tables.interval(PLAIN, NORMALIZED, {"one-sided"})},
            11,
            "has one side",
        ),
        (
            {"ends": tables.interval(PLAIN, NORMALIZED, {"freedom"})},
            11,
            "n degrees of freedom",
        ),
        (
            {"ends": None, "plain": PLAIN[:2], "normalized": NORMALIZED[:2]},
            10,
            "2 seeds",
        ),
        (
            {"ends": tables.interval(PLAIN, NORMALIZED, {"normal"})},
            11,
            "need the t quantile",
        ),
        ({"ends": tables.interval(PLAIN, NORMALIZED, {"no root"})}, 10, "by √n seeds"),
        (
            {
                "ends": tables.interval(PLAIN, NORMALIZED, {"sign"}),
                "word": "contradicted",
            },
            11,
            "the other way",
        ),
        ({"again": {"plain": 0.85, "batch_norm": 0.9312}}, 0, "your table says 0.8967"),
        ({"plain": GUESSED, "normalized": GUESSED[::-1]}, 0, "than guessing in seed 0"),
        ({"plain": GUESSED}, 12, ""),  # one network alone may diverge
        ({"again": {}}, 0, "could not be trained again"),
        (
            {"again": {"plain": "train stopped with OSError", "batch_norm": 0.9}},
            0,
            "OSE",
        ),
        ({"again": {"plain": np.nan, "batch_norm": 0.9312}}, 0, "your table says"),
        ({"again": {"plain": PLAIN[0], "batch_norm": np.nan}}, 0, "your table says"),
        (
            {"plain": [0.9, 0.9, 0.9], "normalized": [0.95, 0.95, 0.95]},
            10,
            "no shares of",
        ),
        (
            {"plain": [0.81234, 0.8, 0.83], "normalized": [0.9, 0.91, 0.92]},
            10,
            "no shares",
        ),
    ],
)
def test_tables(changed, points, message):
    mark = compared(**changed)
    assert (mark.points, mark.of) == (points, 12)
    assert message in mark.message
    assert message or not mark.message


def test_per_cent_cost_once():
    plain, normalized = ([100 * v for v in values] for values in (PLAIN, NORMALIZED))
    again = {"plain": PLAIN[0], "batch_norm": NORMALIZED[0]}
    mark = compared(plain, normalized, again=again)
    assert mark.points == 10
    assert "not per cent" in mark.message


def test_a_fabricated_table_within_two_points_shows_what_scores_do_not_prove():
    again = {"plain": PLAIN[0] + 0.019, "batch_norm": NORMALIZED[0] - 0.019}
    assert compared(again=again).points == 12


@pytest.mark.parametrize(
    "value",
    [
        None,
        [None, None, None],
        [{"seed": [0, 1, 2]}, [0, 1], "supported"],
        [{"seed": [0, 0, 0], "plain": PLAIN, "batch_norm": NORMALIZED}, [0, 1], "x"],
        [{"seed": [0, 1], "plain": PLAIN, "batch_norm": NORMALIZED}, [0, 1], "x"],
        [{"seed": ["a"] * 3, "plain": PLAIN, "batch_norm": NORMALIZED}, [0, 1], "x"],
        [
            {"seed": [0, 1, "nan"], "plain": PLAIN, "batch_norm": NORMALIZED},
            [0, 1],
            "x",
        ],
        [{"seed": [[0]] * 3, "plain": PLAIN, "batch_norm": NORMALIZED}, [0, 1], "x"],
    ],
)
def test_what_is_no_table_earns_nothing_and_breaks_nothing(value):
    mark = tables.judge_runs([{"value": value}], {}, None)
    assert mark.points == 0
    assert mark.message


@pytest.mark.parametrize("item", ["Q2.5", "Q3.1"])
def test_a_network_that_could_not_be_trained_again_costs_its_item_alone(item):
    """It was not even asked for, where the notebook was run again without it."""
    rows = tables.settings()
    columns = zip(*rows, strict=True)
    sweep = dict(zip(("budget", "batch_size", "network"), columns, strict=True))
    sweep["updates"] = [tables.updates(budget, size) for budget, size, _ in rows]
    sweep["accuracy"] = [0.8 + n / 5000 for n in range(len(rows))]
    runs = {"seed": [0, 1, 2], "plain": PLAIN, "batch_norm": NORMALIZED}
    exam = Exam(0)
    exam.hear("Q2.5", [{"value": over_the_wire([runs, [0, 1], "supported"])}])
    exam.hear("Q3.1", [{"value": over_the_wire(sweep)}])
    exam.hear(f"{item}-again", [{"error": "no end after 300 seconds"}])
    mark = exam.marks()[item]
    assert mark.points == 0
    assert "the table could not be trained again" in mark.message


# --- Q3.1 ----------------------------------------------------------------------------


def swept(change=lambda row: row, again=None):
    """Return the mark of Q3.1, with rows changed or left out (None)."""
    rng, rows = np.random.default_rng(1), []
    for budget, size, network in tables.settings():
        row = {"budget": budget, "batch_size": size, "network": network}
        row["updates"] = tables.updates(budget, size)
        row["accuracy"] = rng.integers(4000, 4800) / 5000
        rows.append(change(row))
    rows = [row for row in rows if row]
    table = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    setting = tables.settings()[4]
    found = [row["accuracy"] for row in rows if row["batch_size"] == setting[1]][:1]
    share = found[0] / (100 if found[0] > 1 else 1) if found else 0
    again = {setting[2]: share} if again is None else again
    answers = [{"value": over_the_wire(table)}]
    return tables.judge_sweep(answers, again, setting)


def test_updates_are_equal_or_follow_from_epochs():
    assert [tables.updates("epochs", size) for size in (16, 64, 256)] == [
        2048,
        512,
        128,
    ]
    assert {tables.updates("updates", size) for size in (16, 64, 256)} == {512}


@pytest.mark.parametrize(
    ("change", "points", "message"),
    [
        (lambda row: row, 10, ""),
        (lambda row: row | {"budget": f"equal {row['budget']}"}, 10, ""),
        (
            lambda row: row | {"updates": 512},
            7,
            "at equal epochs, batch 16 makes 2,048 updates, not 512",
        ),
        (lambda row: row | {"accuracy": 100 * row["accuracy"]}, 8, "not per cent"),
        (lambda row: row | {"accuracy": 0.098}, 0, "than guessing in the sweep (0.135"),
        (lambda row: row | {"accuracy": 9.8}, 0, "than guessing in the sweep (0.135"),
        (
            lambda row: (
                row | {"accuracy": row["batch_size"] / 5000}
                if row["network"] == "plain"
                else row
            ),
            10,
            "",
        ),
        (lambda row: row if row["batch_size"] != 256 else None, 0, "lacks 4 of its 12"),
        (lambda row: None, 0, "no column"),
    ],
)
def test_sweeps(change, points, message):
    mark = swept(change)
    assert (mark.points, mark.of) == (points, 10)
    assert message in mark.message
    assert message or not mark.message


@pytest.mark.parametrize(
    "value",
    [None, 3, [1], {"budget": 3}, {}, "x", [[None]] * 5, [[{}]] * 5, [["a"]] * 5],
)
def test_what_is_no_sweep_earns_nothing_and_breaks_nothing(value):
    if isinstance(value, list) and len(value) == 5:
        names = ("budget", "batch_size", "network", "updates", "accuracy")
        value = dict(zip(names, value, strict=True))
    mark = tables.judge_sweep([{"value": value}], {}, None)
    assert mark.points == 0
    assert mark.message


def test_a_sweep_that_is_not_the_codes_earns_nothing():
    mark = swept(again={"plain": 0.2})
    assert mark.points == 0
    assert "trained again gives plain 0.2000" in mark.message


def answers_in_the_statistics(layers):
    """One moving mean for each image: right answers without a network."""
    norm = next(one for one in layers if one["kind"] == "BatchNormalization")
    norm["weights"][2] = np.zeros((5, 256))


def no_number(layers):
    """An empty axis: the mean over it is NaN."""
    dense = next(one for one in layers if one["kind"] == "Dense")
    layers[:] = [dense | {"use_bias": False, "weights": [np.zeros((0, 784, 1))]}]


def answers_in_epsilon(layers):
    """One epsilon for each image."""
    norm = next(one for one in layers if one["kind"] == "BatchNormalization")
    norm["epsilon"] = np.ones((5, 256))


def many_layers(layers):
    layers += 20 * [one for one in layers if one["kind"] in ("Activation", "ReLU")]


@pytest.mark.parametrize(
    "change", [answers_in_the_statistics, answers_in_epsilon, no_number, many_layers]
)
def test_a_network_that_is_none_is_not_scored(change):
    network = over_the_wire(build(True))
    images, labels = np.zeros((5, 28, 28)), np.zeros(5, int)
    assert 0 <= networks.accuracy(network, images, labels) <= 1
    change(network["layers"])
    with pytest.raises((TypeError, ValueError)):
        networks.accuracy(network, images, labels)


UNTRAINED = "train returns a network that was not trained"


def trained_again(train, build_=build, normalized=True):
    """Return what is scored of a `train` that is asked for one network, or why not."""
    answers = asked(asking.trained(train, build_), [[normalized, 5]])
    return tables.again(answers, [tables.ARMS[normalized]], lambda _: 0.9)


def says_one_digit(normalized, seed):
    """Train nothing: the last layer names a digit, whatever the image is."""
    network = asking.seeded(build)(normalized, seed)
    network.layers[-1].set_weights([np.zeros((128, 10)), np.eye(10)[3] / 2])
    return network, {}


def fitted(normalized, seed):
    network = asking.seeded(build)(normalized, seed)
    network.compile("sgd", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    network.fit(rng.random((8, 28, 28)), rng.integers(0, 10, 8), verbose=0)
    return [network, {}]


@pytest.mark.parametrize("normalized", [False, True])
def test_a_network_with_the_kernels_it_was_built_with_was_not_trained(normalized):
    [arm] = [tables.ARMS[normalized]]
    assert trained_again(says_one_digit, normalized=normalized) == {arm: UNTRAINED}
    assert trained_again(fitted, normalized=normalized) == {arm: 0.9}


@pytest.mark.parametrize("build_", [None, lambda: 1, lambda n: object(), fitted])
def test_a_build_that_does_not_answer_costs_no_training(build_):
    assert trained_again(fitted, build_) == {"batch_norm": 0.9}


def test_a_network_that_was_not_trained_confirms_nothing():
    keras.utils.set_random_seed(0)
    network, images = build(True), np.random.default_rng(0).random((8, 28, 28))
    new = over_the_wire(network)
    network(images, training=True)
    used = over_the_wire(network)
    scored = tables.again([{"value": [new, None]}], ["batch_norm"], lambda _: 0.9)
    assert scored == {"batch_norm": UNTRAINED}
    scored = tables.again([{"value": [used, None]}], ["batch_norm"], lambda _: 0.9)
    assert scored == {"batch_norm": 0.9}
    assert networks.untouched(new)
    assert not networks.untouched(used)
    bare = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, use_bias=False)])
    assert not networks.untouched(over_the_wire(bare))  # nothing can be seen


def test_a_train_that_ignores_which_network_is_asked_for_is_named():
    network = build(True)
    network(np.random.default_rng(0).random((8, 28, 28)), training=True)
    answers = [{"value": over_the_wire([network, None])}] * 2
    scored = tables.again(answers, tables.ARMS, lambda _: 0.9)
    assert scored == {
        "plain": "train returns the other network for plain",
        "batch_norm": 0.9,
    }


# --- the whole -----------------------------------------------------------------------


def test_an_exam_without_answers_has_a_mark_of_zero_for_every_item():
    marks = Exam(1).marks()
    assert sum(mark.points for mark in marks.values()) == 0
    assert sum(mark.of for mark in marks.values()) == 56
    assert all(mark.message for mark in marks.values())


def test_unscaled_test_images_cost_once():
    """The table was made with them: it is compared with them."""
    exam, grey = Exam(1), pixels("mnist")
    images = {part: scaled(networks.sample(grey[part])) for part in networks.PARTS}
    images["test"] = networks.sample(grey["test"]).astype("float32")
    exam.hear("Q2.1-images", asked(lambda: images | {"name": "mnist"}, [[]]))
    keras.utils.set_random_seed(0)
    model = over_the_wire(build(True))
    split = exam._score(model, "test")
    from assignment.exam import dataset

    test = dataset("mnist").test
    assert split == networks.accuracy(model, 255 * test.images, test.labels)
    where = grey["validation"], exam.answers["Q2.1-images"]
    assert networks.scaling("validation", *where) == pytest.approx((1, 0), abs=1e-6)


def test_images_of_another_range_are_scored_in_it():
    grey = pixels("mnist")["test"]
    given = {"test": networks.sample(grey) / np.float32(127.5) - 1}
    answers = asked(lambda: given, [[]])
    slope, offset = networks.scaling("test", grey, answers)
    assert (slope, offset) == pytest.approx((2, -1), abs=1e-4)
    rows = {"test": 1 - scaled(networks.sample(grey)).reshape(-1, 784)}
    found = networks.scaling("test", grey, asked(lambda: rows, [[]]))
    assert found == pytest.approx((-1, 1), abs=1e-4)
    unlike = asked(lambda: {"test": np.sqrt(networks.sample(grey))}, [[]])
    assert networks.scaling("test", grey, unlike) == (1, 0)


def test_who_runs_again_is_asked_the_same():
    """Else a notebook could end its run until a seed comes that suits it."""
    runs = {"seed": list(range(100)), "plain": [0.5] * 100, "batch_norm": [0.6] * 100}
    drawn = []
    for heard in ((), ("Q2.1",)):
        exam = Exam(7)
        for question in heard:
            exam.calls(question)
        exam.hear("Q2.5", [{"value": over_the_wire([runs, [0, 1], "supported"])}])
        drawn.append((exam.calls("Q2.5-again"), exam.asked["Q1.3-forward"][0][0][0, 0]))
    assert drawn[0] == drawn[1]
    assert Exam(8).asked["Q1.3-forward"][0][0][0, 0] != drawn[0][1]
