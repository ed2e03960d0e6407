"""The NumPy layer against Keras, autodiff, differences, ONNX and its invariants."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import normalization
from helpers.normalization import (
    backward,
    batch_statistics,
    forward,
    inference,
    update_moving,
)

LAYOUTS = [
    pytest.param((4, 5), -1, id="dense"),
    pytest.param((6, 3, 4), 2, id="sequence"),
    pytest.param((3, 4, 2, 5), -1, id="channels-last"),
    pytest.param((3, 5, 4, 2), 1, id="channels-first"),
]
DTYPES = [np.float32, np.float64]


def example(shape=(4, 5), axis=-1, dtype=np.float64, seed=0):
    """A batch of mean 12 and deviation 5; scale and shift away from 0 and 1."""
    rng = np.random.default_rng(seed)
    features = shape[axis]
    return SimpleNamespace(
        x=(5 * rng.standard_normal(shape) + 12).astype(dtype),
        dy=rng.standard_normal(shape).astype(dtype),
        gamma=(rng.choice([-1, 1], features) * rng.uniform(2, 3, features)).astype(
            dtype
        ),
        beta=rng.uniform(-3, -2, features).astype(dtype),
        epsilon=1e-3,
        axis=axis,
    )


def options(case):
    return {"epsilon": case.epsilon, "axis": case.axis}


def run(case, backward=backward):
    """Forward and backward in one: y, dx, dgamma, dbeta."""
    y, cache = forward(case.x, case.gamma, case.beta, **options(case))
    return y, *backward(case.dy, cache)


def rows(x, axis):
    """One row of features per normalized value, in float64."""
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]).astype(np.float64)


def relative_error(a, b):
    """Largest |a - b| / (|a| + |b|), as CS231n checks gradients."""
    return (np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))).max()


def keras_layer(case):
    """Keras' layer with the same gamma, beta, epsilon and dtype."""
    layer = keras.layers.BatchNormalization(
        axis=case.axis, epsilon=case.epsilon, momentum=0.9, dtype=case.x.dtype.name
    )
    layer.build(case.x.shape)
    layer.gamma.assign(case.gamma)
    layer.beta.assign(case.beta)
    return layer


# --- by hand and against others ------------------------------------------------------


def test_two_values_by_hand():
    x = np.array([[1.0], [3.0]])  # mean 2, variance 1; with epsilon 3, sqrt(1 + 3) = 2
    assert batch_statistics(x) == (2, 1)
    y, cache = forward(x, [4.0], [1.0], epsilon=3)
    assert y.tolist() == [[-1], [3]]
    dx, dgamma, dbeta = backward(np.array([[1.0], [0.0]]), cache)
    assert (dx.tolist(), dgamma, dbeta) == ([[0.75], [-0.75]], -0.5, 1)
    assert inference(x, [4.0], [1.0], [1.0], [6.0], epsilon=3).tolist() == [
        [1.0],
        [1 + 8 / 3],
    ]
    assert update_moving(np.array([1.0]), np.array([2.0]), momentum=0.75) == 1.25


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_training_and_inference_equal_keras(shape, axis, dtype):
    tolerance = {np.float32: 1e-6, np.float64: 1e-14}[dtype]
    layer = keras_layer(example(shape, axis, dtype))
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    for seed in range(5):
        case = example(shape, axis, dtype, seed)
        case.gamma, case.beta = layer.gamma.numpy(), layer.beta.numpy()
        trained = layer(case.x, training=True).numpy()
        np.testing.assert_allclose(run(case)[0], trained, rtol=0, atol=50 * tolerance)
        new_mean, new_variance = batch_statistics(case.x, axis=axis)
        mean = update_moving(mean, new_mean, momentum=0.9)
        variance = update_moving(variance, new_variance, momentum=0.9)
        np.testing.assert_allclose(mean, layer.moving_mean, rtol=tolerance)
        np.testing.assert_allclose(variance, layer.moving_variance, rtol=tolerance)
        np.testing.assert_allclose(
            inference(case.x, case.gamma, case.beta, mean, variance, **options(case)),
            layer(case.x, training=False).numpy(),
            rtol=0,
            atol=50 * tolerance,
        )


