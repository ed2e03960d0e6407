"""The registry, the rule on synthetic data against SciPy, trials, cards, record."""

import errno
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from helpers import claims
from helpers.claims import MARGINS, Card, Claim, Registry, Sentence, t_interval

SWAPPED = {
    "supported": "contradicted",
    "contradicted": "supported",
    "no effect": "no effect",
    "undecided": "undecided",
}
UNITS = list(MARGINS)
REGISTRY = """
[sentences.first]
text = "It is better"
chapter = "results"

[claims.a-beats-b]
statement = "A beats B"
sentence = "first"
notebook = "03_a"
section = "1. A trial (Q2)"
measure = "test accuracy"
claimed = "higher"
unit = "accuracy"
primary = true

[claims.a-is-fast]
statement = "A is <fast>"
sentence = "first"
notebook = "03_a"
section = "1. A trial (Q2)"
measure = "seconds"
claimed = "lower"
unit = "time"
primary = false
"""

READ = claims.registry.__wrapped__  # the fixture replaces the module's own


def claim(key="a-beats-b", **changes):
    values = {
        "statement": "A beats B", "sentence": "first", "notebook": "03_a",
        "section": "1. A trial (Q2)", "measure": "it", "claimed": "higher",
        "unit": "accuracy", "primary": True,
    }  # fmt: skip
    return Claim(key=key, **values | changes)


def registered(*given):
    return Registry(
        {one.key: one for one in given},
        {"first": Sentence("first", "It is better", "results")},
    )


