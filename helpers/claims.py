"""Claims: what is registered, the rule that judges it, the trials, and the record.

A claim is registered in ``claims.toml`` before it is replicated. A notebook tries it,

    trials = claims.Trials("06_benefits_on_trial")
    trials("larger-rates", treatment, control)

and shows what stands on record, which ``make replicate`` writes, beside its own run.
"""

import html
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
import pandas as pd
from IPython.display import display
from scipy import stats

from helpers import files

REGISTRY = files.ROOT / "claims.toml"
RECORD = files.ROOT / "record"
# The smallest effect that matters, by unit. Ratios (time, factor) are judged on the
# natural-log scale, where swapping the arms only changes the sign.
MARGINS = {"accuracy": 0.005, "time": np.log(1.10), "factor": np.log(1.25)}
VERDICT_COLOURS = {
    "supported": "#0b6e4f",
    "contradicted": "#9d2235",
    "no effect": "#4a4a4a",
    "undecided": "#7a5200",
}
DIRECTIONS = ("higher", "lower")
MEASURED_ANEW = "time"  # the unit that no record can hold: it is the machine's
ARMS = ("treatment", "control")
EFFECTS = ["replication", "notebook", "claim", "seed", *ARMS]
FARTHEST = 100  # margins, where the axis of :func:`interval_bar` ends
OUTSIDE = 1e-5  # share of a replication's means that the prediction interval misses


# --- the registry --------------------------------------------------------------------


@dataclass(frozen=True)
class Sentence:
    """A sentence of the textbooks, which stands or falls with its claims."""

    key: str
    text: str
    chapter: str
    limit: bool = False  # whether it speaks against batch normalization


@dataclass(frozen=True)
class Claim:
    """A claim on trial: the treatment's values are ``claimed`` than the control's."""

    key: str
    statement: str
    sentence: str
    notebook: str
    section: str
    measure: str
    claimed: str
    unit: str
    primary: bool

    @property
    def margin(self) -> float:
        """The smallest effect that matters, on the scale of :meth:`effect`."""
        return float(MARGINS[self.unit])

    @property
    def link(self) -> str:
        """Where it is tried, as ``notebook.ipynb#Heading``."""
        return f"{self.notebook}.ipynb#{self.section.replace(' ', '-')}"

    def effect(self, treatment: pd.Series, control: pd.Series) -> pd.Series:
        """Paired differences, positive in the claimed direction; logs of ratios."""
        if self.unit != "accuracy":
            treatment, control = np.log(treatment), np.log(control)
        return (treatment - control) * (1 if self.claimed == "higher" else -1)


Entry = TypeVar("Entry", Claim, Sentence)


@dataclass(frozen=True)
class Registry:
    """All claims and all sentences, by key."""

    claims: Mapping[str, Claim]
    sentences: Mapping[str, Sentence]


@lru_cache
def registry(path: Path = REGISTRY) -> Registry:
    """Read the registry and check it.

    Raises
    ------
    ValueError
        If an entry is wrong; names its key and what to do.
    """
    name = path.name
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(
            f"{name} cannot be read ({error}): a key stands once, a text in quotes"
        ) from None
    if set(tables) != {"claims", "sentences"}:
        raise ValueError(
            f"{name} holds {', '.join(tables) or 'nothing'}: write tables "
            "[claims.<key>] and [sentences.<key>], nothing else"
        )
    sentences = {
        key: _entry(Sentence, key, table, name)
        for key, table in tables["sentences"].items()
    }
    claims = {
        key: _entry(Claim, key, table, name) for key, table in tables["claims"].items()
    }
    for claim in claims.values():
        _check(claim, sentences, name, path.parent / "notebooks")
    statements: dict[str, str] = {}
    for key, claim in claims.items():
        other = statements.setdefault(claim.statement, key)
        if other != key:
            raise ValueError(
                f"{name}: the claims {other!r} and {key!r} have the same statement: "
                "say in each what is its own"
            )
    tried = {claim.sentence for claim in claims.values()}
    for key in sentences:
        if key not in tried:
            raise ValueError(
                f"{name}: the sentence {key!r} has no claims: give it one, or remove it"
            )
    return Registry(claims, sentences)