def test_defaults_are_those_of_keras():
    case = example((6, 3, 4))
    case.x /= 100  # so that epsilon matters
    layer = keras.layers.BatchNormalization(dtype="float64")
    trained = layer(case.x, training=True).numpy()
    ones, zeros = np.ones(4), np.zeros(4)
    np.testing.assert_allclose(forward(case.x, ones, zeros)[0], trained)
    mean, variance = batch_statistics(case.x)
    moving = update_moving(zeros, mean), update_moving(ones, variance)
    np.testing.assert_allclose(moving[0], layer.moving_mean)
    np.testing.assert_allclose(moving[1], layer.moving_variance)
    layer.moving_variance.assign(variance)
    fixed = inference(case.x, ones, zeros, moving[0], variance)
    np.testing.assert_allclose(fixed, layer(case.x).numpy())


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_gradients_equal_those_of_gradient_tape(shape, axis):
    case = example(shape, axis)
    layer, x = keras_layer(case), tf.constant(case.x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(case.dy * layer(x, training=True))
    expected = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
    for ours, theirs in zip(run(case)[1:], expected, strict=True):
        assert relative_error(ours, theirs.numpy()) < 1e-8


@pytest.fixture(scope="module")
def onnx_cases():
    with warnings.catch_warnings():  # of other operators' cases
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases("BatchNormalization")
    return {case.name.removeprefix("test_batchnorm_"): case for case in cases}


@pytest.mark.parametrize(
    "name", ["example", "epsilon", "example_training_mode", "epsilon_training_mode"]
)
def test_onnx_cases(onnx_cases, name):
    case = onnx_cases[name]
    attributes = {a.name: a.f or a.i for a in case.model.graph.node[0].attribute}
    epsilon = attributes.pop("epsilon", 1e-5)
    momentum = attributes.pop("momentum", 0.9)
    training = attributes.pop("training_mode", 0)
    assert not attributes
    ((inputs, expected),) = case.data_sets
    x, gamma, beta, mean, variance = inputs
    if training:
        y, _ = forward(x, gamma, beta, epsilon=epsilon, axis=1)
        new_mean, new_variance = batch_statistics(x, axis=1)
        ours = (
            y,
            update_moving(mean, new_mean, momentum),
            update_moving(variance, new_variance, momentum),
        )
    else:
        ours = (inference(*inputs, epsilon=epsilon, axis=1),)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # ONNX asks for 1e-3


def test_all_onnx_cases_are_tried(onnx_cases):
    assert len(onnx_cases) == 4


# --- gradient checks, and what they must catch ---------------------------------------


def differences(loss, values, step=1e-2):
    """Gradient by five-point central differences, exact but for step**4."""
    gradient = np.empty_like(values)
    for index in np.ndindex(values.shape):

        def at(shift, index=index):
            moved = values.copy()
            moved[index] += shift * step
            return loss(moved)

        gradient[index] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
    return gradient


def closed_form(dy, cache):
    """Gradient of x, all three paths at once."""
    x, axis, gamma, _, std, x_hat = cache
    dy = rows(dy, axis)
    dx = gamma / std * (dy - dy.mean(axis=0) - x_hat * (dy * x_hat).mean(axis=0))
    moved = dx.reshape(np.moveaxis(x, axis, -1).shape)
    return np.moveaxis(moved, -1, axis), (dy * x_hat).sum(axis=0), dy.sum(axis=0)


def mutant(mean=1, variance=1):
    """Make a backward pass whose paths through mean and variance weigh that much."""

    def mutated(dy, cache):
        _, _, gamma, _, std, x_hat = cache
        dx = dy - mean * dy.mean(axis=0)
        dx = dx - variance * x_hat * (dy * x_hat).mean(axis=0)
        return gamma / std * dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)

    return mutated


