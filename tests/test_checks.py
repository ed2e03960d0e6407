"""The checks one hands out: right work passes, and a mistake is named as what it is."""

import keras
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tools import assignment, notebooks

SOURCE = notebooks.read(assignment.SOURCE)
ROOT, OUTSIDE = "np.sqrt(variance + epsilon)", "(np.sqrt(variance) + epsilon)"


def cell(kind: str, item: str) -> str:
    """Return the code of the cell with this tag and item."""
    [found] = [
        each.source
        for each in SOURCE.cells
        if kind in assignment.tags(each)[0]
        and assignment.tags(each)[1].get("id") == item
    ]
    return found


def said(check: str, names: dict) -> str:
    """Return what a check says of the work in some names."""
    try:
        exec(check, names)
    except AssertionError as error:
        return str(error)
    return ""


def changed(source: str, old: str, new: str) -> str:
    """Return a solution with a mistake in it."""
    assert old in source
    return source.replace(old, new)


# --- Q1.3 ----------------------------------------------------------------------------


def theory(item: str, old: str = "", new: str = "") -> str:
    """Return what the check of an item says of the author's solution, changed."""
    names: dict = {"np": np}
    for each in ("Q1.3-forward", "Q1.3-backward", "Q1.3-moving"):
        exec(cell("solution", each), names)
    exec(changed(cell("solution", item), old, new), names)
    names["forward_passed"] = True
    return said(cell("check", item), names)


@pytest.mark.parametrize("item", ["Q1.3-forward", "Q1.3-backward", "Q1.3-moving"])
def test_right_formulas_pass(item, capsys):
    assert theory(item) == ""
    assert "all right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return gamma", "gamma", "returns nothing yet"),
        ("return gamma * x_hat + beta", "return x_hat, mean", "returns a tuple"),
        ("return gamma * x_hat + beta", "return x_hat.mean(axis=0)", "y has shape"),
        ("mean = x.mean", "x -= x.mean(axis=0)\n    mean = x.mean", "leave x as it is"),
        (
            "(axis=0)\n",
            "(axis=1, keepdims=True)\n",
            "mean and variance down each column",
        ),
        (".mean(axis=0)\n    x_hat", ".sum(axis=0) / 2\n    x_hat", "divides by m − 1"),
        ("(x - mean) / np", "x / np", "the mean of each column must be 0"),
        ("+ epsilon", "+ 1e-3", "Do you use epsilon?"),
        (ROOT, "variance", "deviation must be 1"),
        ("+ beta", "", "must be its β"),
        ("gamma * x_hat", "x_hat", "γ is missing"),
        ("gamma * x_hat", "abs(gamma) * x_hat", "mind signs"),
        ("variance + epsilon", "variance", "ε = 0.5 changes nothing"),
        (ROOT, OUTSIDE, "ε is under the root"),
    ],
)
def test_a_slip_of_forward_is_named(old, new, message):
    assert message in theory("Q1.3-forward", old, new)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return dx, dgamma, dbeta", "", "returns nothing yet"),
        ("return dx, dgamma, dbeta", "return dx", "three gradients"),
        ("return dx, dgamma, dbeta", "return dgamma, dbeta, dx", "Mind the order"),
        ("return dx, dgamma, dbeta", "return dx, dbeta, dgamma", "are swapped"),
        (
            "(dy - dy.mean(axis=0) - x_hat * (dy * x_hat).mean(axis=0))",
            "dy",
            "as fixed",
        ),
        (" - x_hat * (dy * x_hat).mean(axis=0)", "", "dx is off by"),
        ("dbeta = dy.sum", "dbeta = dy.mean", "dbeta is off by"),
    ],
)
def test_a_slip_of_backward_is_named(old, new, message):
    assert message in theory("Q1.3-backward", old, new)


