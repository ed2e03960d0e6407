"""One style for all figures, and figures from tidy frames."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.claims import VERDICT_COLOURS, t_interval

# Dark blue, orange, teal: apart in hue for the common colour-vision deficiencies and in
# lightness on a grey print; dashes tell these three apart as well.
COLOURS = {"batch norm": "#12436d", "plain": "#bf4b0b", "layer norm": "#0f655f"}
DASHES = {"batch norm": "", "plain": (4, 1.5), "layer norm": (1, 1)}
RESOLUTION = 150  # dots per inch of saved figures


def use_style() -> None:
    """Set the project's figure style; call it once, at the top of a notebook."""
    plt.rcdefaults()  # whatever a matplotlibrc in the reader's home says
    sns.set_theme(
        context="notebook",
        style="ticks",
        rc={
            "figure.dpi": 80,
            "savefig.dpi": RESOLUTION,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e3e3e3",
            "grid.linewidth": 0.8,
            "axes.edgecolor": "#555555",
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.titlesize": 12,
            "axes.labelsize": 11,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.frameon": False,
            "image.cmap": "Greys",
        },
    )


def learning_curves(frame: pd.DataFrame, *, colours: Mapping = COLOURS) -> Figure:
    """Loss and accuracy against epochs, training beside validation, an arm a colour.

    Parameters
    ----------
    frame : runs as :func:`helpers.training.train` returns them.
    colours : colour of each model; the first is labelled topmost.

    Lines are means over seeds, bands their 95 % t intervals, thin lines the runs.
    """
    splits = {"train": "training images", "validation": "validation images"}
    figure, grid = plt.subplots(2, 2, figsize=(10, 6.4), sharex=True, sharey="row")
    ends = {}
    for axes, metric in zip(grid, ("loss", "accuracy"), strict=True):
        for axis, (split, title) in zip(axes, splits.items(), strict=True):
            ends[axis] = curve(
                axis, frame, "epoch", f"{split}_{metric}", colours=colours
            )
            axis.set(xlabel="", ylabel="", title=f"{metric.capitalize()}, {title}")
    for axis in grid[1]:
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    grid[0, 0].set_ylabel("cross-entropy (nats)")
    grid[1, 0].set_ylabel("share of images correct")
    for axis, places in ends.items():
        label_lines(axis, places, colours)
    return figure


def curve(
    axis: Axes, frame: pd.DataFrame, x: str, y: str, *, colours: Mapping = COLOURS
) -> dict[str, tuple[float, float]]:
    """Draw a mean line and its 95 % t band per model, the single runs behind.

    Returns
    -------
    The end point of each model's line, for :func:`label_lines`.

    Values that are not finite are left out: a diverged run is drawn until it ends,
    and beyond that the mean is one of the others.
    """
    frame = frame[np.isfinite(frame[y])]
    models = _models(frame, colours)
    sns.lineplot(
        frame, x=x, y=y, hue="model", hue_order=models, palette=dict(colours),
        style="model", dashes={model: DASHES.get(model, "") for model in models},
        errorbar=t_interval, err_kws={"alpha": 0.2, "linewidth": 0},
        linewidth=2.2, legend=False, ax=axis,
    )  # fmt: skip
    in_order = frame.sort_values(x, kind="stable")  # rates may have been added later
    for (model, _), run in in_order.groupby(["model", "seed"]):
        axis.plot(run[x], run[y], color=colours[model], linewidth=0.6, alpha=0.35)
    means = frame.groupby(["model", x])[y].mean()
    return {model: (means[model].index[-1], means[model].iloc[-1]) for model in models}


def points(
    axis: Axes, frame: pd.DataFrame, x: str, y: str, *, colours: Mapping = COLOURS
) -> None:
    """Draw a mean and its 95 % t interval per category and model, side by side."""
    models = _models(frame, colours)
    sns.pointplot(
        frame, x=x, y=y, hue="model", hue_order=models, palette=dict(colours),
        dodge=0.18 * len(models) if len(models) > 1 else False, linestyles="none",
        markers=[*islice(cycle("osD^"), len(models))], capsize=0.15,
        errorbar=t_interval, err_kws={"linewidth": 1.5}, ax=axis,
    )  # fmt: skip
    sns.move_legend(axis, "best", title=None)


def _models(frame: pd.DataFrame, colours: Mapping) -> list[str]:
    """Return the models of a frame in the order of their colours."""
    found = set(frame["model"])
    if missing := sorted(found - set(colours)):
        raise ValueError(f"no colour for {', '.join(missing)}: give one in `colours`")
    return [model for model in colours if model in found]


def interval(axis: Axes, values: pd.Series, height: float, colour: str) -> None:
    """Draw the mean of some values and its 95 % t interval lengthwise, as a dot."""
    low, high = t_interval(values)
    middle = values.mean()
    axis.errorbar(
        middle, height, xerr=[[middle - low], [high - middle]], fmt="o", capsize=4,
        color=colour, markeredgecolor="white", markersize=9, zorder=5,
    )  # fmt: skip


