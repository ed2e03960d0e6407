"""The decision rule on synthetic data, against scipy, and its card and record."""

import csv
import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers import verdicts
from helpers.verdicts import MARGINS, Verdict, judge, t_interval

SWAPPED = {
    "supported": "contradicted",
    "contradicted": "supported",
    "no effect": "no effect",
    "undecided": "undecided",
}
UNITS = list(MARGINS)


def arms(unit, effect, spread, n=5):
    """Make treatment and control whose difference is so many margins, give or take."""
    control = pd.Series(np.linspace(0.5, 0.9, n), index=range(100, 100 + n))
    difference = MARGINS[unit] * (effect + spread * np.linspace(-1, 1, n))
    if unit == "accuracy":
        return control + difference, control
    return control * np.exp(difference), control


def verdict_of(treatment, control, unit="accuracy", claimed="higher", **options):
    return judge(
        "A beats B", treatment, control, claimed=claimed, unit=unit,
        section="x.ipynb#A", **options,
    )  # fmt: skip


# --- the rule ------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("effect", "spread", "verdict"),
    [
        (3, 0.1, "supported"),
        (-3, 0.1, "contradicted"),
        (0, 0.1, "no effect"),
        (0.7, 0.1, "no effect"),
        (1, 0.1, "undecided"),  # on the margin
        (-1, 0.1, "undecided"),
        (0, 5, "undecided"),  # too noisy to say
        (1.3, 1, "undecided"),  # beyond the margin, but not wholly
    ],
)
def test_each_verdict_is_reached(unit, effect, spread, verdict):
    treatment, control = arms(unit, effect, spread)
    higher = verdict_of(treatment, control, unit)
    lower = verdict_of(treatment, control, unit, claimed="lower")
    assert (higher.verdict, lower.verdict) == (verdict, SWAPPED[verdict])
    assert higher.effect == pytest.approx(effect * MARGINS[unit], abs=1e-12)
    assert (higher.margin, higher.n_seeds, higher.reason) == (MARGINS[unit], 5, "")


def test_margins_are_those_of_the_rules_of_evidence():
    expected = {"accuracy": 0.005, "time": np.log(1.1), "factor": np.log(1.25)}
    assert pytest.approx(expected) == MARGINS


pairs = st.lists(
    st.tuples(*[st.floats(0.01, 100)] * 2), min_size=verdicts.SEEDS_NEEDED, max_size=9
)


@given(pairs, st.sampled_from(UNITS))
@settings(max_examples=200, deadline=None)
def test_swapping_the_arms_swaps_the_verdict(values, unit):
    treatment, control = pd.DataFrame(values).T.to_numpy()
    treatment, control = pd.Series(treatment), pd.Series(control)
    one = verdict_of(treatment, control, unit)
    for other in (
        verdict_of(control, treatment, unit),
        verdict_of(treatment, control, unit, claimed="lower"),
    ):
        assert other.verdict == SWAPPED[one.verdict]
        assert (other.effect, other.low, other.high) == (
            -one.effect,
            -one.high,
            -one.low,
        )