def on_record(claim, studies):
    """Make a record's effects: a list of values a replication, paired with .5."""
    rows = [
        (replication, "03_a", claim.key, 100 * replication + seed, 0.5 + value, 0.5)
        for replication, values in enumerate(studies)
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=claims.EFFECTS)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Make a repository with a registry, a notebook and no record."""
    (tmp_path / "notebooks").mkdir()
    cell = '{"cell_type": "markdown", "source": ["## 1. A trial (Q2)\\n", "text"]}'
    (tmp_path / "notebooks/03_a.ipynb").write_text(f'{{"cells": [{cell}]}}')
    (tmp_path / "claims.toml").write_text(REGISTRY)
    known = claims.registry(tmp_path / "claims.toml")
    monkeypatch.setattr(claims, "registry", lambda: known)
    monkeypatch.setattr(claims, "RECORD", tmp_path / "record")
    monkeypatch.setenv("BN_PLOTS", str(tmp_path / "plots"))
    monkeypatch.setenv("BN_RECORDS", str(tmp_path / "plots"))
    return tmp_path


def save(repository, effects):
    """Put effects and the verdicts derived from them on record."""
    folder = repository / "record"
    folder.mkdir(exist_ok=True)
    effects.to_csv(folder / "effects.csv", index=False)
    verdicts = claims.judge(effects, claims.registry())
    verdicts.to_csv(folder / "verdicts.csv", index=False)


# --- the registry --------------------------------------------------------------------


def test_the_registry_holds_claims_and_sentences_by_key(repository):
    known = claims.registry()
    assert list(known.claims) == ["a-beats-b", "a-is-fast"]
    assert known.sentences["first"] == Sentence("first", "It is better", "results")
    assert known.claims["a-beats-b"].link == "03_a.ipynb#1.-A-trial-(Q2)"


def test_a_sentence_speaks_for_batch_normalization_unless_it_is_a_limit(repository):
    path = repository / "claims.toml"
    assert not claims.results()["limit"].any()
    path.write_text(REGISTRY.replace('"results"\n', '"results"\nlimit = true\n'))
    assert READ(path).sentences["first"].limit


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"accuracy"', '"loss"', "'a-beats-b' has the unit 'loss': choose"),
        ('"higher"', '"better"', "'a-beats-b' has the claimed 'better': choose"),
        ('sentence = "first"', 'sentence = "x"', "'a-beats-b' has the sentence 'x'"),
        ('"03_a"', '"04_b"', "'04_b', which does not exist: name a file"),
        ("1. A trial", "2. A trial", "03_a.ipynb does not have: write a heading"),
        ("[claims.a-is-fast]", "[claims.a-beats-b]", "a key stands once"),
        ("[sentences.first]", "[sentences.x]\ntext='x'\nchapter='x'\n"
         "[sentences.first]", "the sentence 'x' has no claims: give it one"),
        ("primary = true", "", "'a-beats-b' must have exactly statement"),
        ("primary = true", "primary = 'yes'", "primary = 'yes': write true or false"),
        ('"A beats B"', '""', "statement = '': write a text"),
        ('"A beats B"', '"A is <fast>"', "'a-is-fast' have the same statement: say"),
        ('"results"\n', '"results"\nlimit = "x"\n', "limit = 'x': write true or"),
        ("[claims.a-is", "[claim.a-is", "claims.toml holds sentences, claims, claim"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named_with_its_remedy(repository, old, new, reason):
    path = repository / "claims.toml"
    path.write_text(REGISTRY.replace(old, new, 1))
    with pytest.raises(ValueError) as error:
        READ(path)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


# --- the rule ------------------------------------------------------------------------


def test_margins_are_those_of_the_rules_of_evidence():
    expected = {"accuracy": 0.005, "time": np.log(1.1), "factor": np.log(1.25)}
    assert pytest.approx(expected) == MARGINS


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.1, 9, "supported"),
        (-9, -1.1, "contradicted"),
        (-0.9, 0.9, "no effect"),
        (0.2, 0.9, "no effect"),
        (0.9, 1.1, "undecided"),
        (-1.1, -0.9, "undecided"),
        (-5, 5, "undecided"),
        (1, 2, "undecided"),  # on the margin is not beyond it
        (np.nan, np.nan, "undecided"),
    ],
)
def test_each_verdict_is_reached(low, high, verdict):
    assert claims.decide(low, high, 1) == verdict
    assert claims.decide(-high, -low, 1) == SWAPPED[verdict]


pairs = st.lists(st.tuples(*[st.floats(0.01, 100)] * 2), min_size=2, max_size=9)


@given(pairs, st.sampled_from(UNITS))
@settings(max_examples=200, deadline=None)
def test_swapping_the_arms_turns_the_effect(values, unit):
    treatment, control = pd.DataFrame(values).T.to_numpy()
    treatment, control = pd.Series(treatment), pd.Series(control)
    one = claim(unit=unit).effect(treatment, control)
    swapped = claim(unit=unit).effect(control, treatment)
    lower = claim(unit=unit, claimed="lower").effect(treatment, control)
    assert (one == -swapped).all()
    assert (one == -lower).all()


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("n", [2, 5, 10])
def test_the_interval_is_that_of_scipys_paired_t_test(unit, n):
    treatment, control = np.random.default_rng(n).uniform(0.5, 1, size=(2, n))
    effect = claim(unit=unit).effect(pd.Series(treatment), pd.Series(control))
    if unit != "accuracy":
        treatment, control = np.log(treatment), np.log(control)
    expected = stats.ttest_rel(treatment, control).confidence_interval(0.95)
    assert t_interval(effect) == pytest.approx(tuple(expected), rel=1e-9)


def test_the_interval_covers_the_truth_in_95_percent_of_studies():
    truth, studies = MARGINS["accuracy"], 4000
    runs = np.random.default_rng(0).normal(truth, 0.003, size=(studies, 5))
    intervals = np.array([t_interval(study) for study in runs])
    covered = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])
    error = np.sqrt(0.95 * 0.05 / studies)
    assert abs(covered.mean() - 0.95) < 3 * error
    # A truth on the margin is no more than it takes: called supported in 2.5 %.
    supported = np.mean([claims.decide(*i, truth) == "supported" for i in intervals])
    assert abs(supported - 0.025) < 3 * np.sqrt(0.025 * 0.975 / studies)


def test_the_interval_of_fewer_than_two_values_is_nan():
    assert np.isnan(t_interval([])).all()
    assert np.isnan(t_interval([1.0])).all()


def test_an_estimate_is_mean_and_half_of_the_interval():
    # The t quantile for two degrees of freedom is 4.303, the standard error 1 / √3.
    assert claims.estimate(pd.Series([1.0, 2.0, 3.0])) == "2.0000 ± 2.4841"
    assert claims.estimate(pd.Series([1.0, 2.0, 3.0]), 0) == "2 ± 2"


# --- the record ----------------------------------------------------------------------


def test_verdicts_rest_on_the_means_of_replications():
    one = claim()
    # Within a replication seeds agree, between replications they do not.
    effects = on_record(one, [[0.02] * 5, [-0.02] * 5, [0.03] * 5, [-0.01] * 5])
    (row,) = claims.judge(effects, registered(one)).to_dict("records")
    test = stats.ttest_1samp([0.02, -0.02, 0.03, -0.01], 0)
    assert row["effect"] == pytest.approx(0.005)
    ends = tuple(test.confidence_interval(0.95))
    assert (row["low"], row["high"]) == pytest.approx(ends)
    assert row["verdict"] == "undecided"
    assert (row["n_replications"], row["n_seeds"]) == (4, 20)
    assert row["same_verdict"] == 0
    assert row["wrong_sign"] == 0.5


def test_shares_count_replications_and_seeds():
    one = claim()
    near = [0.02, 0.021, 0.022, 0.023, 0.024]
    effects = on_record(one, [near, near, near, [0.5, -0.4, 0.1, 0.0, -0.09]])
    (row,) = claims.judge(effects, registered(one)).to_dict("records")
    assert row["verdict"] == "supported"
    assert row["same_verdict"] == 0.75
    assert row["wrong_sign"] == 2 / 20


def test_effects_of_zero_point_nowhere():
    one = claim()
    effects = on_record(one, [[0.0] * 5] * 3)
    (row,) = claims.judge(effects, registered(one)).to_dict("records")
    assert (row["verdict"], row["wrong_sign"]) == ("no effect", 0)


@pytest.mark.parametrize("mean", [0.02, -0.02, 0.0])
def test_p_is_that_of_scipys_one_sided_test_against_the_margin(mean):
    one, noise = claim(), np.random.default_rng(1).normal(mean, 0.002, size=(6, 5))
    (row,) = claims.judge(on_record(one, noise), registered(one)).to_dict("records")
    means = noise.mean(axis=1)
    expected = {
        "supported": lambda: stats.ttest_1samp(means, 0.005, alternative="greater"),
        "contradicted": lambda: stats.ttest_1samp(means, -0.005, alternative="less"),
        "no effect": lambda: stats.ttest_1samp(
            means, np.copysign(0.005, means.mean()),
            alternative="less" if means.mean() > 0 else "greater",
        ),
    }[row["verdict"]]().pvalue  # fmt: skip
    assert row["p"] == pytest.approx(expected)
    assert row["p"] < 0.025


def test_corrections_are_holms_for_primary_claims_and_bhs_for_all():
    generator, many = np.random.default_rng(2), []
    for index in range(12):
        many.append(claim(f"c{index}", primary=index % 3 == 0))
    effects = pd.concat(
        [
            on_record(one, generator.normal(0.003 * index, 0.006, size=(5, 5)))
            for index, one in enumerate(many)
        ]
    )
    table = claims.judge(effects, registered(*many)).set_index("claim")
    primary = table["p"][[one.key for one in many if one.primary]].sort_values()
    worst = 0
    for index, (key, p) in enumerate(primary.items()):
        worst = max(worst, min(1, p * (len(primary) - index)))
        assert table.loc[key, "holm"] == pytest.approx(worst)
    others = [one.key for one in many if not one.primary]
    assert table.loc[others, "holm"].isna().all()
    ranks = table["p"].rank(method="first")
    for key in table.index:
        at_least = table["p"] >= table.loc[key, "p"]
        expected = (table["p"] * len(table) / ranks)[at_least].min()
        assert table.loc[key, "bh"] == pytest.approx(min(1, expected))


def test_what_is_not_registered_or_on_time_is_not_judged():
    one, other = claim(), claim("other")
    effects = pd.concat([on_record(c, [[0.1] * 5] * 3) for c in (one, other)])
    table = claims.judge(effects, registered(one, replace(other, unit="time")))
    assert table["claim"].tolist() == ["a-beats-b"]
    assert claims.judge(effects, registered(claim("new"))).empty
    single = on_record(one, [[0.1] * 5])
    assert claims.judge(single, registered(one)).empty, "one replication is none"


def test_results_read_record_and_time(repository):
    save(repository, on_record(claim(), [[0.02, 0.021, 0.022]] * 3))
    treatment, control = pd.Series([2.0, 2.1, 2.2]), pd.Series([1.0, 1.0, 1.1])
    claims.Trials("03_a")("a-is-fast", treatment, control)
    table = claims.results()
    assert table["verdict"].tolist() == ["supported", "contradicted"]
    assert table["n_replications"].tolist() == [3, 1]
    assert table.loc["a-beats-b", "chapter"] == "results"
    assert claims.results("05_c").empty
    answer = claims.sentences().loc["first", "stands"]
    assert answer == "stands", "a claim on time was counted"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["supported", "undecided"], "stands"),
        (["contradicted", "no effect", "undecided"], "does not stand"),
        (["supported", "no effect"], "depends"),
        (["supported", "contradicted", "undecided"], "depends"),
        (["undecided"], "undecided"),
        ([], "measured anew"),
    ],
)
def test_whether_a_sentence_stands_is_derived(verdicts, expected):
    assert claims.stands(verdicts) == expected


# --- trials --------------------------------------------------------------------------


def arms(n=5):
    control = pd.Series(np.linspace(0.5, 0.9, n), index=range(100, 100 + n))
    return control + np.linspace(0.01, 0.03, n), control


def test_a_trial_keeps_its_values_once_however_often_it_runs(repository, capsys):
    trials = claims.Trials("03_a")
    trials("a-beats-b", *arms())
    once = (repository / "plots/03_a/effects.csv").read_bytes()
    trials("a-beats-b", *arms())
    assert (repository / "plots/03_a/effects.csv").read_bytes() == once
    saved = pd.read_csv(repository / "plots/03_a/effects.csv")
    assert list(saved.columns) == ["claim", "seed", "treatment", "control"]
    assert saved["seed"].tolist() == list(range(100, 105))
    assert saved["treatment"].tolist() == arms()[0].tolist(), "rounded"
    assert capsys.readouterr().out == "A beats B: not on record\n" * 2


def test_the_order_of_the_trials_does_not_matter(repository):
    for keys in (["a-beats-b", "a-is-fast"], ["a-is-fast", "a-beats-b"]):
        trials = claims.Trials("03_a")
        for key in keys:
            trials(key, *arms())
        saved = pd.read_csv(repository / "plots/03_a/effects.csv")
        assert saved["claim"].unique().tolist() == ["a-beats-b", "a-is-fast"]


def test_broken_arms_are_refused_with_a_reason(repository):
    good, other = arms()

    def changed(seed, value):
        return other.where(other.index != seed, value)

    refused = {
        "has one seed": (good[:1], other[:1]),
        r"seeds \[104\] stand in one": (good, other[:4]),
        r"seeds \[100, 200\] stand in one": (good, other.rename({100: 200})),
        "a seed stands twice": (good, other.rename({101: 100})),
        r"seeds \[102\] have values that are NaN": (good, changed(102, np.nan)),
        r"seeds \[103\] have values .* infinite": (good, changed(103, np.inf)),
        "must be positive": (good, changed(103, 0.0)),
    }
    trials = claims.Trials("03_a")
    for reason, pair in refused.items():
        for treatment, control in (pair, pair[::-1]):
            with pytest.raises(ValueError, match=reason):
                trials("a-is-fast", treatment, control)
    assert not (repository / "plots/03_a/effects.csv").exists()


def test_what_is_not_registered_cannot_be_tried(repository):
    with pytest.raises(ValueError, match="no claim 'other' of '03_a': register it"):
        claims.Trials("03_a")("other", *arms())
    with pytest.raises(ValueError, match="no claim of '05_c': register one"):
        claims.Trials("05_c")


def test_values_that_cannot_be_written_leave_the_old_ones(repository, monkeypatch):
    trials = claims.Trials("03_a")
    trials("a-beats-b", *arms())
    folder = repository / "plots/03_a"
    before = (folder / "effects.csv").read_bytes()

    def disk_full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(OSError, match=r"cannot save effects\.csv"):
        trials("a-is-fast", *arms())
    assert (folder / "effects.csv").read_bytes() == before
    assert len(list(folder.iterdir())) == 1


def test_an_experiment_with_its_arms_swapped_does_not_agree(repository, capsys):
    generator = np.random.default_rng(0)
    save(repository, on_record(claim(), generator.normal(0.05, 0.01, size=(10, 5))))
    treatment, control = arms()
    treatment = control + 0.05
    trials = claims.Trials("03_a")
    trials("a-beats-b", treatment, control)
    trials("a-beats-b", control, treatment)
    assert capsys.readouterr().out.splitlines() == [
        "A beats B: supported (this run agrees)",
        "A beats B: supported (this run does not agree)",
    ]


def test_a_new_replication_agrees_almost_always():
    generator = np.random.default_rng(1)
    draws = generator.standard_t(9, size=200_000)
    # The standardized distance of a new mean follows t with nine degrees of freedom.
    quantile = stats.t.ppf(1 - claims.OUTSIDE / 2, 9)
    assert np.mean(abs(draws) > quantile) < 10 * claims.OUTSIDE
    means = pd.Series(np.linspace(-1, 1, 10))
    edge = quantile * means.std() * np.sqrt(1.1)
    assert claims.agree(edge + 0.9, means, 1)
    assert not claims.agree(edge + 1.1, means, 1)
    assert not claims.agree(-edge - 1.1, means, 1)


# --- cards ---------------------------------------------------------------------------


def card(unit="accuracy", agrees=True, record=True, **changes):
    row = {
        "verdict": "supported", "effect": 0.0123, "low": -0.0045, "high": 0.0291,
        "n_replications": 10,
    }  # fmt: skip
    return Card(
        claim(unit=unit),
        row | changes if record else None,
        pd.Series([0.01, 0.02, 0.03]),
        agrees,
    )


def test_plain_text_is_statement_verdict_and_agreement():
    assert repr(card()) == "A beats B: supported (this run agrees)"
    assert repr(card(agrees=False)).endswith("(this run does not agree)")
    assert repr(card(record=False, agrees=None)) == "A beats B: not on record"
    anew = card("time", record=False, agrees=None)
    assert repr(anew) == "A beats B: measured anew, not on record"


@pytest.mark.parametrize(
    ("unit", "effect", "low", "high", "shown"),
    [
        ("accuracy", 0.0123, -0.0045, 0.0291, "+1.23|−0.45|+2.91|margin 0.50 points"),
        ("factor", np.log(2), np.log(0.5), np.log(8), "×2.00|×0.50|×8.00|margin ×1.25"),
        (
            "factor",
            np.log(6.8e8),
            np.log(999),
            np.log(1e12),
            "×6.8·10⁸|×999.00|×1.0·10¹²",
        ),
        ("factor", np.log(0.0486), np.log(0.0458), 0, "×0.049|×0.046|×1.00"),
        ("factor", np.log(3e-5), np.log(2e-12), 0, "×3.0·10⁻⁵|×2.0·10⁻¹²|×1.00"),
    ],
)
def test_html_shows_the_record_and_this_run(unit, effect, low, high, shown):
    text = card(unit, effect=effect, low=low, high=high)._repr_html_()
    for piece in (*shown.split("|"), "A beats B", "supported", "10 replications"):
        assert piece in text
    assert "this run agrees" in text
    assert "3 paired seeds" in text
    assert claims.describe(0.02, unit) in text


def test_no_effect_known_is_a_dash():
    assert [claims.describe(np.nan, unit) for unit in UNITS] == ["–"] * 3


def test_html_of_time_has_a_verdict_of_its_own():
    text = card("time", record=False, agrees=None)._repr_html_()
    assert "no effect" in text
    assert "measured anew" in text
    text = card(record=False, agrees=None)._repr_html_()
    assert "Not on record" in text
    assert "undecided" not in text


def test_html_escapes_what_others_wrote():
    one = replace(card(), claim=claim(statement="<b>1 < 2 & 3</b>"))
    assert "&lt;b&gt;1 &lt; 2 &amp; 3&lt;/b&gt;" in one._repr_html_()


def test_a_card_draws_the_interval_on_record_and_says_where_it_lies():
    text = card(low=0.006, high=0.02, effect=0.013)._repr_html_()
    said = claims.place(0.006, 0.02, MARGINS["accuracy"])
    picture = claims.interval_bar(
        0.013, 0.006, 0.02, MARGINS["accuracy"], card().record["verdict"]
    )
    assert f"{picture} {said}" in text
    # Where nothing is on record, it is the interval of this run.
    unknown = card(record=False, agrees=None)
    low, high = t_interval(unknown.effects)
    assert claims.place(low, high, MARGINS["accuracy"]) in unknown._repr_html_()


# --- where an interval lies ----------------------------------------------------------

PLACES = {
    "supported": "the whole interval lies beyond the margin, in the claimed direction",
    "contradicted": "the whole interval lies beyond the margin, the other way",
    "no effect": "the whole interval lies inside the margin",
    "no effect, not zero": "the whole interval lies inside the margin, though not at "
    "zero",
    "undecided": "the interval holds zero and reaches beyond the margin",
    "undecided, not zero": "the direction is clear, whether it exceeds the margin is "
    "not",
}


@pytest.mark.parametrize(
    ("low", "high", "case"),
    [
        (1.1, 9, "supported"),
        (-9, -1.1, "contradicted"),
        (-0.5, 0.9, "no effect"),
        (0, 0.9, "no effect"),
        (0, 0, "no effect"),
        (0.2, 0.9, "no effect, not zero"),
        (-0.9, -0.2, "no effect, not zero"),
        (-5, 5, "undecided"),
        (-0.5, 1.1, "undecided"),
        (-1.1, 0, "undecided"),
        (0.9, 1.1, "undecided, not zero"),
        (-3, -0.2, "undecided, not zero"),
        (1, 2, "undecided, not zero"),  # on the margin is not beyond it
    ],
)
def test_words_say_where_an_interval_lies(low, high, case):
    assert claims.place(low, high, 1) == PLACES[case]
    assert claims.place(low / 200, high / 200, MARGINS["accuracy"]) == PLACES[case]


ends = st.tuples(*[st.floats(-1e6, 1e6)] * 2).map(sorted)
margins = st.sampled_from(list(MARGINS.values()))


@given(ends, margins)
@settings(max_examples=300, deadline=None)
def test_the_words_agree_with_the_verdict_and_turn_with_the_sign(interval, margin):
    low, high = interval
    verdict, said = claims.decide(low, high, margin), claims.place(low, high, margin)
    assert said in (PLACES[verdict], PLACES.get(f"{verdict}, not zero"))
    assert ("not" in said.split()) == (
        verdict in ("no effect", "undecided") and not low <= 0 <= high
    )
    turned = claims.place(-high, -low, margin)
    if verdict in ("supported", "contradicted"):
        assert turned == PLACES[SWAPPED[verdict]]
    else:
        assert turned == said


def drawn(effect, low, high, margin, verdict="undecided") -> dict:
    """Return the pieces of an interval's picture, by name: start, width and style."""
    text = claims.interval_bar(effect, low, high, margin, verdict)
    picture = BeautifulSoup(text, "html.parser").span
    names = ("band", "zero", "interval", "dot")
    found = {}
    for name, piece in zip(names, picture.select("span"), strict=True):
        left, width = re.search(
            r"left:([\d.]+)%;width:([\d.]+)%", piece["style"]
        ).groups()
        found[name] = float(left), float(width), piece["style"]
    return found | {"said": picture["aria-label"], "role": picture["role"]}


