"""Q2.5 and Q3.1: the tables of accuracies, what follows from them, one row again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

import numpy as np
from scipy import stats

from assignment import networks
from assignment.marks import Answers, Mark, Mistake, array, explain, found, total
from helpers import claims

TEST, VALIDATION, TRAINING = 10_000, 5_000, 8_192  # images
BATCH_SIZE, EPOCHS = 64, 4
MARGIN = claims.MARGINS["accuracy"]
TOLERANCE = 0.02  # between a table and the same seed again, on any machine
GUESSING = 0.135  # or less: the commonest digit is on 11.35 %, and a table may be off
ARMS = ("plain", "batch_norm")
BATCH_SIZES = (16, 64, 256)
BUDGETS = ("epochs", "updates")
UPDATES = EPOCHS * TRAINING // BATCH_SIZE  # of the budget of equal updates
ROWS = 1_000  # of a table, at most: far more than asked
ROUNDED = 6e-5  # by which an interval that is rounded to four digits may be off
INTERVAL = {
    "sign": Mistake(1, "your difference is plain − batch_norm: take it the other way"),
    "normal": Mistake(1, "your interval uses 1.96: few seeds need the t quantile"),
    "population": Mistake(
        1, "your standard deviation divides by n: use n − 1 (ddof=1, as pandas does)"
    ),
    "no root": Mistake(
        2, "your interval uses the standard deviation: divide it by √n seeds"
    ),
    "one-sided": Mistake(
        1, "your interval has one side: the t quantile leaves 2.5 % on either side"
    ),
    "freedom": Mistake(
        1, "your t quantile has n degrees of freedom: n seeds leave n − 1"
    ),
    "unpaired": Mistake(
        2, "your interval ignores the pairs: take the difference seed by seed"
    ),
}


def interval(plain, batch_norm, mistakes=frozenset()):
    """95 % t interval of the mean paired difference, with the slips it is known for."""
    difference = np.subtract(batch_norm, plain)
    if "sign" in mistakes:
        difference = -difference
    n, ddof = len(difference), int("population" not in mistakes)
    root = 1.0 if "no root" in mistakes else np.sqrt(n)
    spread, freedom = difference.std(ddof=ddof), n - 1
    if "unpaired" in mistakes:
        spread = np.hypot(np.std(plain, ddof=ddof), np.std(batch_norm, ddof=ddof))
        freedom = 2 * n - 2
    freedom += "freedom" in mistakes
    share = 0.95 if "one-sided" in mistakes else 0.975
    quantile = 1.96 if "normal" in mistakes else stats.t.ppf(share, freedom)
    half = quantile * spread / root
    return np.array([difference.mean() - half, difference.mean() + half])


# --- Q2.5 ----------------------------------------------------------------------------


def runs_of(answers: Answers) -> tuple[dict[str, np.ndarray], str]:
    """Return a student's table as columns of numbers, or say what is wrong with it."""
    value = answers[0].get("value") if answers else None
    table = value[0] if isinstance(value, list) and len(value) == 3 else None
    if not isinstance(table, Mapping):
        return {}, "runs is not a table yet"
    columns: dict[str, np.ndarray] = {}
    for name in ("seed", *ARMS):
        column = array(table.get(name))
        if column is None or column.ndim != 1 or not np.isfinite(column).all():
            return {}, f"runs has no column {name!r} of numbers"
        if len(column) > ROWS:
            return {}, f"runs has {len(column):,} rows"
        columns[name] = column
    seeds = columns["seed"]
    if len({len(column) for column in columns.values()}) != 1 or len(seeds) < 2:
        return {}, "runs needs three to five rows, each of another seed"
    if len(set(seeds)) != len(seeds):
        return {}, "runs has a seed twice: each row is another seed"
    if (seeds != seeds.round()).any() or (seeds < 0).any() or (seeds > 2**31).any():
        return {}, "seeds are whole numbers from 0 on"
    return columns, ""


