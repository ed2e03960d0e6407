"""How a mistake becomes points and a sentence: the one method behind all checks.

A formula is written once, with the mistakes that students make as options. What a
student's function answered is compared with the formula under every combination of
them; the cheapest combination that gives the same numbers explains the answer. So
each mistake costs its own price once, and is named. What nothing explains earns
nothing: neither do zeros, the input handed back, or no answer at all.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

Answers = Sequence[Mapping]  # one a call: {"value": …} or {"error": …}


@dataclass(frozen=True)
class Mark:
    """Points of an item, and what to say of it."""

    points: float
    of: float
    message: str


@dataclass(frozen=True)
class Mistake:
    """What a mistake costs, and the sentence that names it."""

    price: float
    says: str


def total(marks: Iterable[Mark]) -> Mark:
    """Add marks up; their messages follow one another, each once."""
    marks = list(marks)
    said = dict.fromkeys(mark.message for mark in marks if mark.message)
    points, of = sum(mark.points for mark in marks), sum(mark.of for mark in marks)
    return Mark(points, of, "; ".join(said))


def found(mistakes: Mapping[str, Mistake], names: Collection[str], of: float) -> Mark:
    """Return what is left of the points after the mistakes named."""
    price = sum(mistakes[name].price for name in names)
    says = [mistakes[name].says for name in mistakes if name in names]
    return Mark(max(0.0, of - price), of, "; ".join(filter(None, says)))


def explain(
    formula: Callable,
    mistakes: Mapping[str, Mistake],
    calls: Iterable,
    values: list,
    atol: float = 1e-5,
) -> frozenset[str] | None:
    """Find the mistakes that explain a function's answers.

    Parameters
    ----------
    formula : called as ``formula(*arguments, mistakes)``; returns an array.
    mistakes : those the formula knows, by name.
    calls : the arguments of each call.
    values : what the student's function returned in each.
    atol : how far a number may be off.

    Returns
    -------
    The cheapest set of names under which the formula returns the same values; empty
    if they are right, None if no set does.
    """
    sets = [
        frozenset(some)
        for size in range(len(mistakes) + 1)
        for some in combinations(mistakes, size)
    ]
    # Equally dear ones: the fewest mistakes.
    sets.sort(key=lambda some: (sum(mistakes[n].price for n in some), len(some)))
    calls, values = list(calls), [array(value) for value in values]
    for some in sets:
        expected = (formula(*arguments, some) for arguments in calls)
        if all(map(partial(same, atol=atol), expected, values)):
            return some
    return None


def same(expected: object, value: object, atol: float = 1e-5) -> bool:
    """Whether a value has the numbers that are expected, in their shape."""
    value = array(value)
    expected = np.asarray(expected, dtype=float)
    if value is None or value.shape != expected.shape:
        return False
    return bool(np.allclose(value, expected, rtol=1e-4, atol=atol))


def array(value: object) -> np.ndarray | None:
    """Return a value as an array of floats; None if it is none."""
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return None


def judged(
    name: str,
    formula: Callable,
    mistakes: Mapping[str, Mistake],
    calls: Sequence,
    answers: Answers,
    of: float,
) -> tuple[Mark, frozenset[str]]:
    """Mark the answers of a function, and name the mistakes that explain them."""
    if problem := unanswered(name, answers, len(calls)):
        return Mark(0, of, problem), frozenset()
    values = [answer["value"] for answer in answers]
    names = explain(formula, mistakes, calls, values)
    if names is None:
        right = formula(*calls[0], frozenset())
        return Mark(0, of, different(name, right, values[0])), frozenset()
    return found(mistakes, names, of), names


def unanswered(name: str, answers: Answers, n: int) -> str:
    """Say why there is no value to judge; nothing if there is one for each call."""
    for answer in answers:
        if "error" in answer:
            return f"{name} stopped with {answer['error']}"
    if len(answers) != n:
        return f"{name} could not be asked: it is not defined, or did not answer"
    if any(answer.get("value") is None for answer in answers):
        return f"{name} returns nothing: replace the dots"
    return ""


def different(name: str, right: np.ndarray, value: object) -> str:
    """Say how a value differs from the right one."""
    got, right = array(value), np.asarray(right)
    if got is None:
        return f"{name} does not return an array of numbers"
    if got.shape != right.shape:
        return f"{name} returns shape {got.shape} where {right.shape} is asked for"
    return (
        f"{name} returns other numbers than the formula, and no common slip explains "
        f"them (its first is {got.flat[0]:.4g} instead of {right.flat[0]:.4g})"
    )