def _entry(kind: type[Entry], key: str, table: Mapping, name: str) -> Entry:
    types = get_type_hints(kind)
    del types["key"]
    optional = {f.name for f in fields(kind) if f.default is not MISSING}
    needed = [field for field in types if field not in optional]
    title = f"{name}: the {kind.__name__.lower()} {key!r}"
    if not isinstance(table, Mapping) or set(table) - optional != set(needed):
        raise ValueError(f"{title} must have exactly {', '.join(needed)}")
    for field, value in table.items():
        if not isinstance(value, types[field]) or value == "":
            raise ValueError(
                f"{title} has {field} = {value!r}: "
                + ("write true or false" if types[field] is bool else "write a text")
            )
    return kind(key=key, **table)


def _check(claim: Claim, sentences: Mapping, name: str, notebooks: Path) -> None:
    title = f"{name}: the claim {claim.key!r}"
    for field, valid in {
        "unit": MARGINS,
        "claimed": DIRECTIONS,
        "sentence": sentences,
    }.items():
        value = getattr(claim, field)
        if value not in valid:
            choice = "one that is registered" if field == "sentence" else list(valid)
            raise ValueError(f"{title} has the {field} {value!r}: choose {choice}")
    path = notebooks / f"{claim.notebook}.ipynb"
    if not path.is_file():
        raise ValueError(
            f"{title} names the notebook {claim.notebook!r}, which does not exist: "
            "name a file of notebooks/ without its ending"
        )
    if claim.section not in _headings(path):
        raise ValueError(
            f"{title} names the section {claim.section!r}, which {path.name} does not "
            "have: write a heading of it word for word"
        )


