"""A figure with sliders: what batch normalization does to the values of one unit.

Python draws it as it is at first, so that it shows without a script; the script in
``pages/`` draws the same again when a slider moves.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

PAGES = Path(__file__).resolve().parent / "pages"
BIN = 0.3  # values nearer than that are stacked
Explored = Callable[..., tuple[np.ndarray, np.ndarray]]


def page(
    population: np.ndarray, explored: Explored, opening: Mapping[str, float]
) -> tuple[str, dict[str, Any]]:
    """Return the figure as HTML, and the outlines and numbers it shows at first.

    Parameters
    ----------
    population : (256,) values of a unit, from -15 to 15 or so.
    explored : returns a batch, the first ``size`` of these values, before and after,
        from ``gamma``, ``beta``, ``epsilon`` and ``size``, a power of two.
    opening : what the sliders say at first, by these names.
    """
    heights = (156 - 6 * levels(population)).tolist()
    first = _scene(population, heights, *explored(**opening), **opening)
    rest = _panel("x", population, heights)["x_dots"]
    behind = (
        f'<path class="rest" d="{rest}"/>'
        f'<path class="ticks" data-d="ticks" d="{first["ticks"]}"/>'
    )
    html = _template("explorable.html").substitute(
        first,
        before=_drawing("x", first, "Dots of the batch among all 256 values", behind),
        after=_drawing("y", first, "Dots of the batch, normalized"),
        sample=json.dumps(list(zip(population.tolist(), heights, strict=True))),
        style=f"<style>\n{_text('explorable.css')}</style>",
        script=_text("explorable.js"),
    )
    return html, first


def levels(values: np.ndarray) -> np.ndarray:
    """Return how many values before it each one is stacked on, as whole numbers."""
    bins = np.floor(values / BIN)
    return np.array([np.sum(bins[:i] == bins[i]) for i in range(len(bins))], dtype=int)


def _scene(population, heights, x, y, *, gamma, beta, epsilon, size) -> dict[str, Any]:
    """Return all outlines and numbers of a setting."""
    batches = population.reshape(-1, size)
    means, deviations = batches.mean(axis=1), batches.std(axis=1)
    return {
        **_panel("x", x, heights),
        **_panel("y", y, heights),
        "ticks": "".join(f"M{_place(mean)} 1v11" for mean in means),
        "count": len(batches),
        "range": f"from {means.min():.2f} to {means.max():.2f}",
        "sd_range": f"from {deviations.min():.2f} to {deviations.max():.2f}",
        "gamma": f"{gamma:.1f}",
        "beta": f"{beta:.1f}",
        "epsilon": f"{epsilon:g}",
        "size": size,
    }


def _panel(name: str, values: np.ndarray, heights: list[int]) -> dict[str, str]:
    """Return the outlines and numbers that show some values."""
    mean, deviation = values.mean(), values.std()
    points = zip(values, heights, strict=False)
    dots = "".join(f"M{_place(value)} {height}h0" for value, height in points)
    left, right = _place(mean - deviation), _place(mean + deviation)
    return {
        f"{name}_dots": dots,
        f"{name}_band": f"M{left} 16V160H{right}V16Z",
        f"{name}_line": f"M{_place(mean)} 16V160",
        f"{name}_mean": f"{round(mean, 2) + 0:.2f}",  # no -0.00
        f"{name}_sd": f"{deviation:.2f}",
    }


def _drawing(name: str, first: Mapping[str, Any], alt: str, behind: str = "") -> str:
    """Return a panel as it is at first."""
    outlines = {part: first[f"{name}_{part}"] for part in ("dots", "band", "line")}
    names = {"name": name, "alt": alt, "extra": behind, "axis": _axis()}
    return _template("explorable_panel.svg").substitute(outlines | names)


def _axis() -> str:
    ticks = [
        f'<path class="axis" d="M{_place(value)} 162v5"/>'
        f'<text x="{_place(value)}" y="183">{value}</text>'
        for value in range(-15, 16, 5)
    ]
    return '<path class="axis" d="M20 162H740"/>' + " ".join(ticks)


def _place(value: float) -> str:
    """Return the horizontal place of a value; the axes run from -15 to 15."""
    return f"{380 + 24 * value:.1f}"


def _template(name: str) -> Template:
    return Template(_text(name))


def _text(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8").removesuffix("\n")