def test_backward_waits_for_forward():
    names = {"np": np, "forward_passed": False}
    says = said(cell("check", "Q1.3-backward"), names)
    assert says.startswith("First make forward pass")
    names["forward"] = lambda x, gamma, beta, epsilon: x
    assert said(cell("check", "Q1.3-forward"), names)
    assert names["forward_passed"] is False


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return momentum *", "momentum *", "update_moving returns nothing yet"),
        ("momentum * moving + (1 - momentum) *", "moving +", "(1.2, −1.4), not"),
        (
            "momentum * moving + (1 - momentum) * batch_statistic",
            "momentum * batch_statistic + (1 - momentum) * moving",
            "weighs the new value",
        ),
        ("* batch_statistic", "* batch_statistic.mean(axis=0)", "(1.2, −1.4), not"),
        ("return gamma", "gamma", "inference returns nothing yet"),
        ("gamma * (x - mean)", "(x - mean)", "γ is missing"),
        ("gamma * (x", "abs(gamma) * (x", "Other numbers"),
        ("+ beta", "", "must give β"),
        ("(x - mean)", "(x - x.mean(axis=0))", "depends on the other images"),
        (ROOT, "(variance + epsilon)", "take the root"),
        (ROOT, "variance", "and leave out ε"),
        ("variance + epsilon", "variance", "ε = 1 changes nothing"),
        (ROOT, OUTSIDE, "outside the root"),
        (f"/ {ROOT}", "", "You do not divide"),
    ],
)
def test_a_slip_of_inference_is_named(old, new, message):
    assert message in theory("Q1.3-moving", old, new)


# --- Q2.1 to Q2.4 --------------------------------------------------------------------


PUT_THROUGH = "images = {part: preprocess(pixels[part]) for part in parts}"


def images(old: str = "", new: str = "") -> str:
    """Return what the check of Q2.1 says of the author's solution, changed."""
    rng = np.random.default_rng(0)
    sizes = {"train": 8, "validation": 6, "test": 4}
    grey = {
        part: rng.integers(0, 200, (n, 28, 28), "uint8") for part, n in sizes.items()
    }
    names = {"np": np, "parts": tuple(sizes), "pixels": grey}
    exec(changed(cell("solution", "Q2.1"), old, new), names)
    return said(cell("check", "Q2.1"), names)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", ""),
        ("return pixels", "pixels", "preprocess returns nothing yet"),
        (" / 255", "", "255 becomes 255"),
        (" / 255", " / 256", "not 0, 0.2 and 1"),
        (" / 255", " / pixels.max()", "51 becomes another number"),
        ('.astype("float32") / 255', " / 255", "The values are float64"),
        (PUT_THROUGH, "images = ...", "images is no dictionary"),
        (PUT_THROUGH, 'images = {"train": pixels["train"]}', "images needs the keys"),
        (PUT_THROUGH, "images = pixels", "The train images did not go through"),
        (
            "(pixels[part])",
            "(pixels[part].reshape(-1, 784))",
            "have the shape (8, 784)",
        ),
        ("pixels[part]) for", "preprocess(pixels[part])) for", "or did twice"),
        (
            PUT_THROUGH,
            f'{PUT_THROUGH}\nimages["test"] = pixels["test"]',
            "The test images did not go",
        ),
    ],
)
def test_a_slip_of_preprocessing_is_named(old, new, message):
    says = images(old, new)
    assert message in says
    assert message or not says


def twins(old: str = "", new: str = "") -> str:
    """Return what the check of Q2.4 says of the author's solution, changed."""
    names = {"np": np, "keras": keras}
    exec(changed(cell("solution", "Q2.4"), old, new), names)
    return said(cell("check", "Q2.4"), names)