def check_against_differences(backward):
    case = example()
    for name, ours in zip(("x", "gamma", "beta"), run(case, backward)[1:], strict=True):

        def loss(values, name=name):
            moved = SimpleNamespace(**{**vars(case), name: values})
            y, _ = forward(moved.x, moved.gamma, moved.beta, **options(case))
            return (case.dy * y).sum()

        expected = differences(loss, getattr(case, name))
        assert relative_error(ours, expected) < 1e-8, name


def check_sum_of_dx(backward):
    assert np.abs(run(example(), backward)[1].sum(axis=0)).max() < 1e-13


def check_sum_of_dx_times_x_hat(backward):
    case = example()
    case.epsilon = 1e-12
    dx = run(case, backward)[1]
    x_hat = (case.x - case.x.mean(axis=0)) / case.x.std(axis=0)
    assert np.abs((dx * x_hat).sum(axis=0)).max() < 1e-12


def check_constant_dy(backward):
    case = example()
    case.dy = np.ones_like(case.dy)
    assert np.abs(run(case, backward)[1]).max() < 1e-13


CHECKS = [
    check_against_differences,
    check_sum_of_dx,
    check_sum_of_dx_times_x_hat,
    check_constant_dy,
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("correct", [backward, closed_form, mutant()])
def test_backward_passes_the_check(check, correct):
    check(correct)


@pytest.mark.parametrize(
    ("wrong", "checks"),
    [
        pytest.param(mutant(mean=0, variance=0), CHECKS, id="statistics detached"),
        pytest.param(mutant(mean=0), [CHECKS[0], CHECKS[1], CHECKS[3]], id="no mean"),
        pytest.param(mutant(variance=0), [CHECKS[0], CHECKS[2]], id="no variance"),
        pytest.param(mutant(variance=4 / 3), [CHECKS[0], CHECKS[2]], id="m - 1"),
        pytest.param(mutant(variance=-1), [CHECKS[0], CHECKS[2]], id="sign"),
    ],
)
def test_a_wrong_backward_fails_the_check(wrong, checks):
    for check in checks:
        with pytest.raises(AssertionError):
            check(wrong)


# --- invariants ----------------------------------------------------------------------


@st.composite
def cases(draw):
    """Batches of rank 2 to 5, of any scale, with means up to 1e6 deviations."""
    shape = draw(st.lists(st.integers(1, 5), min_size=2, max_size=5).map(tuple))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    dtype = draw(st.sampled_from(DTYPES))
    scale = 10.0 ** draw(st.integers(-6, 6))
    mean = draw(st.sampled_from([0, 1, 1e3, 1e6 if dtype is np.float64 else -1e3]))
    case = example(shape, axis, dtype, seed=draw(st.integers(0, 2**32)))
    standard = (case.x.astype(np.float64) - 12) / 5
    case.x = (scale * (standard + mean)).astype(dtype)
    case.epsilon = scale**2 * 10.0 ** draw(st.integers(-12, 0))
    return case


def measures(case):
    """In float64: x_hat, the deviation and the rounding noise of x, in deviations."""
    x = rows(case.x, case.axis)
    std = np.sqrt(x.var(axis=0) + case.epsilon)
    noise = np.finfo(case.x.dtype).eps * np.abs(x).max(axis=0) / std
    return SimpleNamespace(x_hat=(x - x.mean(axis=0)) / std, std=std, noise=noise)


def close(case, a, b, size):
    """Whether arrays of rows agree, next to `size`, up to the rounding of floats."""
    known = measures(case)
    precision = np.finfo(case.x.dtype).eps + known.noise
    return (np.abs(a - b) <= 100 * precision * size).all()


def gradient_size(case):
    """Size of the terms that make up a gradient of x."""
    slope = np.abs(case.gamma) / measures(case).std
    return slope * np.abs(rows(case.dy, case.axis)).sum(axis=0)


@given(cases())
@settings(max_examples=100, deadline=None)
def test_mean_and_variance_of_the_output(case):
    y, *_ = run(case)
    y, known = rows(y, case.axis), measures(case)
    gain = 1 - case.epsilon / known.std**2
    gamma, beta = case.gamma.astype(np.float64), case.beta
    assert close(case, y.mean(axis=0), beta, 10)
    assert close(case, y.var(axis=0), gamma**2 * gain, 10 * len(y))


@given(cases())
@settings(max_examples=100, deadline=None)
def test_dtype_and_shape_are_kept_and_inputs_untouched(case):
    arrays = {n: v for n, v in vars(case).items() if isinstance(v, np.ndarray)}
    before = {name: values.copy() for name, values in arrays.items()}
    y, dx, dgamma, dbeta = run(case)
    mean, variance = batch_statistics(case.x, axis=case.axis)
    fixed = inference(case.x, case.gamma, case.beta, mean, variance, **options(case))
    moving = update_moving(np.zeros_like(mean), mean)
    assert y.shape == dx.shape == fixed.shape == case.x.shape
    for values in (dgamma, dbeta, mean, variance, moving):
        assert values.shape == case.gamma.shape
    for values in (y, dx, fixed, dgamma, dbeta, mean, variance, moving):
        assert values.dtype == case.x.dtype
        assert not any(np.shares_memory(values, array) for array in arrays.values())
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, before[name])