def judge_runs(answers: Answers, again: Mapping, seed: int | None) -> Mark:
    """Mark table (4), interval (3), verdict (3), and the seed trained again (2).

    Parameters
    ----------
    answers : the student's `[runs, interval, verdict]`.
    again : accuracy of each arm as the judge scored it, or the error, by arm.
    seed : the one that was trained again; None where nothing could be.
    """
    runs, problem = runs_of(answers)
    if problem:
        return Mark(0, 12, problem)
    row = runs["seed"] == seed
    claimed = {arm: float(runs[arm][row][0]) for arm in ARMS if row.any()}
    which = "a seed of the table" if seed is None else f"seed {seed}"
    confirmed = _judge_again(claimed, again, which, 2)
    if confirmed.points:  # both were trained again, and one may have diverged
        confirmed = _judge_learned(list(again.values()), which, 2)
    if not confirmed.points:  # nothing follows from numbers that are not the code's
        return Mark(0, 12, confirmed.message)
    plausible = _judge_shares(np.r_[runs["plain"], runs["batch_norm"]], TEST)
    few = Mark(0, 2, f"runs has {len(runs['seed'])} seeds, asked are three at least")
    size = Mark(2, 2, "") if len(runs["seed"]) >= 3 else few
    verdict = _judge_verdict(runs, answers[0]["value"])
    return total([size, plausible, *verdict, confirmed])


def _judge_shares(values: np.ndarray, images: int) -> Mark:
    counts = values * images
    if (values > 1).any():
        return Mark(0, 2, "accuracies are shares between 0 and 1, not per cent")
    whole = np.abs(counts - counts.round()).max() < 0.02  # float32 knows 7 digits
    if (values < 0).any() or not whole or len(set(counts.round())) < 3:
        return Mark(0, 2, f"these are no shares of {images:,} images")
    return Mark(2, 2, "")


def _judge_verdict(runs: Mapping, value: Sequence) -> list[Mark]:
    right = interval(runs["plain"], runs["batch_norm"])
    given, word = array(value[1]), value[2]
    arms = [[runs["plain"], runs["batch_norm"]]]
    follows = _verdict(right)
    says = f"it is not the 95 % t interval of the paired differences, {_points(right)}"
    says = "interval is missing" if value[1] is None else f"your interval: {says}"
    marks, accepted = [Mark(0, 3, says)], {follows}
    if given is not None and given.shape == (2,):
        # What is right but for rounding is right; a slip is told from others by more.
        names = explain(interval, {}, arms, [given], atol=ROUNDED)
        for atol in (1e-5, ROUNDED):
            if names is None:
                names = explain(interval, INTERVAL, arms, [given], atol=atol)
        if names is not None:
            marks = [found(INTERVAL, names, 3)]
            # Wrong once is paid once: a verdict may follow from the interval they have.
            accepted.add(_verdict(given))
        elif _around(given, right):
            accepted.add(_verdict(given))
    if isinstance(word, str) and word in accepted:
        return [*marks, Mark(3, 3, "")]
    says = f"the interval of your table, {_points(right)}, says “{follows}”"
    if word is None:
        return [*marks, Mark(0, 3, "verdict is missing")]
    return [*marks, Mark(0, 3, f"{says}, not “{str(word)[:40]}”")]


def _around(given, right) -> bool:
    """Whether an interval lies around the mean difference, however wide it is."""
    return given[0] < given[1] and abs(given.mean() - right.mean()) < ROUNDED


def _verdict(ends: Iterable[float]) -> str:
    low, high = ends
    return claims.decide(low, high, MARGIN)


def _points(ends: Iterable[float]) -> str:
    low, high = (100 * end for end in ends)
    return f"{low:+.2f} to {high:+.2f} points"


def _judge_again(claimed: Mapping, again: Mapping, which: str, of: float) -> Mark:
    """Compare what a table claims with what the judge scored, by arm."""
    errors = [value for value in again.values() if isinstance(value, str)]
    if errors or not again or not claimed:
        reason = errors[0] if errors else "train did not answer"
        return Mark(0, of, f"{which} could not be trained again ({reason})")
    scale = 100 if max(claimed.values()) > 1 else 1  # per cent is judged elsewhere
    scored = ", ".join(f"{arm} {value:.4f}" for arm, value in again.items())
    off = [abs(claimed[arm] / scale - again[arm]) for arm in again]
    if not all(gap < TOLERANCE for gap in off):  # NaN is off, too
        said = ", ".join(f"{claimed[arm]:.4g}" for arm in again)
        return Mark(
            0, of, f"{which} trained again gives {scored}, but your table says {said}"
        )
    return Mark(of, of, "")


def _judge_learned(values: Iterable, which: str, of: float) -> Mark:
    """Refuse accuracies of which most are those of guessing: nothing was learned.

    Half may be: images that were not scaled make the plain network diverge, at every
    batch size, and were paid for.
    """
    values = np.array(values)
    scale = 100 if values.max() > 1 else 1  # per cent is judged elsewhere
    if np.mean(values / scale <= GUESSING) <= 0.5:
        return Mark(of, of, "")
    return Mark(
        0,
        of,
        f"your networks do no better than guessing in {which} "
        f"({GUESSING} or less): see that train fits what it returns",
    )


