"""Batch normalization in NumPy, a line of code for each equation.

    y, cache = forward(x, gamma, beta)          # a batch in training
    dx, dgamma, dbeta = backward(dy, cache)
    mean, variance = batch_statistics(x)
    moving_mean = update_moving(moving_mean, mean)      # the variance likewise
    y = inference(x, gamma, beta, moving_mean, moving_variance)

The equations are those of Ioffe and Szegedy (2015), arXiv:1502.03167. `x` has two or
more axes; one of them, `axis`, holds its C features. Each feature is normalized over
its m values along all other axes: N in a dense layer, N·H·W in a convolution. So the
equations see m rows of C features whatever the shape. They are computed in float64;
results have the dtype of `x`, float32 or float64 (TypeError for others). ValueError
names the shapes where `x` is empty or has one axis, `axis` is out of range or another
array does not fit; it also refuses an `epsilon` that is not positive.
"""

from numbers import Integral

import numpy as np


def forward(x, gamma, beta, *, epsilon=1e-3, axis=-1):
    """Normalize a batch by its own statistics, scale and shift: (y, cache).

    Algorithm 1 of the paper: the mini-batch mean μ and variance σ², then

    - normalize: x̂ = (x - μ) / √(σ² + ε)
    - scale and shift: y = γ·x̂ + β, with γ (`gamma`) and β (`beta`) of shape (C,)

    A batch of one, if dense, equals its own mean: y is β and no gradient reaches x.
    """
    rows = _rows(x, axis)
    gamma, beta = _per_feature(x, axis, gamma=gamma, beta=beta)
    mean, variance = batch_statistics(rows)
    centered = rows - mean
    std = _std(variance, epsilon)
    x_hat = centered / std
    y = gamma * x_hat + beta
    return _shaped_like(x, y, axis), (x, axis, gamma, centered, std, x_hat)


def backward(dy, cache):
    """Take the loss gradient from the output to the inputs: (dx, dgamma, dbeta).

    The chain rule of section 3. x acts on the loss along three paths: directly, and
    through σ² and μ, which all rows share. Every sum runs over the m rows:

    - scale and shift: dγ = Σ dy·x̂ and dβ = Σ dy
    - normalized value: dx̂ = dy·γ
    - variance: dσ² = Σ dx̂·(x - μ) · -½(σ² + ε)^(-3/2)
    - mean: dμ = -Σ dx̂ / √(σ² + ε) + dσ² · Σ -2(x - μ) / m
    - input: dx = dx̂ / √(σ² + ε) + dσ² · 2(x - μ) / m + dμ / m

    Put into each other they give the closed form, with means over the rows:
    dx = γ / √(σ² + ε) · (dy - mean(dy) - x̂ · mean(dy·x̂)).
    """
    x, axis, gamma, centered, std, x_hat = cache
    if np.shape(dy) != np.shape(x):
        raise ValueError(f"dy has shape {np.shape(dy)}, but x has {np.shape(x)}")
    dy = _rows(dy, axis)
    m = len(dy)
    dgamma = (dy * x_hat).sum(axis=0)
    dbeta = dy.sum(axis=0)
    dx_hat = dy * gamma
    dvariance = (dx_hat * centered).sum(axis=0) * -0.5 * std**-3
    dmean = -dx_hat.sum(axis=0) / std + dvariance * (-2 * centered).sum(axis=0) / m
    dx = dx_hat / std + dvariance * 2 * centered / m + dmean / m
    dtype = np.asarray(x).dtype
    return _shaped_like(x, dx, axis), dgamma.astype(dtype), dbeta.astype(dtype)


def inference(x, gamma, beta, mean, variance, *, epsilon=1e-3, axis=-1):
    """Normalize by fixed statistics of shape (C,), then scale and shift: y.

    Algorithm 2 of the paper. As nothing is taken from the batch, no row depends on
    another, and the layer is affine: y = γ/√(σ² + ε) · x + (β - γ·μ/√(σ² + ε)).
    """
    rows = _rows(x, axis)
    gamma, beta = _per_feature(x, axis, gamma=gamma, beta=beta)
    mean, variance = _per_feature(x, axis, mean=mean, variance=variance)
    x_hat = (rows - mean) / _std(variance, epsilon)
    y = gamma * x_hat + beta
    return _shaped_like(x, y, axis)


def batch_statistics(x, *, axis=-1):
    """Mini-batch mean μ = Σ x / m and variance σ² = Σ (x - μ)² / m, of shape (C,).

    The variance is biased (m, not m - 1) and takes a second pass over x: computed
    as E[x²] - μ², it would drown in the rounding errors of a large mean.
    """
    rows = _rows(x, axis)
    mean = rows.mean(axis=0)
    variance = ((rows - mean) ** 2).mean(axis=0)
    dtype = np.asarray(x).dtype
    return mean.astype(dtype), variance.astype(dtype)


def update_moving(moving, batch, momentum=0.99):
    """Moving average: momentum · moving + (1 - momentum) · batch.

    As in Keras, `momentum` weighs the old value; PyTorch's weighs the new one.
    """
    moving, batch = np.asarray(moving), np.asarray(batch)
    if moving.shape != batch.shape:
        raise ValueError(f"moving has shape {moving.shape}, but batch {batch.shape}")
    return momentum * moving + (1 - momentum) * batch


def _std(variance, epsilon):
    """Return √(σ² + ε), which ε keeps away from 0."""
    if not epsilon > 0:
        raise ValueError(f"epsilon must be positive, not {epsilon}")
    return np.sqrt(variance + epsilon)


def _rows(x, axis):
    """Return `x` as m rows of C features, (m, C), in float64."""
    x = np.asarray(x)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"arrays must be float32 or float64, not {x.dtype}")
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"x needs two axes or more, none empty, not shape {x.shape}")
    if not isinstance(axis, Integral):
        raise ValueError(f"axis must be the one of the features, as -1, not {axis}")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis {axis} is out of range for shape {x.shape}")
    rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    return rows.astype(np.float64, copy=False)


def _shaped_like(x, rows, axis):
    """Undo `_rows`: return the rows in the shape and dtype of `x`."""
    x = np.asarray(x)
    moved = rows.reshape(np.moveaxis(x, axis, -1).shape)
    return np.moveaxis(moved, -1, axis).astype(x.dtype)


def _per_feature(x, axis, **named):
    """Return float64 copies of arrays, each checked to be of shape (C,)."""
    need = (np.shape(x)[axis],)
    for name, values in named.items():
        if (have := np.shape(values)) != need:
            raise ValueError(f"{name} has shape {have}, x {np.shape(x)} needs {need}")
    return [np.asarray(values).astype(np.float64) for values in named.values()]