def percent(value: float, margin: float) -> float:
    """Where a value belongs on the axis: 0 to 100, written without NumPy's arcsinh."""

    def stretched(x: float) -> float:
        return math.copysign(math.log(abs(x) + math.sqrt(x * x + 1)), x)

    share = stretched(value / margin) / stretched(claims.FARTHEST)
    return 50 + 50 * max(-1.0, min(1.0, share))


ROUNDED = 0.051  # places are written with one decimal


@given(ends, margins, st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_pieces_stand_where_the_formula_puts_them(interval, margin, share):
    low, high = interval
    effect = low + share * (high - low)
    pieces = drawn(effect, low, high, margin)
    for name, start, end in (
        ("band", -margin, margin),
        ("zero", 0, 0),
        ("interval", low, high),
        ("dot", effect, effect),
    ):
        left, width, _ = pieces[name]
        right = percent(end, margin)
        assert left == pytest.approx(percent(start, margin), abs=ROUNDED), name
        assert left + width == pytest.approx(right, abs=2 * ROUNDED), name
        assert 0 <= left <= left + width <= 100 + ROUNDED, name
    assert pieces["said"] == claims.place(low, high, margin)
    assert pieces["role"] == "img"


def test_the_axis_is_the_same_for_all_claims_and_zero_its_middle():
    for margin in MARGINS.values():
        pieces = drawn(0, -margin, 100 * margin, margin)
        assert pieces["zero"][:2] == (50, 0)
        assert pieces["band"][0] == pytest.approx(41.7, abs=ROUNDED)
        assert pieces["interval"][0] == pieces["band"][0]
        assert sum(pieces["interval"][:2]) == pytest.approx(100, abs=ROUNDED)


def test_what_lies_beyond_the_axis_is_cut_at_its_ends():
    margin = 0.005
    pieces = drawn(1e4, -1e5, 1e6, margin)
    assert pieces["interval"][:2] == (0, 100)
    assert pieces["dot"][0] == 100
    far = drawn(2e5, 1e5, 1e6, margin)
    assert far["interval"][:2] == (100, 0)
    # A line of no width is still seen.
    assert "min-width:2px" in far["interval"][2]


@pytest.mark.parametrize("verdict", claims.VERDICT_COLOURS)
def test_interval_and_dot_wear_the_verdicts_colour_and_the_band_does_not(verdict):
    pieces = drawn(0.01, 0.006, 0.02, 0.005, verdict)
    colour = claims.VERDICT_COLOURS[verdict]
    for name in ("interval", "dot"):
        assert f"background:{colour};" in pieces[name][2]
    assert colour not in pieces["band"][2] + pieces["zero"][2]