@given(cases())
@settings(max_examples=100, deadline=None)
def test_gradients_of_x_sum_to_zero(case):
    dx = rows(run(case)[1], case.axis)
    assert close(case, dx.sum(axis=0), 0, gradient_size(case))


@given(cases())
@settings(max_examples=100, deadline=None)
def test_gradients_of_x_are_orthogonal_to_x_hat_but_for_epsilon(case):
    # Exactly: the sum of dx * x_hat is gamma * dgamma / std * epsilon / std**2.
    _, dx, dgamma, _ = run(case)
    known = measures(case)
    total = (rows(dx, case.axis) * known.x_hat).sum(axis=0)
    left = case.gamma * dgamma / known.std * (case.epsilon / known.std**2)
    size = gradient_size(case) * (1 + np.abs(known.x_hat).max(axis=0)) ** 2
    assert close(case, total, left, size)


@given(cases())
@settings(max_examples=100, deadline=None)
def test_constant_gradients_do_not_reach_x(case):
    case.dy = np.full_like(case.dy, 3)
    dx = rows(run(case)[1], case.axis)
    assert close(case, dx, 0, gradient_size(case))


@given(cases())
@settings(max_examples=100, deadline=None)
def test_staged_is_closed_form(case):
    _, cache = forward(case.x, case.gamma, case.beta, **options(case))
    staged, closed = backward(case.dy, cache), closed_form(case.dy, cache)
    size = gradient_size(case) * (1 + np.abs(cache[-1]).max(axis=0)) ** 2
    a, b = (rows(dx, case.axis) for dx in (staged[0], closed[0]))
    assert close(case, a, b, size)
    for a, b in zip(staged[1:], closed[1:], strict=True):
        np.testing.assert_allclose(a, b.astype(a.dtype))