NORM = "layers.append(keras.layers.BatchNormalization())\n"
RELU = "layers.append(keras.layers.ReLU())\n"
LAST = "keras.layers.Dense(10)"
BUILT = f"return keras.Sequential([*layers, {LAST}])"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", ""),
        (RELU, 'layers.append(keras.layers.Activation("relu"))\n', ""),
        (BUILT, "", "build returns nothing yet"),
        (BUILT, f"net = {BUILT[7:]}\n    return keras.Model(net.inputs, net.outputs)",
         "Return a keras.Sequential"),
        ("keras.Input((28, 28)), ", "", "plain: begin with keras.Input"),
        (", keras.layers.Flatten()]", "]", "Flatten is missing"),
        ("(256, 128)", "(784, 256, 128)", "plain is flatten, dense 784, relu, dense"),
        (LAST, 'keras.layers.Dense(10, activation="softmax")', "return logits"),
        (LAST, f"{LAST}, keras.layers.Softmax()", "return logits"),
        (RELU, "pass\n", "plain is flatten, dense 256, dense 128"),
        (RELU, f"{RELU}        layers.append(keras.layers.Dropout(0.2))\n", "dropout"),
        ("Flatten()]", "Flatten(), keras.layers.Rescaling(1 / 255)]", "rescaling"),
        ("if normalized:", "if True:", "plain is flatten, dense 256, batchnorm"),
        ("use_bias=not normalized", "use_bias=True", "use_bias=False"),
        ("use_bias=not normalized", "use_bias=False", "mind its biases"),
        ("Normalization()", "Normalization(scale=False)", "not 236,298"),
        ("layers = [", "keras.utils.set_random_seed(int(normalized))\n    layers = [",
         "The twins start from different kernels"),
        ("layers = [", "keras.utils.set_random_seed(1)\n    layers = [", "set no seed"),
    ],
)  # fmt: skip
def test_a_slip_of_the_twins_is_named(old, new, message):
    says = twins(old, new)
    assert message in says
    assert message or not says


def test_batch_normalization_after_relu_is_named():
    norm = f"        if normalized:\n            {NORM}"
    source = changed(cell("solution", "Q2.4"), norm, "")
    source = changed(source, f"        {RELU}", f"        {RELU}{norm}")
    names = {"np": np, "keras": keras}
    exec(source, names)
    says = said(cell("check", "Q2.4"), names)
    assert "batch_norm is flatten, dense 256, relu, batchnormalization" in says


# --- train ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    """Images and labels by chance, the training images as many as in the notebook."""
    rng = np.random.default_rng(0)
    sizes = {"train": 8192, "validation": 100, "test": 200}
    return {
        "images": {k: rng.random((n, 28, 28), "float32") for k, n in sizes.items()},
        "labels": {k: rng.integers(0, 10, n) for k, n in sizes.items()},
    }


SEED = "    keras.utils.set_random_seed(seed)\n"
BUILD = "    model = build(normalized)\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", ""),
        ("return model, fitted.history", "", "train returns nothing yet"),
        ("return model, ", "return ", "two things"),
        ("model, fitted.history", "fitted, model", "first must be the network"),
        ("fitted.history", "fitted", "must be a dictionary, but is a History"),
        ("build(normalized)", "build(False)", "handed on to build"),
        ("epochs=epochs", "epochs=4", "asked were two epochs, not 4"),
        ("batch_size=batch_size", "batch_size=1024", "8 updates here, not 16"),
        ("SGD(0.02)", "SGD()", "SGD(0.01): asked is SGD(0.02)"),
        ("SGD(0.02)", "Adam(0.02)", "Adam(0.02): asked is"),
        ("(from_logits=True)", "()", "from_logits=True"),
        ('metrics=["accuracy"]', "metrics=[]", "['accuracy', 'val_accuracy']"),
        ("        validation_data", "        #", "['val_loss', 'val_accuracy']"),
        (
            '(images["validation"], labels["validation"])',
            '(images["test"], labels["test"])',
            "on validation images",
        ),
        (SEED + BUILD, BUILD + SEED, "set the seed before you build"),
        (SEED, "", "set the seed before you build"),
    ],
)
def test_a_slip_of_train_is_named(drawn, old, new, message):
    names = {"np": np, "keras": keras, **drawn}
    exec(cell("solution", "Q2.4"), names)
    exec(changed(cell("solution", "Q2.5-train"), old, new), names)
    says = said(cell("check", "Q2.5-train"), names)
    assert message in says
    assert message or not says


