"""Last values, arrivals and each network's own setting, on frames made by hand."""

import numpy as np
import pandas as pd
import pytest

from helpers import runs

FRAME = pd.DataFrame(
    [
        # model, seed, updates, validation accuracy and loss, test accuracy, seconds
        ("bn", 1, 10, 0.95, 0.2, np.nan, 1.0),
        ("bn", 1, 20, 0.96, 0.3, 0.91, 2.0),
        ("bn", 2, 10, 0.80, 0.5, np.nan, 1.5),
        ("bn", 2, 20, 0.95, 0.2, 0.94, 2.5),
        ("plain", 1, 10, 0.50, 1.0, np.nan, 1.2),
        ("plain", 1, 20, 0.94, 0.9, 0.92, 2.2),
        ("plain", 2, 10, 0.95, 0.4, np.nan, 1.7),
        ("plain", 2, 20, 0.10, np.nan, 0.10, 2.7),  # diverged
    ],
    columns=[
        *("model", "seed", "updates", "validation_accuracy", "validation_loss"),
        *("test_accuracy", "seconds"),
    ],
).assign(diverged=lambda frame: frame["validation_loss"].isna())


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_final_takes_each_runs_last_value(order):
    table = runs.final(FRAME.iloc[order], "test_accuracy")
    expected = {"bn": {1: 0.91, 2: 0.94}, "plain": {1: 0.92, 2: 0.10}}
    assert table.to_dict() == expected


def test_final_does_not_hide_that_a_run_diverged():
    table = runs.final(FRAME, "validation_loss")
    assert table["bn"].to_dict() == {1: 0.3, 2: 0.2}
    assert table.loc[1, "plain"] == 0.9
    assert np.isnan(table.loc[2, "plain"])


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("updates", {"bn": {1: 10, 2: 20}, "plain": {1: 20, 2: 10}}),
        ("seconds", {"bn": {1: 1.0, 2: 2.5}, "plain": {1: 2.2, 2: 1.7}}),
    ],
)
def test_reach_takes_the_first_time_or_the_budget(at, expected):
    # Plain's first run ends at .94: it never reaches .95 and counts at its budget.
    assert runs.reach(FRAME, 0.95, at).to_dict() == expected


def test_reach_counts_every_run_at_its_budget_when_none_arrives():
    assert (runs.reach(FRAME, 0.99) == 20).all(axis=None)


def test_reach_does_not_take_a_clock_that_stopped_early_for_speed():
    lost = (FRAME["model"] == "plain") & (FRAME["seed"] == 1)
    table = runs.reach(FRAME.assign(diverged=lost), 0.95, "seconds")
    assert table.loc[1, "plain"] == np.inf


@pytest.mark.parametrize("read", [runs.final, runs.reach])
def test_several_settings_in_one_frame_are_refused(read):
    both = pd.concat([FRAME.assign(batch_size=size) for size in (16, 32)])
    with pytest.raises(ValueError, match="several settings"):
        read(both, {runs.final: "seconds", runs.reach: 0.95}[read])


def grid(**values):
    """Make a row a seed for each rate of one network: its accuracy and its loss."""
    rows = [
        {
            "model": "bn",
            "learning_rate": float(rate.replace("_", ".")),
            "seed": seed,
            "updates": updates,
            "validation_accuracy": accuracy - 0.5 * (updates == 10),
            "validation_loss": loss,
            "diverged": np.isnan(loss),
        }
        for rate, pairs in values.items()
        for seed, (accuracy, loss) in enumerate(pairs)
        for updates in (10, 20)
    ]
    return pd.DataFrame(rows)


# At .3 one run in two diverged; what remains of it is the best of all.
PARTLY = grid(**{"0_1": [(0.8, 0.6), (0.7, 0.7)], "0_3": [(0.9, 0.1), (0.9, np.nan)]})


@pytest.mark.parametrize("by", ["validation_accuracy", "validation_loss"])
def test_a_diverged_run_counts_as_the_worst_and_is_not_missing(by):
    chosen = runs.own(PARTLY, by=by)
    assert set(chosen["learning_rate"]) == {0.1}
    assert len(chosen) == 4, "all rows of the runs are kept"


def test_own_takes_each_models_best_by_its_last_values():
    other = grid(**{"0_1": [(0.6, 0.9)] * 2, "0_3": [(0.7, 0.8)] * 2})
    both = pd.concat([PARTLY, other.assign(model="plain")])
    rates = runs.own(both).groupby("model")["learning_rate"].first().to_dict()
    assert rates == {"bn": 0.1, "plain": 0.3}


def test_own_chooses_among_pairs_of_settings():
    low, high = PARTLY.assign(dropout=0.2), PARTLY.assign(dropout=0.5)
    high["validation_accuracy"] += 0.05
    chosen = runs.own(pd.concat([low, high]), "learning_rate", "dropout")
    assert set(zip(chosen["learning_rate"], chosen["dropout"], strict=True)) == {
        (0.1, 0.5)
    }


def test_own_chooses_among_optimizers():
    class Thing:
        """Has no order, as an optimizer."""

    low, high = Thing(), Thing()
    frame = pd.concat(
        [
            PARTLY[PARTLY["learning_rate"] == 0.1].assign(optimizer=optimizer)
            for optimizer in (low, high)
        ],
        ignore_index=True,
    )
    frame.loc[frame["optimizer"] == high, "validation_accuracy"] += 0.05
    assert set(runs.own(frame, "optimizer")["optimizer"]) == {high}


def test_own_knows_no_setting_that_is_not_named():
    both = pd.concat([PARTLY.assign(dropout=0.2), PARTLY.assign(dropout=0.5)])
    with pytest.raises(ValueError, match="name all settings that they differ in"):
        runs.own(both)


@pytest.mark.parametrize(
    "read",
    [
        lambda: runs.own(FRAME),
        lambda: runs.final(FRAME, "val_accuracy"),
        lambda: runs.reach(FRAME, 0.5, at="epochs"),
    ],
)
def test_a_column_that_is_missing_is_named(read):
    with pytest.raises(ValueError, match="the runs have no column .*: there are model"):
        read()


def test_own_is_not_chosen_on_test_images():
    with pytest.raises(ValueError, match="not by 'test_accuracy'"):
        runs.own(PARTLY, by="test_accuracy")


def test_a_setting_that_some_runs_lack_is_refused():
    frame = pd.concat(
        [FRAME.assign(learning_rate=0.1), FRAME.assign(learning_rate=None)]
    )
    with pytest.raises(ValueError, match="give every run a value of learning_rate"):
        runs.own(frame)


def test_settings_are_named_by_texts_and_values_are_no_lists():
    frame = pd.DataFrame({"model": "a", "seed": 1, "updates": 1, "width": [[8, 8]]})
    frame = frame.assign(validation_accuracy=0.5, diverged=False)
    with pytest.raises(ValueError, match=r"as in own\(runs, 'learning_rate', "):
        runs.own(frame, ["width"])
    with pytest.raises(ValueError, match="give tuples"):
        runs.own(frame, "width")
