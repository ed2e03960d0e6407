"""The decision rule: from paired seeds to a verdict, its card and its record."""

import html
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from helpers import files

# The smallest effect that matters, by unit. Ratios (time, factor) are judged on the
# natural-log scale, where swapping the arms only changes the sign.
MARGINS = {"accuracy": 0.005, "time": np.log(1.10), "factor": np.log(1.25)}
SEEDS_NEEDED = 5

COLOURS = {
    "supported": "#0b6e4f",
    "contradicted": "#9d2235",
    "no effect": "#4a4a4a",
    "undecided": "#7a5200",
}


@dataclass(frozen=True)
class Verdict:
    """What the data say of a claim; positive effects are in the claimed direction.

    ``effect`` is the mean paired difference and ``low`` to ``high`` its 95 %
    interval: a difference in accuracy, or the natural logarithm of a ratio for the
    units ``time`` and ``factor``. ``section`` links to where it was tried.
    """

    claim: str
    verdict: str
    effect: float
    low: float
    high: float
    margin: float
    unit: str
    n_seeds: int
    section: str
    reason: str = ""

    def __repr__(self) -> str:
        return f"{self.claim}: {self.verdict}" + (
            f" ({self.reason})" * bool(self.reason)
        )

    def _repr_html_(self) -> str:
        colour = COLOURS[self.verdict]
        low, effect, high = (
            describe(value, self.unit) for value in (self.low, self.effect, self.high)
        )
        reason = f" {html.escape(self.reason)}." * bool(self.reason)
        return (
            f'<div class="bn-verdict" style="{bar(self.verdict)};'
            'padding:.5em 1em;margin:.6em 0;max-width:46em;line-height:1.5">'
            f"<div><b>{html.escape(self.claim)}</b></div>"
            f'<div><span style="background:{colour};color:#fff;padding:.1em .6em;'
            f'border-radius:.8em;font-weight:600">{self.verdict}</span>{reason}</div>'
            f"<div>effect {effect} &nbsp;·&nbsp; 95 % interval {low} to {high} "
            f"&nbsp;·&nbsp; margin {describe(self.margin, self.unit, sign=False)} "
            f"&nbsp;·&nbsp; {self.n_seeds} paired&nbsp;seeds</div></div>"
        )


def bar(verdict: str) -> str:
    """Return the style of the bar beside a verdict, in CSS."""
    colour = COLOURS[verdict]
    # Mixed with the text's colour it is bright on a dark page; old browsers skip that.
    mixed = f"color-mix(in srgb, {colour} 60%, currentColor)"
    return f"border-left: 6px solid {colour}; border-left-color: {mixed}"


def describe(value: float, unit: str, *, sign: bool = True) -> str:
    """Write an effect the way one says it: points of accuracy, percent, a factor."""
    if unit == "accuracy":
        number, after = 100 * value, " points"
    elif unit == "time":
        number, after = 100 * np.expm1(value), " %"
    else:
        return _describe_factor(value)
    text = f"{number:+.2f}" if unit == "accuracy" else f"{number:+.1f}"
    if not float(text):
        text = text.replace("-", "+")
    text = text.replace("-", "\N{MINUS SIGN}")
    return (text if sign else text.lstrip("+")) + after


def _describe_factor(value: float) -> str:
    if abs(value) < np.log(1000):
        return f"×{np.exp(value):.2f}"
    mantissa, power = f"{np.exp(value):.1e}".split("e")
    digits = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"×{mantissa}·10{digits}"