# --- the tables ----------------------------------------------------------------------

SHARES = {"plain": [0.8967, 0.8965, 0.8949], "batch_norm": [0.9312, 0.9311, 0.9293]}
RIGHT = {"seed": [0, 1, 2], **SHARES}


@pytest.mark.parametrize(
    ("table", "after", "message"),
    [
        (RIGHT, "", ""),
        (RIGHT, "runs = None", "compare returns no DataFrame"),
        ({**SHARES, "seed": [0, 1, 2]}, "", "asked are ['seed', 'plain'"),
        (RIGHT, "runs = runs[['seed', 'plain']]", "The columns are ['seed', 'plain'];"),
        (RIGHT | {"seed": [0, 1, 1]}, "", "A seed stands in the table twice"),
        (RIGHT, "runs = runs[:2]", "Three to five seeds are asked for, not 2"),
        (RIGHT, "runs = pd.concat([runs, runs + [3, 0, 0]])", "asked for, not 6"),
        (RIGHT | {"plain": [89.67, 89.65, 89.49]}, "", "not per cent"),
        (RIGHT | {"plain": [0.9, 0.9, 0.9]}, "", "Every seed gives the same"),
        (
            {"seed": [0, 1], "plain": [0.098, 0.1135], "batch_norm": [0.1, 0.1]},
            "runs.loc[2] = 2, 0.1, 0.11",
            "no better than guessing",
        ),
        (RIGHT | {"plain": SHARES["batch_norm"]}, "", "Both networks score the same"),
        (RIGHT, "interval = ...", "interval is missing"),
        (RIGHT, "interval = interval[::-1]", "is to be (low, high)"),
        (RIGHT, "interval = -interval[1], -interval[0]", "minus plain, +0.03"),
        (RIGHT, "verdict = 'yes'", "verdict must be one of"),
    ],
)  # fmt: skip
def test_a_slip_of_the_comparison_is_named(table, after, message):
    names = {"np": np, "pd": pd, "stats": stats, "runs": pd.DataFrame(table)}
    exec(cell("solution", "Q2.5-verdict"), names)
    exec(after, names)
    says = said(cell("check", "Q2.5"), names)
    assert message in says
    assert message or not says


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("", ""),
        ("sweep = None", "run_sweep returns no DataFrame"),
        (
            "sweep = sweep[sweep.columns[::-1]]",
            "The columns are ['accuracy', 'updates'",
        ),
        (
            "del sweep['epochs']",
            "asked are ['budget', 'batch_size', 'network', 'epochs'",
        ),
        ("sweep['budget'] = sweep['budget'].str[6:]", "asked are ['equal epochs', 'eq"),
        (
            "sweep.loc[sweep.batch_size == 64, 'batch_size'] = 32",
            "is one of [16, 32, 256]",
        ),
        (
            "sweep['network'] = sweep['network'].str.upper()",
            "asked are ['plain', 'batch",
        ),
        ("sweep = sweep[:11]", "Twelve rows are asked for, not 11"),
        ("sweep.loc[1] = sweep.loc[0]", "A setting stands in two rows"),
        ("sweep['accuracy'] *= 100", "not per cent"),
        ("sweep['epochs'] = 4; sweep.loc[0, 'epochs'] = 5", "Equal epochs are 4"),
        ("sweep['updates'] //= sweep['epochs']", "Equal updates are 512"),
        ("sweep['updates'] = 512", "a fourth the updates"),
    ],
)
def test_a_slip_of_the_sweep_is_named(after, message):
    trained = []

    def train(*run):
        trained.append(run)
        return None, {"val_accuracy": [0.5, 0.9]}

    names = {"pd": pd, "train": train}
    exec(cell("solution", "Q3.1"), names)
    exec(f"sweep = run_sweep()\n{after}", names)
    check, _, _ = cell("check", "Q3.1").partition("figure, axes")
    says = said(check, names)
    assert message in says
    assert message or not says
    assert len(trained) == len(set(trained)) == 10
