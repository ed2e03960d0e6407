"""The figure with sliders: what it shows before any script runs."""

import numpy as np

from helpers import explorable, normalization


def explored(gamma, beta, epsilon, size):
    x = POPULATION[:size]
    y, _ = normalization.forward(x[:, None], [gamma], [beta], epsilon=epsilon)
    return x, y[:, 0]


POPULATION = np.round(np.random.default_rng(1).gamma(2, 1.5, 256), 3)
OPENING = {"gamma": 2.0, "beta": -1.0, "epsilon": 1e-3, "size": 8}


def test_near_values_are_stacked_in_their_order():
    values = np.array([0.1, 0.2, 1.0, 0.0, 0.31, 1.1])
    assert explorable.levels(values).tolist() == [0, 1, 0, 2, 0, 1]


def test_it_shows_the_numbers_of_the_reference():
    page, first = explorable.page(POPULATION, explored, OPENING)
    x, y = explored(**OPENING)
    shown = [float(first[key]) for key in ("x_mean", "x_sd", "y_mean", "y_sd")]
    expected = [x.mean(), x.std(), y.mean(), y.std()]
    np.testing.assert_allclose(shown, expected, atol=0.005)
    assert first["count"] == 32
    assert first["x_dots"].count("M") == first["y_dots"].count("M") == 8
    assert all(str(number) in page for number in first.values())


def test_dots_stand_one_above_the_other():
    _, first = explorable.page(
        np.full(256, 1.0), lambda **_: (np.ones(1),) * 2, OPENING
    )
    assert first["x_dots"] == "M404.0 156h0"
    twice = explorable.page(np.full(256, 1.0), lambda **_: (np.ones(2),) * 2, OPENING)[
        1
    ]
    assert twice["x_dots"] == "M404.0 156h0M404.0 150h0"