@given(cases(), st.integers(-6, 6), st.sampled_from([0, -1, 1e3]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_scale_and_shift_of_x_do_not_matter(case, power, shift, negative):
    # f(ax + b) = f(x) as epsilon -> 0; exactly, if epsilon grows with a**2.
    a = 10.0**power
    deviation = measures(case).std.max()
    other = SimpleNamespace(**vars(case))
    other.x = (a * case.x + a * shift * deviation).astype(case.x.dtype)
    other.epsilon = a**2 * case.epsilon
    if negative:  # turns x_hat round; so does a gamma of the other sign
        other.x, other.gamma = -other.x, -case.gamma
        a = -a
    (y, dx, _, dbeta), (y2, dx2, _, dbeta2) = run(case), run(other)
    x_hat = np.abs(measures(case).x_hat).max(axis=0)
    for_dx = gradient_size(case) * (1 + x_hat) ** 2
    precision = measures(case).noise + measures(other).noise
    precision += np.finfo(case.x.dtype).eps
    gap = np.abs(rows(y, case.axis) - rows(y2, case.axis))
    assert (gap <= 100 * precision * (1 + x_hat)).all()
    gap = np.abs(rows(dx, case.axis) - a * rows(dx2, case.axis))
    assert (gap <= 100 * precision * for_dx).all()
    np.testing.assert_array_equal(dbeta, dbeta2)


def test_scale_does_not_matter_as_epsilon_vanishes():
    case, gaps = example(), []
    for epsilon in (1e-4, 1e-6, 1e-8):
        ys = [
            forward(x, case.gamma, case.beta, epsilon=epsilon)[0]
            for x in (case.x, 0.1 * case.x + 7)
        ]
        gaps.append(np.abs(ys[0] - ys[1]).max())
    assert gaps[0] > 50 * gaps[1] > 2500 * gaps[2]
    assert gaps[2] < 1e-6


@given(cases())
@settings(max_examples=100, deadline=None)
def test_a_convolution_is_a_dense_layer_of_pixels(case):
    shaped = run(case)
    dense = SimpleNamespace(**vars(case))
    dense.x, dense.dy = (
        np.moveaxis(a, case.axis, -1).reshape(-1, case.x.shape[case.axis])
        for a in (case.x, case.dy)
    )
    dense.axis = 1
    for a, b in zip(shaped[:2], run(dense)[:2], strict=True):
        np.testing.assert_array_equal(rows(a, case.axis), b)
    for a, b in zip(shaped[2:], run(dense)[2:], strict=True):
        np.testing.assert_array_equal(a, b)


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_axes_does_not_matter(case, random):
    order = list(range(case.x.ndim))
    random.shuffle(order)
    other = SimpleNamespace(**vars(case))
    other.x, other.dy = case.x.transpose(order), case.dy.transpose(order)
    other.axis = order.index(case.axis % case.x.ndim)
    ours, theirs = run(case), run(other)
    size = gradient_size(case) * (1 + np.abs(measures(case).x_hat).max(axis=0)) ** 2
    for a, b, scale in zip(ours[:2], theirs[:2], (10, size), strict=True):
        back = rows(b.transpose(np.argsort(order)), case.axis)
        assert close(case, rows(a, case.axis), back, scale)


@given(cases())
@settings(max_examples=100, deadline=None)
def test_inference_with_the_statistics_of_the_batch_is_training(case):
    wide = case.x.astype(np.float64)  # else rounding the mean to float32 would show
    mean, variance = batch_statistics(wide, axis=case.axis)
    fixed = inference(wide, case.gamma, case.beta, mean, variance, **options(case))
    y = forward(wide, case.gamma, case.beta, **options(case))[0]
    np.testing.assert_array_equal(fixed, y)


# --- large means, small batches ------------------------------------------------------


@pytest.mark.parametrize(("dtype", "mean"), [(np.float32, 1e3), (np.float64, 1e6)])
def test_a_large_mean_costs_no_accuracy(dtype, mean):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((20_000, 3)) + mean).astype(dtype)
    centered = x - dtype(mean)  # exact, as the values are so close to the mean
    _, variance = batch_statistics(x)
    np.testing.assert_allclose(variance, centered.var(axis=0, dtype=float), rtol=1e-7)
    gamma, beta = np.ones(3), np.zeros(3)
    (y, cache), (y2, cache2) = (forward(a, gamma, beta) for a in (x, centered))
    np.testing.assert_allclose(y, y2, rtol=0, atol=1e-6)
    dy = rng.standard_normal(x.shape).astype(dtype)
    dx, dx2 = backward(dy, cache)[0], backward(dy, cache2)[0]
    np.testing.assert_allclose(dx, dx2, rtol=0, atol=1e-6)


def test_a_batch_of_one_gives_beta_and_no_gradient():
    case = example((1, 5))
    y, dx, dgamma, dbeta = run(case)
    np.testing.assert_array_equal(y[0], case.beta)
    assert not dx.any()
    assert not dgamma.any()
    np.testing.assert_array_equal(dbeta, case.dy[0])
    image = example((1, 4, 4, 5))  # of many pixels is another matter
    assert np.abs(run(image)[1]).min() > 0


def test_a_feature_without_variance_gives_beta():
    x = np.full((7, 2), 0.1)
    y, _ = forward(x, [2, 3], [4, 5], epsilon=1e-12)
    np.testing.assert_allclose(y, [[4, 5]] * 7, rtol=1e-9)


def test_moving_average_warms_up_as_documented():
    moving = np.zeros(1)
    for _ in range(59):
        moving = update_moving(moving, np.ones(1))
    np.testing.assert_allclose(moving, 1 - 0.99**59)


def test_changing_gamma_after_the_forward_pass_changes_no_gradient():
    case = example()
    expected = run(case)[1]
    _, cache = forward(case.x, case.gamma, case.beta)
    case.gamma *= 2
    np.testing.assert_array_equal(backward(case.dy, cache)[0], expected)


@pytest.mark.filterwarnings("error")
def test_keras_variables_tensors_and_lists_are_taken():
    case = example()
    layer = keras_layer(case)
    y, cache = forward(tf.constant(case.x), layer.gamma, layer.beta)
    np.testing.assert_array_equal(y, run(case)[0])
    dx, *_ = backward(tf.constant(case.dy), cache)
    np.testing.assert_array_equal(dx, run(case)[1])
    y, _ = forward(case.x.tolist(), case.gamma.tolist(), case.beta.tolist())
    np.testing.assert_array_equal(y, run(case)[0])


# --- what is refused -----------------------------------------------------------------

X = np.ones((2, 3, 4))
V = np.ones(4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: forward(X, np.ones(3), V), r"gamma has shape \(3,\), x \(2, 3, 4\)"),
        (lambda: forward(X, V, np.ones((1, 4))), r"beta has shape \(1, 4\)"),
        (lambda: forward(X, 1.0, V), r"gamma has shape \(\).*needs \(4,\)"),
        (lambda: forward(X, V, V, axis=1), r"gamma has shape \(4,\).*needs \(3,\)"),
        (lambda: forward(X, V, V, axis=3), r"axis 3 .*\(2, 3, 4\)"),
        (lambda: forward(X, V, V, axis=-4), r"axis -4 .*\(2, 3, 4\)"),
        (lambda: forward(V, V, V), r"two axes or more.*\(4,\)"),
        (lambda: forward(X[:0], V, V), r"none empty.*\(0, 3, 4\)"),
        (lambda: forward(X, V, V, epsilon=0), "epsilon must be positive, not 0"),
        (lambda: forward(X, V, V, epsilon=-1e-3), "epsilon must be positive"),
        (lambda: forward(X, V, V, epsilon=np.nan), "epsilon must be positive"),
        (lambda: backward(X[:1], forward(X, V, V)[1]), r"\(1, 3, 4\).*\(2, 3, 4\)"),
        (lambda: inference(X, V, V, np.ones(2), V), r"mean has shape \(2,\)"),
        (lambda: inference(X, V, V, V, np.ones(2)), r"variance has shape \(2,\)"),
        (lambda: inference(X, np.ones(2), V, V, V), r"gamma has shape \(2,\)"),
        (lambda: inference(X, V, V, V, V, epsilon=0), "epsilon must be positive"),
        (lambda: inference(X, V, V, V, V, axis=3), r"axis 3 .*\(2, 3, 4\)"),
        (lambda: inference(X[:0], V, V, V, V), r"\(0, 3, 4\)"),
        (lambda: batch_statistics(X, axis=5), r"axis 5 .*\(2, 3, 4\)"),
        (lambda: batch_statistics(X[:, :0]), r"\(2, 0, 4\)"),
        (lambda: update_moving(V, np.ones(1)), r"\(4,\).*\(1,\)"),
    ],
)
def test_wrong_arguments_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize("dtype", ["int64", "float16", "uint8"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=f"float32 or float64, not {dtype}"):
        forward(X.astype(dtype), V, V)


def test_the_module_needs_numpy_alone():
    script = (
        "import sys, normalization;"
        "print({'tensorflow', 'keras', 'pandas', 'scipy'} & set(sys.modules))"
    )
    folder = normalization.__file__.rpartition("normalization.py")[0]
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.stdout == "set()\n", run.stderr
