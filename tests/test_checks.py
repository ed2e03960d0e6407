"""The checks one hands out: right work passes, and a mistake is named as what it is."""

import numpy as np
import pytest

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