def confusions(tables: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Confusion tables side by side, their diagonals left out, on one scale.

    Parameters
    ----------
    tables : name and (classes, classes) counts, true classes in rows, of each model.
    class_names : names of the classes, in the order of the rows.
    """
    wrong = {
        name: np.where(np.eye(len(table), dtype=bool), 0, table)
        for name, table in tables.items()
    }
    highest = max(table.max() for table in wrong.values())
    figure, axes = plt.subplots(
        1, len(tables), figsize=(11, 5.6), sharey=True, squeeze=False
    )
    for axis, (name, table) in zip(axes.flat, wrong.items(), strict=True):
        sns.heatmap(
            table, mask=np.eye(len(table), dtype=bool), vmin=0, vmax=highest,
            cmap="Blues", annot=True, fmt=".0f", annot_kws={"size": 9}, square=True,
            cbar=False, linewidths=0.5, ax=axis,
            xticklabels=class_names, yticklabels=class_names,
        )  # fmt: skip
        axis.set(title=name, xlabel="predicted class")
        axis.tick_params(left=False, bottom=False)
        axis.grid(False)
    axes[0, 0].set_ylabel("true class")
    return figure


def label_lines(
    axis: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping = COLOURS
) -> None:
    """Write each line's name beside its end, moved apart where names would overlap.

    Call it last: it measures the finished figure.

    Parameters
    ----------
    ends : name and end point, in data coordinates, of each line.
    """
    figure = cast(Figure, axis.figure)  # no axis here is in a sub-figure
    figure.draw_without_rendering()
    names = sorted(ends, key=lambda name: ends[name][1])
    pixels = [axis.transData.transform(ends[name])[1] for name in names]
    gap = 13 * figure.dpi / 72
    places = np.array(pixels, dtype=float)
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    places -= (places - pixels).mean()  # push up and down alike
    for name, pixel, place in zip(names, pixels, places, strict=True):
        axis.annotate(
            name,
            ends[name],
            xytext=(5, (place - pixel) * 72 / figure.dpi),
            textcoords="offset points",
            color=colours[name],
            va="center",
            fontweight="bold",
            fontsize=10,
            annotation_clip=False,
        )


def forest(
    frame: pd.DataFrame, marks: pd.Series | None = None, by: str | None = None
) -> Figure:
    """Effects over the margins that matter, with intervals, a line a claim.

    Parameters
    ----------
    frame : ``statement``, ``verdict``, ``effect``, ``low``, ``high`` and ``margin`` of
        each claim, as :func:`helpers.claims.results` returns them.
    marks : effects of single replications, indexed by the claim's key: small strokes.
    by : a column whose values become headings over their lines, in order.

    Beyond twice the margin the axis is logarithmic. Circles are supported, crosses
    contradicted, squares without effect, diamonds undecided.
    """
    shapes = {"supported": "o", "contradicted": "X", "no effect": "s", "undecided": "D"}
    # A long one spares its lines: the texts get more room, the rows less.
    room, width, size, line = (90, 11, 8.5, 0.2) if by else (68, 9, 9, 0.24)
    names = [wrapped(text, room) for text in frame["statement"]]
    groups = frame[by] if by else pd.Series("", frame.index)
    places, headings = _places(names, groups)
    figure, axis = plt.subplots(figsize=(width, 1.2 + line * (max(places) + 1)))
    axis.axvspan(-1, 1, color="#dddddd", linewidth=0)
    for place, (key, row) in zip(places, frame.iterrows(), strict=True):
        colour = VERDICT_COLOURS[row["verdict"]]
        if marks is not None and key in marks.index:
            single = np.atleast_1d(marks[key]) / row["margin"]
            faint: dict[str, Any] = {"color": colour, "markersize": 7, "alpha": 0.5}
            axis.plot(single, [place] * len(single), "|", **faint)
        ends = np.array([row["low"], row["high"]]) / row["margin"]
        axis.plot(ends, [place] * 2, color=colour, linewidth=2)
        style: dict[str, Any] = {"color": colour, "marker": shapes[row["verdict"]]}
        axis.plot(row["effect"] / row["margin"], place, markersize=8, **style)
    for verdict, marker in shapes.items():
        style = {"color": VERDICT_COLOURS[verdict], "linestyle": "none"}
        axis.plot([], [], marker=marker, label=verdict, **style)
    figure.legend(loc="outside upper right", ncols=4)
    axis.set_xscale("symlog", linthresh=2, linscale=0.6)
    ticks = [-100, -10, -1, 0, 1, 10, 100]
    axis.set(xticks=ticks, xticklabels=ticks, xlabel="effect over margin")
    axis.set_yticks([*places, *headings], [*names, *headings.values()])
    for label in axis.get_yticklabels()[len(places) :]:
        label.set_fontweight("bold")
    axis.set_ylim(max(places) + 1, -1)
    axis.tick_params(axis="y", labelsize=size)
    axis.tick_params(axis="x", labeltop=bool(by))
    return figure


def _places(
    names: Sequence[str], groups: pd.Series
) -> tuple[list[float], dict[float, str]]:
    """Return the height of each line of a forest, and of the headings over them."""
    places, headings, at, last = [], {}, 0.0, ""
    for name, group in zip(names, groups, strict=True):
        if group != last:
            headings[at + 0.5], at, last = group, at + 1.7, group
        extra = 0.7 * name.count("\n")
        places.append(at + extra / 2)
        at += 1 + extra
    return places, headings


def wrapped(text: str, width: int) -> str:
    """Break a text into lines of about equal length, at most ``width`` characters."""
    lines = math.ceil(len(text) / width)
    balanced = min(width, len(text) // lines + 8)
    return textwrap.fill(text, balanced, break_on_hyphens=False)