@given(pairs, st.sampled_from(UNITS), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_seeds_does_not_matter(values, unit, random):
    frame = pd.DataFrame(values, columns=["treatment", "control"])
    shuffled = random.sample(range(len(frame)), len(frame))
    there = verdict_of(frame["treatment"], frame["control"], unit)
    other = verdict_of(frame["treatment"].iloc[shuffled], frame["control"], unit)
    assert other.verdict == there.verdict
    assert (other.effect, other.low, other.high) == pytest.approx(
        (there.effect, there.low, there.high), abs=1e-9
    )


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("n", [5, 6, 20])
def test_the_interval_is_that_of_scipys_paired_t_test(unit, n):
    treatment, control = np.random.default_rng(n).uniform(0.5, 1, size=(2, n))
    verdict = verdict_of(pd.Series(treatment), pd.Series(control), unit)
    if unit != "accuracy":
        treatment, control = np.log(treatment), np.log(control)
    expected = stats.ttest_rel(treatment, control).confidence_interval(0.95)
    assert (verdict.low, verdict.high) == pytest.approx(tuple(expected), rel=1e-9)
    assert verdict.effect == pytest.approx((treatment - control).mean(), rel=1e-9)


def test_the_interval_covers_the_truth_in_95_percent_of_studies():
    truth, studies = MARGINS["accuracy"], 4000
    runs = np.random.default_rng(0).normal(truth, 0.003, size=(studies, 5))
    intervals = np.array([t_interval(study) for study in runs])
    covered = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    error = np.sqrt(0.95 * 0.05 / studies)
    assert abs(covered.mean() - 0.95) < 3 * error
    # A truth on the margin is no more than it takes: called supported in 2.5 %.
    supported = np.mean([verdicts.decide(*i, truth) == "supported" for i in intervals])
    assert abs(supported - 0.025) < 3 * np.sqrt(0.025 * 0.975 / studies)


def test_the_interval_of_fewer_than_two_values_is_nan():
    assert np.isnan(t_interval([])).all()
    assert np.isnan(t_interval([1.0])).all()


# --- what is not judged --------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4])
def test_fewer_than_five_seeds_stay_undecided_and_say_so(n):
    verdict = verdict_of(*arms("accuracy", 50, 0.01, n))
    assert verdict.verdict == "undecided"
    assert repr(verdict).endswith(f"({n} seeds are too few, a verdict needs 5)")
    assert "too few" in verdict._repr_html_()


def test_an_unstable_claim_stays_undecided_and_says_so():
    verdict = verdict_of(*arms("accuracy", 3, 0.1), stable=False)
    assert repr(verdict) == "A beats B: undecided (it changes with the seeds)"


def test_broken_arms_are_refused_with_a_reason():
    good, other = arms("factor", 3, 0.1)

    def changed(seed, value):
        return other.where(other.index != seed, value)

    refused = {
        "one seed": (good[:1], other[:1]),
        r"seeds \[104\] stand in one": (good, other[:4]),
        r"seeds \[100, 200\] stand in one": (good, other.rename({100: 200})),
        "a seed stands twice": (good, other.rename({101: 100})),
        r"seeds \[102\] have values that are NaN": (good, changed(102, np.nan)),
        r"seeds \[103\] have values .* infinite": (good, changed(103, np.inf)),
        "must be positive": (good, changed(103, 0.0)),
    }
    for reason, pair in refused.items():
        for treatment, control in (pair, pair[::-1]):
            with pytest.raises(ValueError, match=reason):
                verdict_of(treatment, control, "factor")


def test_unknown_units_and_directions_are_named():
    with pytest.raises(ValueError, match="unknown unit 'loss': choose one of accuracy"):
        verdict_of(*arms("accuracy", 3, 0.1), unit="loss")
    with pytest.raises(ValueError, match="not 'better'"):
        verdict_of(*arms("accuracy", 3, 0.1), claimed="better")


# --- the card and the record ---------------------------------------------------------


def card(unit="accuracy", **changes):
    values = {
        "claim": "A beats B", "verdict": "supported", "effect": 0.0123, "low": -0.0045,
        "high": 0.0291, "margin": MARGINS[unit], "unit": unit, "n_seeds": 7,
        "section": "x.ipynb#A",
    }  # fmt: skip
    return Verdict(**values | changes)


@pytest.mark.parametrize("verdict", SWAPPED)
def test_plain_text_is_claim_and_verdict(verdict):
    assert repr(card(verdict=verdict)) == f"A beats B: {verdict}"


@pytest.mark.parametrize(
    ("unit", "effect", "low", "high", "shown"),
    [
        ("accuracy", 0.0123, -0.0045, 0.0291, "+1.23|−0.45|+2.91|0.50 points"),
        ("time", np.log(1.5), np.log(0.8), np.log(2), "+50.0 %|−20.0 %|+100.0 %|10.0"),
        ("factor", np.log(2), np.log(0.5), np.log(8), "×2.00|×0.50|×8.00|×1.25"),
        (
            "factor",
            np.log(6.8e8),
            np.log(999),
            np.log(1e12),
            "×6.8·10⁸|×999.00|×1.0·10¹²",
        ),
        ("factor", np.log(3e-5), np.log(2e-12), 0, "×3.0·10⁻⁵|×2.0·10⁻¹²|×1.00"),
    ],
)
def test_html_adds_effect_interval_margin_and_seeds(unit, effect, low, high, shown):
    text = card(unit, effect=effect, low=low, high=high)._repr_html_()
    for piece in (*shown.split("|"), "A beats B", "supported", "7 paired&nbsp;seeds"):
        assert piece in text


def test_html_escapes_what_others_wrote():
    text = card(claim="<b>1 < 2 & 3</b>", reason="<i>")._repr_html_()
    assert "&lt;b&gt;1 &lt; 2 &amp; 3&lt;/b&gt;" in text
    assert "<i>" not in text


def test_the_record_holds_every_verdict_unrounded(tmp_path):
    given = [
        card(effect=1 / 3, low=-1e-17, high=np.nextafter(1, 2)),
        card(
            "time", claim='"Faster", they say: naïve', verdict="undecided", reason="?"
        ),
    ]
    verdicts.record(given, tmp_path)
    with (tmp_path / "verdicts.csv").open(newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    expected = "claim, verdict, effect, low, high, margin, unit, n_seeds, section"
    assert columns == expected.split(", ")
    for row, verdict in zip(rows, given, strict=True):
        values = [getattr(verdict, name) for name in columns]
        kinds = [type(value) for value in values]
        assert [kind(text) for kind, text in zip(kinds, row, strict=True)] == values


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    verdicts.record([card()], tmp_path)
    before = (tmp_path / "verdicts.csv").read_bytes()

    def disk_full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(OSError, match=r"cannot save verdicts\.csv"):
        verdicts.record([card(), card(claim="C")], tmp_path)
    assert (tmp_path / "verdicts.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


# --- from runs to values -------------------------------------------------------------

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
    table = verdicts.final(FRAME.iloc[order], "test_accuracy")
    expected = {"bn": {1: 0.91, 2: 0.94}, "plain": {1: 0.92, 2: 0.10}}
    assert table.to_dict() == expected


def test_final_does_not_hide_that_a_run_diverged():
    table = verdicts.final(FRAME, "validation_loss")
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
    assert verdicts.reach(FRAME, 0.95, at).to_dict() == expected


def test_reach_counts_every_run_at_its_budget_when_none_arrives():
    assert (verdicts.reach(FRAME, 0.99) == 20).all(axis=None)


def test_reach_does_not_take_a_clock_that_stopped_early_for_speed():
    lost = (FRAME["model"] == "plain") & (FRAME["seed"] == 1)
    table = verdicts.reach(FRAME.assign(diverged=lost), 0.95, "seconds")
    assert table.loc[1, "plain"] == np.inf


@pytest.mark.parametrize("read", [verdicts.final, verdicts.reach])
def test_several_settings_in_one_frame_are_refused(read):
    both = pd.concat([FRAME.assign(batch_size=size) for size in (16, 32)])
    with pytest.raises(ValueError, match="several settings"):
        read(both, {verdicts.final: "seconds", verdicts.reach: 0.95}[read])


def test_a_record_of_nothing_has_its_columns(tmp_path):
    verdicts.record([], tmp_path)
    assert (tmp_path / "verdicts.csv").read_text().startswith("claim,verdict,effect,")