def t_interval(values: Iterable[float]) -> tuple[float, float]:
    """95 % Student t interval of the mean; NaN for fewer than two values.

    Give it to seaborn as ``errorbar=t_interval``: the bars are then the intervals
    that the verdicts use.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return values.mean() - half, values.mean() + half


def judge(
    claim: str,
    treatment: pd.Series,
    control: pd.Series,
    *,
    claimed: Literal["higher", "lower"],
    unit: str,
    section: str,
    stable: bool = True,
) -> Verdict:
    """Judge a claim that the treatment's values are higher (or lower).

    With the 95 % t interval of the paired difference: wholly beyond the margin in
    the claimed direction, *supported*; wholly beyond it the other way,
    *contradicted*; wholly within ± the margin, *no effect*; else *undecided*.

    Parameters
    ----------
    claim : the sentence on trial.
    treatment, control : one value a seed, indexed by seed; positive for ratios.
    claimed : the direction the claim gives the treatment.
    unit : ``"accuracy"``, ``"time"`` or ``"factor"``; fixes the margin.
    section : where it was tried, as ``notebook.ipynb#Heading``.
    stable : false for a verdict known to change with the seeds: *undecided*.

    Raises
    ------
    ValueError
        If the unit is unknown, the seeds are not paired, fewer than two, or a value
        is NaN, infinite or, for a ratio, not positive.
    """
    if unit not in MARGINS:
        raise ValueError(f"unknown unit {unit!r}: choose one of {', '.join(MARGINS)}")
    if claimed not in ("higher", "lower"):
        raise ValueError(f"claimed must be 'higher' or 'lower', not {claimed!r}")
    if not (treatment.index.is_unique and control.index.is_unique):
        raise ValueError("a seed stands twice in an arm: give one value a seed")
    if set(treatment.index) != set(control.index):
        alone = sorted(set(treatment.index) ^ set(control.index))
        raise ValueError(f"the arms are not paired: seeds {alone} stand in one only")
    if len(treatment) < 2:
        raise ValueError("one seed gives no interval: run at least two, better five")
    arms = pd.DataFrame({"treatment": treatment, "control": control}).astype(float)
    bad = arms.index[~np.isfinite(arms).all(axis=1)].tolist()
    if bad:
        raise ValueError(
            f"seeds {bad} have values that are NaN or infinite: count a run that "
            "diverged or never arrived at the budget, do not drop it"
        )
    if unit != "accuracy":
        if (arms <= 0).any(axis=None):
            raise ValueError(
                f"a {unit} is judged by its ratio: values must be positive"
            )
        arms = np.log(arms)
    difference = (arms["treatment"] - arms["control"]).to_numpy()
    if claimed == "lower":
        difference = -difference
    low, high = t_interval(difference)
    margin = float(MARGINS[unit])
    verdict, reason = decide(low, high, margin), ""
    if len(difference) < SEEDS_NEEDED:
        verdict = "undecided"
        reason = f"{len(difference)} seeds are too few, a verdict needs {SEEDS_NEEDED}"
    elif not stable:
        verdict, reason = "undecided", "it changes with the seeds"
    return Verdict(
        claim,
        verdict,
        float(difference.mean()),
        float(low),
        float(high),
        margin,
        unit,
        len(difference),
        section,
        reason,
    )


def decide(low: float, high: float, margin: float) -> str:
    """Return what an interval says of a claim, by the rule of :func:`judge`."""
    if low > margin:
        return "supported"
    if high < -margin:
        return "contradicted"
    if -margin < low and high < margin:
        return "no effect"
    return "undecided"


def record(verdicts: Iterable[Verdict], folder: Path) -> None:
    """Save verdicts as ``verdicts.csv`` in a folder, a row a claim, unrounded."""
    columns = [field.name for field in fields(Verdict) if field.name != "reason"]
    frame = pd.DataFrame(list(verdicts), columns=columns)
    files.write(folder / "verdicts.csv", frame.to_csv(index=False).encode())


def final(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Last value of a column in each run: a row a seed, a column a model.

    Raises
    ------
    ValueError
        If the frame holds more than one run of a model and seed.
    """
    if frame.duplicated(["seed", "model", "updates"]).any():
        raise ValueError("the frame holds several settings: choose one of them first")
    last = frame.sort_values("updates").groupby(["seed", "model"]).tail(1)
    return last.pivot(index="seed", columns="model", values=column)


def reach(frame: pd.DataFrame, threshold: float, at: str = "updates") -> pd.DataFrame:
    """Where each run first reaches a validation accuracy: seeds × models.

    Parameters
    ----------
    frame : runs as :func:`helpers.training.train` returns them.
    threshold : validation accuracy to reach, in [0, 1].
    at : the column to read off, ``"updates"``, ``"epoch"`` or ``"seconds"``.

    A run that never reaches it counts at its budget, the last value of the column;
    one that diverged at infinite seconds, for its clock stopped early.
    """
    budget = final(frame, at)
    if at == "seconds":
        budget = budget.mask(final(frame, "diverged").astype(bool), np.inf)
    there = frame[frame["validation_accuracy"] >= threshold]
    first = there.groupby(["seed", "model"])[at].min().unstack("model")
    return first.reindex(index=budget.index, columns=budget.columns).fillna(budget)
