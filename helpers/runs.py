"""Read the trainer's frames: last values, arrivals, each network's best setting."""

import numpy as np
import pandas as pd


def final(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Last value of a column in each run: a row a seed, a column a model.

    Raises
    ------
    ValueError
        If the frame holds more than one run of a model and seed, or no such column.
    """
    _check_columns(frame, column)
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


def own(
    frame: pd.DataFrame, *settings: str, by: str = "validation_accuracy"
) -> pd.DataFrame:
    """Each model's runs at its own setting: the one that is best on validation images.

    Parameters
    ----------
    frame : runs of :func:`helpers.training.sweep`, with a column for each setting.
    settings : the columns that make a setting; ``"learning_rate"`` if none is given.
    by : ``"validation_accuracy"`` or ``"validation_loss"``: its mean over seeds, at
        the end of the runs, decides. A run that diverged counts as the worst value
        there is, no accuracy or an infinite loss.

    Raises
    ------
    ValueError
        If ``by`` is another column, a setting has no column, or no value in some runs,
        or the runs of one differ in another setting, which is not named.
    """
    worst = {"validation_accuracy": 0.0, "validation_loss": np.inf}
    if by not in worst:
        raise ValueError(f"settings are chosen by {' or '.join(worst)}, not by {by!r}")
    keys = ["model", *(settings or ("learning_rate",))]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError(
            f"settings are names of columns, as in own(runs, 'learning_rate', "
            f"'batch_size'), not {settings}"
        )
    _check_columns(frame, *keys)
    if any(frame[key].map(type).isin([list, dict]).any() for key in keys):
        raise ValueError(
            "a setting holds lists, which no run can be found by: give "
            "tuples in their place"
        )
    if frame[keys].isna().any(axis=None):
        raise ValueError(
            "a setting is missing in some runs, and cannot be told from the others: "
            f"give every run a value of {', '.join(keys[1:])}"
        )
    times = [name for name in ("updates", "epoch") if name in frame]
    if any(frame.duplicated([*keys, "seed", name]).any() for name in times):
        raise ValueError(
            f"there are several runs of a model and seed with one {', '.join(keys[1:])}"
            ": name all settings that they differ in"
        )
    unordered = {key: frame[key] for key in keys if _has_no_order(frame[key])}
    frame = frame.assign(**{k: pd.factorize(v)[0] for k, v in unordered.items()})
    last = frame.sort_values("updates").groupby([*keys, "seed"]).tail(1)
    values = last[by].mask(last["diverged"].astype(bool) | last[by].isna(), worst[by])
    means = values.groupby([last[key] for key in keys]).mean()
    if by == "validation_loss":
        means = -means
    best = means.groupby("model").idxmax()
    found = frame.set_index(keys).loc[list(best)].reset_index()
    return found.assign(**{k: v.unique()[found[k]] for k, v in unordered.items()})


def _has_no_order(column: pd.Series) -> bool:
    """Whether a column holds objects, as optimizers."""
    try:
        sorted(column.unique())
    except TypeError:
        return True
    return False


def _check_columns(frame: pd.DataFrame, *names: str) -> None:
    missing = [name for name in names if name not in frame]
    if missing:
        raise ValueError(
            f"the runs have no column {missing[0]!r}: there are "
            f"{', '.join(map(str, frame))}"
        )