@lru_cache
def _headings(path: Path) -> set[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    lines = [line for text in texts for line in text.splitlines()]
    return {line.lstrip("#").strip() for line in lines if line.startswith("#")}


# --- the rule ------------------------------------------------------------------------


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


def estimate(values: pd.Series, digits: int = 4) -> str:
    """Mean over seeds and half of its 95 % interval, as text for a table."""
    low, high = t_interval(values)
    return f"{values.mean():.{digits}f} ± {(high - low) / 2:.{digits}f}"


def decide(low: float, high: float, margin: float) -> str:
    """Return what the 95 % interval of an effect says of a claim.

    Wholly beyond the margin in the claimed direction, *supported*; wholly beyond it
    the other way, *contradicted*; wholly within ± the margin, *no effect*; else
    *undecided*.
    """
    if low > margin:
        return "supported"
    if high < -margin:
        return "contradicted"
    if -margin < low and high < margin:
        return "no effect"
    return "undecided"


def stands(verdicts: Iterable[str]) -> str:
    """Return whether a sentence stands, from the verdicts of its claims.

    It stands if all decided claims are supported, does not if all are contradicted or
    without effect, depends if there are both kinds, and is undecided if none is. If no
    claim is on record, because all are on time, the sentence is measured anew.
    """
    verdicts = set(verdicts)
    if not verdicts:
        return "measured anew"
    decided = verdicts - {"undecided"}
    if not decided:
        return "undecided"
    if decided == {"supported"}:
        return "stands"
    return "depends" if "supported" in decided else "does not stand"


# --- the record ----------------------------------------------------------------------


def read_effects(path: Path) -> pd.DataFrame:
    """Values on record, a row per replication, claim and seed; none without a file.

    Raises
    ------
    ValueError
        If it is not what ``make replicate`` writes.
    """
    types = {"replication": int, "notebook": str, "claim": str, "seed": int}
    types |= dict.fromkeys(ARMS, float)
    if not path.is_file():
        return pd.DataFrame(columns=EFFECTS).astype(types)
    try:
        frame = pd.read_csv(path, dtype=types)
        if list(frame.columns) != EFFECTS:
            raise ValueError(f"its columns are {', '.join(frame.columns)}")
        if frame.duplicated(["replication", "claim", "seed"]).any():
            raise ValueError("a seed stands twice in a replication of a claim")
        if not np.isfinite(frame[["treatment", "control"]]).all(axis=None):
            raise ValueError("a value is missing or infinite")
    except ValueError as error:
        raise ValueError(
            f"record/{path.name} is damaged ({error}): restore it with `git checkout "
            "-- record`, or remove it and run make replicate"
        ) from None
    return frame


def judge(effects: pd.DataFrame, registered: Registry) -> pd.DataFrame:
    """Verdicts on all claims that two replications or more have tried.

    Parameters
    ----------
    effects : rows as :func:`read_effects` returns them; those of claims that are not
        registered, or are measured anew on each machine, are left out.
    registered : what is claimed of them.

    Returns
    -------
    A row a claim, in the order of the registry: ``verdict`` by :func:`decide` from the
    t interval ``low`` to ``high`` of the mean ``effect`` over the replications' means;
    ``margin``, ``unit``, ``n_replications``, ``n_seeds`` (in all); ``same_verdict``,
    share of replications whose own seeds give this verdict; ``wrong_sign``, share of
    single seeds whose effect points the other way; ``p``, one-sided, against the
    margin: of an effect not beyond it (for *no effect*, not within it), to be compared
    with .025; ``holm`` and ``bh``, the same after Holm's correction for the primary
    claims and Benjamini and Hochberg's for all.
    """
    by_claim = dict(list(effects.groupby("claim")))
    rows = [
        _judged(claim, by_claim[claim.key])
        for claim in registered.claims.values()
        if claim.unit != MEASURED_ANEW
        and claim.key in by_claim
        and by_claim[claim.key]["replication"].nunique() > 1
    ]
    columns = (
        "claim verdict effect low high margin unit n_replications n_seeds "
        "same_verdict wrong_sign p"
    )
    frame = pd.DataFrame(rows, columns=columns.split())
    primary = frame["claim"].map(lambda key: registered.claims[key].primary)
    frame["holm"] = _holm(frame["p"][primary.astype(bool)]).reindex(frame.index)
    frame["bh"] = stats.false_discovery_control(frame["p"]) if len(frame) else []
    return frame


def _judged(claim: Claim, runs: pd.DataFrame) -> dict[str, Any]:
    """Verdict on one claim by its rows of two replications or more."""
    differences = claim.effect(runs["treatment"], runs["control"])
    studies = differences.groupby(runs["replication"])
    means = studies.mean()
    low, high = t_interval(means)
    verdict = decide(low, high, claim.margin)
    alone = [decide(*t_interval(study), claim.margin) for _, study in studies]
    return {
        "claim": claim.key,
        "verdict": verdict,
        "effect": means.mean(),
        "low": low,
        "high": high,
        "margin": claim.margin,
        "unit": claim.unit,
        "n_replications": len(means),
        "n_seeds": len(differences),
        "same_verdict": np.mean([one == verdict for one in alone]),
        "wrong_sign": (differences * means.mean() < 0).mean(),
        "p": _p_value(means, claim.margin, verdict),
    }


def _p_value(means: pd.Series, margin: float, verdict: str) -> float:
    beyond = abs(means.mean()) - margin
    if verdict == "no effect":
        beyond = -beyond
    error = stats.sem(means)
    if error == 0:
        return float(beyond <= 0)
    return float(stats.t.sf(beyond / error, len(means) - 1))


def _holm(p_values: pd.Series) -> pd.Series:
    """Adjust p-values by Holm (1979): step down, never below the one before."""
    ordered = p_values.sort_values()
    steps = ordered * np.arange(len(ordered), 0, -1)
    return steps.cummax().clip(upper=1)


def effects_on_record() -> pd.DataFrame:
    """Each ``effect`` on record, by ``claim``, ``replication`` and ``seed``.

    In the claimed direction, on the scale of the margins; of registered claims.
    """
    effects, known = read_effects(RECORD / "effects.csv"), registry().claims
    runs = dict(list(effects.groupby("claim")))
    found = [
        runs[key].assign(effect=claim.effect(*map(runs[key].get, ARMS)))
        for key, claim in known.items()
        if key in runs
    ]
    columns = ["claim", "replication", "seed", "effect"]
    return pd.concat(found)[columns] if found else pd.DataFrame(columns=columns)


def recorded() -> pd.DataFrame:
    """Verdicts on record, by key; those of :func:`judge`, as they stand in the file."""
    path = RECORD / "verdicts.csv"
    if not path.is_file():
        return judge(read_effects(RECORD / "effects.csv"), registry()).set_index(
            "claim"
        )
    return pd.read_csv(path).set_index("claim")


def results(notebook: str | None = None) -> pd.DataFrame:
    """All that is known of the claims, or of one notebook's: the only reader of both.

    Returns
    -------
    A row a claim, by key, in the order of the registry: the fields of :class:`Claim`,
    its ``link``, the ``text``, ``chapter`` and ``limit`` of its sentence, and the
    columns of :func:`judge`. Claims on time are not on record: their verdict is that
    of the seeds the notebook ran (``n_replications`` is 1). What has not been tried
    is *undecided*, without an effect.
    """
    known, registered = recorded(), registry()
    rows = []
    for key, claim in registered.claims.items():
        if notebook not in (None, claim.notebook):
            continue
        sentence = registered.sentences[claim.sentence]
        row = vars(claim) | {"link": claim.link, "claim": key}
        row |= {"text": sentence.text, "chapter": sentence.chapter}
        row |= {"limit": sentence.limit}
        row |= {"verdict": "undecided", "margin": claim.margin, "n_replications": 0}
        if claim.unit == MEASURED_ANEW:
            row |= _measured_here(claim)
        elif key in known.index:
            row |= known.loc[key].to_dict()
        rows.append(row)
    columns = ["claim", *(field.name for field in fields(Claim)), "link", "text"]
    columns = list(dict.fromkeys([*columns, "chapter", "limit", *known.columns]))
    return pd.DataFrame(rows, columns=columns).set_index("claim")


def _measured_here(claim: Claim) -> dict:
    path = files.records() / claim.notebook / "effects.csv"
    runs = pd.read_csv(path) if path.is_file() else pd.DataFrame({"claim": []})
    runs = runs[runs["claim"] == claim.key]
    if runs.empty:
        return {}
    differences = claim.effect(runs["treatment"], runs["control"])
    low, high = t_interval(differences)
    return {
        "verdict": decide(low, high, claim.margin),
        "effect": differences.mean(),
        "low": low,
        "high": high,
        "n_replications": 1,
        "n_seeds": len(differences),
    }


def sentences() -> pd.DataFrame:
    """Whether each sentence stands: ``text``, ``chapter``, ``stands``, by key.

    Claims on time are left out: one machine's run is no replication.
    """
    known = results()
    known = known[known["unit"] != MEASURED_ANEW]
    rows = {
        key: {
            "text": sentence.text,
            "chapter": sentence.chapter,
            "stands": stands(known.loc[known["sentence"] == key, "verdict"]),
        }
        for key, sentence in registry().sentences.items()
    }
    return pd.DataFrame(rows).T.rename_axis("sentence")


# --- trials and their cards ----------------------------------------------------------


@dataclass(frozen=True)
class Card:
    """What stands on record of a claim, and what this run found."""

    claim: Claim
    record: Mapping | None  # a row of :func:`judge`
    effects: pd.Series  # of this run, by seed
    agrees: bool | None  # none where there is nothing to agree with

    def __repr__(self) -> str:
        """Statement, verdict on record, agreement: the same text on every machine."""
        if self.claim.unit == MEASURED_ANEW:
            return f"{self.claim.statement}: measured anew, not on record"
        if self.record is None:
            return f"{self.claim.statement}: not on record"
        agrees = "agrees" if self.agrees else "does not agree"
        return f"{self.claim.statement}: {self.record['verdict']} (this run {agrees})"

    def _repr_html_(self) -> str:
        unit, lines = self.claim.unit, []
        effects = self.effects
        here = (effects.mean(), *t_interval(effects))
        verdict = decide(*here[1:], self.claim.margin)
        margin = describe(self.claim.margin, unit, sign=False)
        known = here
        if self.record is not None:
            verdict, on_record = self.record["verdict"], self.record
            known = (on_record["effect"], on_record["low"], on_record["high"])
            lines.append(
                f"{_pill(verdict)} on record: effect {_said(*known, unit)} · margin "
                f"{margin} · {int(on_record['n_replications'])} replications"
            )
            agrees = "agrees" if self.agrees else "<b>does not agree</b>"
            lines.append(
                f"this run {agrees}: {_said(*here, unit)} · {len(effects)} paired seeds"
            )
        else:
            anew = unit == MEASURED_ANEW
            status = f"{_pill(verdict)} measured anew" if anew else "Not on record"
            lines.append(
                f"{status}; this run: effect {_said(*here, unit)} · margin {margin} · "
                f"{len(effects)} paired seeds"
            )
            verdict = verdict if anew else "undecided"
        picture = interval_bar(*known, self.claim.margin, verdict)
        lines.insert(1, f"{picture} {place(*known[1:], self.claim.margin)}")
        body = "".join(f"<div>{line}</div>" for line in lines)
        return (
            f'<div class="bn-verdict" style="{bar(verdict)};'
            'padding:.5em 1em;margin:.6em 0;max-width:46em;line-height:1.5">'
            f"<div><b>{html.escape(self.claim.statement)}</b></div>{body}</div>"
        )


class Trials:
    """The trials of one notebook: shows a card for each, and keeps its values.

    Raises
    ------
    ValueError
        If nothing is registered for the notebook.
    """

    def __init__(self, notebook: str):
        every = registry().claims
        self.claims = {key: c for key, c in every.items() if c.notebook == notebook}
        if not self.claims:
            raise ValueError(
                f"claims.toml has no claim of {notebook!r}: register one before the run"
            )
        self.notebook, self.folder = notebook, files.plots(notebook)
        self.record, effects = recorded(), effects_on_record()
        self.means = effects.groupby(["claim", "replication"])["effect"].mean()
        self.values: dict[str, pd.DataFrame] = {}

    def __call__(self, key: str, treatment: pd.Series, control: pd.Series) -> None:
        """Try a claim: show its card and save the values in ``effects.csv``.

        Parameters
        ----------
        key : the claim's, in ``claims.toml``.
        treatment, control : one value a seed, indexed by seed; positive for ratios.

        Raises
        ------
        ValueError
            If the key is not registered for this notebook, the seeds are not paired,
            fewer than two, or a value is NaN, infinite or, for a ratio, not positive.
        """
        if key not in self.claims:
            raise ValueError(
                f"claims.toml has no claim {key!r} of {self.notebook!r}: register it "
                "before it is tried"
            )
        claim = self.claims[key]
        values = _paired(claim, treatment, control)
        self.values[key] = values
        self._save()
        effects = claim.effect(values["treatment"], values["control"])
        known = self.record.loc[key].to_dict() if key in self.record.index else None
        if claim.unit == MEASURED_ANEW:
            known = None
        agrees = None
        if known is not None:
            agrees = agree(effects.mean(), self.means[key], claim.margin)
        display(Card(claim, known, effects, agrees))

    def _save(self) -> None:
        frames = {key: self.values[key] for key in self.claims if key in self.values}
        frame = pd.concat(frames, names=["claim", "seed"]).reset_index()
        files.write(self.folder / "effects.csv", frame.to_csv(index=False).encode())


def agree(effect: float, means: pd.Series, margin: float) -> bool:
    """Whether a study's mean effect is one that the replications lead to expect.

    That is, it lies in the prediction interval of their means (t, two-sided,
    1 − ``OUTSIDE``; Hahn & Meeker 1991, section 4.7), or nearer to it than the margin.
    """
    n = len(means)
    quantile = stats.t.ppf(1 - OUTSIDE / 2, n - 1)
    half = quantile * means.std() * np.sqrt(1 + 1 / n)
    return bool(abs(effect - means.mean()) < half + margin)


def _paired(claim: Claim, treatment: pd.Series, control: pd.Series) -> pd.DataFrame:
    title = f"the trial of {claim.key!r}"
    if not (treatment.index.is_unique and control.index.is_unique):
        raise ValueError(f"{title}: a seed stands twice: give one value a seed")
    if set(treatment.index) != set(control.index):
        alone = sorted(set(treatment.index) ^ set(control.index))
        raise ValueError(f"{title} is not paired: seeds {alone} stand in one arm only")
    if len(treatment) < 2:
        raise ValueError(
            f"{title} has one seed, which gives no interval: run at least two"
        )
    arms = pd.DataFrame({"treatment": treatment, "control": control}).astype(float)
    arms = arms.rename_axis("seed").sort_index()
    bad = arms.index[~np.isfinite(arms).all(axis=1)].tolist()
    if bad:
        raise ValueError(
            f"{title}: seeds {bad} have values that are NaN or infinite: count a run "
            "that diverged or never arrived at the budget, do not drop it"
        )
    if claim.unit != "accuracy" and (arms <= 0).any(axis=None):
        raise ValueError(
            f"{title}: a {claim.unit} is judged by its ratio: values must be positive"
        )
    return arms


# --- words ---------------------------------------------------------------------------


def bar(verdict: str) -> str:
    """Return the style of the bar beside a verdict, in CSS."""
    colour = VERDICT_COLOURS[verdict]
    # Mixed with the text's colour it is bright on a dark page; old browsers skip that.
    mixed = f"color-mix(in srgb, {colour} 60%, currentColor)"
    return f"border-left: 6px solid {colour}; border-left-color: {mixed}"


def describe(value: float, unit: str, *, sign: bool = True) -> str:
    """Write an effect the way one says it: points of accuracy, percent, a factor.

    Where there is none, NaN, it is a dash.
    """
    if np.isnan(value):
        return "–"
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
    if abs(value) < np.log(1000):  # two significant digits at least
        return f"×{np.exp(value):{'.2f' if value > np.log(0.1) else '#.2g'}}"
    mantissa, power = f"{np.exp(value):.1e}".split("e")
    digits = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"×{mantissa}·10{digits}"


def place(low: float, high: float, margin: float) -> str:
    """Say where an interval lies: the reason of its verdict, in words."""
    if np.isnan(low) or np.isnan(high):
        return "no interval is known"
    verdict = decide(low, high, margin)
    if verdict == "no effect":
        beside = "" if low <= 0 <= high else ", though not at zero"
        return f"the whole interval lies inside the margin{beside}"
    if verdict == "undecided":
        if low <= 0 <= high:
            return "the interval holds zero and reaches beyond the margin"
        return "the direction is clear, whether it exceeds the margin is not"
    way = "in the claimed direction" if verdict == "supported" else "the other way"
    return f"the whole interval lies beyond the margin, {way}"


def interval_bar(
    effect: float, low: float, high: float, margin: float, verdict: str
) -> str:
    """Draw an interval against the margin, shaded, and zero, in HTML.

    The axis is the same for all claims: the effect in margins, as its inverse
    hyperbolic sine, from ``-FARTHEST`` to ``FARTHEST``. What lies beyond is cut.
    """
    ends = np.array([-margin, margin, low, high, effect, 0]) / margin
    shares = np.arcsinh(np.clip(ends, -FARTHEST, FARTHEST)) / np.arcsinh(FARTHEST)
    near, far, left, right, dot, zero = 50 * (1 + shares)
    colour = f"color-mix(in srgb, {VERDICT_COLOURS[verdict]} 60%, currentColor)"

    def piece(start: float, width: float, rest: str) -> str:
        return (
            f'<span style="position:absolute;left:{start:.1f}%;width:{width:.1f}%;'
            f'{rest}"></span>'
        )

    fill = f"background:{VERDICT_COLOURS[verdict]};background:{colour}"
    pieces = [
        piece(near, far - near, "top:0;bottom:0;background:#8885"),
        piece(zero, 0, "top:0;bottom:0;border-left:1px solid"),
        piece(left, right - left, f"top:40%;height:20%;min-width:2px;{fill}"),
        piece(dot, 0, f"top:15%;height:70%;width:5px;margin-left:-2px;{fill}"),
    ]
    return (
        f'<span class="bn-interval" role="img" aria-label="{place(low, high, margin)}"'
        ' style="display:inline-block;position:relative;width:11em;height:1em;'
        f'vertical-align:-.15em;overflow:hidden">{"".join(pieces)}</span>'
    )


def _said(effect: float, low: float, high: float, unit: str) -> str:
    said = [describe(value, unit) for value in (effect, low, high)]
    return f"{said[0]} (95 % interval {said[1]} to {said[2]})"


def _pill(verdict: str) -> str:
    return (
        f'<span style="background:{VERDICT_COLOURS[verdict]};color:#fff;'
        f'padding:.1em .6em;border-radius:.8em;font-weight:600">{verdict}</span>'
    )