# --- Q3.1 ----------------------------------------------------------------------------


def settings() -> list[tuple[str, int, str]]:
    """Return the rows that the sweep must have: budget, batch size, network."""
    return list(product(BUDGETS, BATCH_SIZES, ARMS))


def epochs(budget: str, batch_size: int) -> int:
    """Return the epochs that a budget allows at a batch size."""
    return EPOCHS if budget == "epochs" else EPOCHS * batch_size // BATCH_SIZE


def updates(budget: str, batch_size: int) -> int:
    """Return the updates that a budget allows at a batch size."""
    return epochs(budget, batch_size) * TRAINING // batch_size


def sweep_of(answers: Answers) -> tuple[dict[tuple, dict[str, float]], str]:
    """Return a student's sweep by setting, or say what is wrong with it."""
    table = answers[0].get("value") if answers else None
    if not isinstance(table, Mapping):
        return {}, "sweep is not a table yet"
    names = ("budget", "batch_size", "network", "updates", "accuracy")
    if missing := [name for name in names if not isinstance(table.get(name), list)]:
        return {}, f"sweep has no column {missing[0]!r}"
    if len(table["accuracy"]) > ROWS:
        return {}, f"sweep has {len(table['accuracy']):,} rows"
    rows = {}
    for budget, size, network, *values in zip(*(table[c] for c in names), strict=False):
        numbers = array(values)
        words = isinstance(budget, str) and isinstance(network, str)
        number = isinstance(size, int | float)
        if words and number and numbers is not None and numbers.shape == (2,):
            key = (budget.removeprefix("equal "), size, network)
            rows[key] = {"updates": float(numbers[0]), "accuracy": float(numbers[1])}
    if absent := [setting for setting in settings() if setting not in rows]:
        such = ", ".join(map(str, absent[0]))
        return {}, f"sweep lacks {len(absent)} of its 12 rows, such as equal {such}"
    return {key: rows[key] for key in settings()}, ""


def judge_sweep(answers: Answers, again: Mapping, setting: tuple | None) -> Mark:
    """Mark rows (3), updates (3), accuracies (2), and one row trained again (2)."""
    rows, problem = sweep_of(answers)
    if problem:
        return Mark(0, 10, problem)
    claimed, which = {}, "a row of the table"
    if setting is not None:  # something was trained again
        budget, size, network = setting
        claimed = {network: rows[setting]["accuracy"]}
        which = f"{network} at batch {size} (equal {budget})"
    confirmed = _judge_again(claimed, again, which, 2)
    values = np.array([row["accuracy"] for row in rows.values()])
    if confirmed.points:
        confirmed = _judge_learned(values, "the sweep", 2)
    if not confirmed.points:
        return Mark(0, 10, confirmed.message)
    marks = [Mark(3, 3, ""), _judge_updates(rows), _judge_shares(values, VALIDATION)]
    return total([*marks, confirmed])


def _judge_updates(rows: Mapping) -> Mark:
    wrong = [
        key for key, row in rows.items() if row["updates"] != updates(key[0], key[1])
    ]
    if not wrong:
        return Mark(3, 3, "")
    budget, size, _ = wrong[0]
    return Mark(
        0,
        3,
        f"at equal {budget}, batch {size} makes {updates(budget, size):,} updates, not "
        f"{rows[wrong[0]]['updates']:,g}",
    )


def again(
    train: Answers, arms: Sequence[str], score: Callable[[Mapping], float]
) -> dict[str, float | str]:
    """Return what each network trained again scores, or why it does not."""
    result: dict[str, float | str] = {}
    for arm, answer in zip(arms, train, strict=False):
        if "error" in answer:
            result[arm] = f"train stopped with {answer['error']}"
            continue
        try:
            network, new = answer["value"]
            normalized = "bn" in networks.tokens(network["layers"])
            if normalized != (arm == ARMS[1]):
                result[arm] = f"train returns the other network for {arm}"
            elif networks.untouched(network, new):
                result[arm] = "train returns a network that was not trained"
            else:
                result[arm] = score(network)
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
            result[arm] = "train does not return one of the two networks"
    return result if len(result) == len(arms) else {}
