"""Q1.3: batch normalization in NumPy, each formula with the slips it is known for."""

from collections.abc import Callable, Collection, Mapping

import numpy as np

from assignment.marks import Answers, Mark, Mistake, judged, total

STATISTICS = {
    "axis": Mistake(
        2,
        "your mean and variance run along each row: take them down each column "
        "(axis=0), over the images of the batch",
    ),
    "variance": Mistake(
        2, "your variance divides by m − 1: divide by m, the number of rows"
    ),
    "outside": Mistake(
        1, "your ε is added to the standard deviation: add it to σ², under the root"
    ),
    "no epsilon": Mistake(1, "your formula leaves out ε: it stands under the root"),
}
SCALE = {
    "no gamma": Mistake(1, "your y is not multiplied by γ"),
    "no beta": Mistake(1, "β is not added to your y"),
}
FORWARD = STATISTICS | SCALE
PATHS = {
    "no mean path": Mistake(
        2, "your dx treats the mean as a constant: every x of the column moves it"
    ),
    "no variance path": Mistake(
        2, "your dx treats the variance as a constant: every x of the column moves it"
    ),
    "no gamma": Mistake(1, "your dx leaves out γ"),
}
CLOSED = {
    "closed form": Mistake(
        1,
        "your dx is the closed form, which holds for σ² over m with ε under the root: "
        "yours are others",
    )
}
AVERAGED = {"averaged": Mistake(1, "sum over the rows instead of averaging")}
MOVING = {
    "swapped": Mistake(
        1,
        "your momentum weighs the new value, as in PyTorch: asked is Keras' way, "
        "momentum · moving + (1 − momentum) · batch_statistic",
    )
}
INFERENCE = {
    "batch": Mistake(
        2, "your inference uses the batch's own statistics: use those it is given"
    ),
    "no root": Mistake(1, "your inference divides by the variance: take its root"),
}


def forward(x, gamma, beta, epsilon, mistakes=frozenset()):
    """Normalize the columns of x, scale and shift."""
    mean, std, _, _ = _statistics(x, epsilon, mistakes)
    y = (x - mean) / std
    y = y if "no gamma" in mistakes else gamma * y
    return y if "no beta" in mistakes else y + beta


def dx(dy, x, gamma, epsilon, mistakes=frozenset()):
    """Gradient of x: along the value itself, the variance and the mean."""
    axis = int("axis" in mistakes)
    mean, std, slope, divisor = _statistics(x, epsilon, mistakes)
    if "closed form" in mistakes:
        slope, divisor = 0.5 / std, x.shape[axis]
    dx_hat = dy if "no gamma" in mistakes else dy * gamma
    result = dx_hat / std
    if "no variance path" not in mistakes:
        dstd = -(dx_hat * (x - mean)).sum(axis, keepdims=True) / std**2
        result = result + dstd * slope * 2 * (x - mean) / divisor
    if "no mean path" not in mistakes:
        dmean = -dx_hat.sum(axis, keepdims=True) / std
        result = result + dmean / x.shape[axis]
    return result


def dgamma(dy, x, gamma, epsilon, mistakes=frozenset()):
    """Gradient of γ: the sum of dy · x̂ over the rows."""
    mean, std, _, _ = _statistics(x, epsilon, mistakes)
    products = dy * (x - mean) / std
    return products.mean(0) if "averaged" in mistakes else products.sum(0)


def dbeta(dy, x, gamma, epsilon, mistakes=frozenset()):
    """Gradient of β: the sum of dy over the rows."""
    return dy.mean(0) if "averaged" in mistakes else dy.sum(0)


def update_moving(moving, batch_statistic, momentum, mistakes=frozenset()):
    """One step of a moving average."""
    weight = 1 - momentum if "swapped" in mistakes else momentum
    return weight * moving + (1 - weight) * batch_statistic


def inference(x, gamma, beta, mean, variance, epsilon, mistakes=frozenset()):
    """Normalize by given statistics, scale and shift."""
    if "batch" in mistakes:
        return forward(x, gamma, beta, epsilon, mistakes)
    if "no root" in mistakes:
        std = variance + epsilon
    elif "outside" in mistakes:
        std = np.sqrt(variance) + epsilon
    else:
        std = np.sqrt(variance + epsilon * ("no epsilon" not in mistakes))
    y = (x - mean) / std
    y = y if "no gamma" in mistakes else gamma * y
    return y if "no beta" in mistakes else y + beta


def _statistics(x, epsilon, mistakes):
    """Mean, what is divided by, its slope in the variance, and the variance's m."""
    axis = int("axis" in mistakes)
    divisor = x.shape[axis] - ("variance" in mistakes)
    mean = x.mean(axis, keepdims=True)
    variance = ((x - mean) ** 2).sum(axis, keepdims=True) / divisor
    if "outside" in mistakes:
        root = np.sqrt(variance)
        return mean, root + epsilon, 0.5 / root, divisor
    std = np.sqrt(variance + epsilon * ("no epsilon" not in mistakes))
    return mean, std, 0.5 / std, divisor


def calls(rng: np.random.Generator) -> dict[str, list[list]]:
    """Return the arguments of the hidden calls, by the question they ask.

    The batch has more rows than columns, γ and β are away from 1 and 0, and ε is not
    small: no slip can hide.
    """

    def batch(rows, columns):
        return rng.normal(rng.normal(1, 2, columns), 1.5, (rows, columns))

    def scale(columns):
        signs = np.where(np.arange(columns) % 2, -1, 1)  # γ may be negative, too
        return signs * rng.uniform(0.5, 2, columns), rng.normal(1, 1, columns)

    forwards = [
        [batch(rows, columns), *scale(columns), epsilon]
        for rows, columns, epsilon in ((7, 4, 1e-3), (5, 3, 0.5))
    ]
    # The gradient arriving has a mean, and goes with x: each path carries something.
    backwards = [
        [rng.normal(0.7, 1, x.shape) + 0.5 * x, x, gamma, epsilon]
        for x, gamma, _, epsilon in forwards
    ]
    inferences = [
        [x, gamma, beta, rng.normal(0, 1, len(gamma)), rng.uniform(2, 5, len(gamma)), e]
        for x, gamma, beta, e in forwards
    ]
    movings = [
        [rng.normal(size=4), rng.normal(3, 1, 4), momentum] for momentum in (0.9, 0.7)
    ]
    return {
        "Q1.3-forward": forwards,
        "Q1.3-backward": backwards,
        "Q1.3-moving": movings,
        "Q1.3-inference": inferences,
    }


def judge(asked: Mapping[str, list], answers: Mapping[str, Answers]) -> dict[str, Mark]:
    """Mark the four functions.

    What the forward pass got wrong is paid for there: a backward pass, or an
    inference, that agrees with it is right.
    """
    name = "Q1.3-forward"
    marks: dict[str, Mark] = {}
    marks[name], known = judged(
        "forward", forward, FORWARD, asked[name], answers.get(name, ()), 6
    )
    marks["Q1.3-backward"] = _judge_backward(asked, answers, known)
    name = "Q1.3-moving"
    marks[name], _ = judged(
        "update_moving", update_moving, MOVING, asked[name], answers.get(name, ()), 2
    )
    name = "Q1.3-inference"
    slips = _free(INFERENCE | _only(FORWARD, "outside", "no epsilon", *SCALE), known)
    marks[name], _ = judged(
        "inference", inference, slips, asked[name], answers.get(name, ()), 2
    )
    return marks


def _judge_backward(asked: Mapping, answers: Mapping, known: Collection[str]) -> Mark:
    arguments = asked["Q1.3-backward"]
    given = answers.get("Q1.3-backward", ())
    # Shared by dx and dgamma, so half the price in each.
    halved = {name: Mistake(1, slip.says) for name, slip in STATISTICS.items()}
    statistics = _free(halved, known)
    parts: list[tuple[str, Callable, Mapping[str, Mistake], float]] = [
        ("dx", dx, PATHS | CLOSED | statistics, 4),
        ("dgamma", dgamma, AVERAGED | statistics, 1),
        ("dbeta", dbeta, AVERAGED, 1),
    ]
    marks = []
    for position, (name, formula, mistakes, of) in enumerate(parts):
        one = [_part(answer, position) for answer in given]
        mark, _ = judged(name, formula, mistakes, arguments, one, of)
        marks.append(mark)
    return total(marks)


def _part(answer: Mapping, position: int) -> Mapping:
    """Return one of the three gradients of an answer."""
    if "error" in answer:
        return {"error": f"{answer['error']} (in backward)"}
    value = answer.get("value")
    if value is None:
        return {"value": None}
    if not isinstance(value, list) or len(value) != 3:
        return {"error": "another result than the three gradients dx, dgamma, dbeta"}
    return {"value": value[position]}


def _only(mistakes: Mapping[str, Mistake], *names: str) -> dict[str, Mistake]:
    return {name: mistakes[name] for name in names}


def _free(mistakes: Mapping[str, Mistake], paid: Collection[str]) -> dict[str, Mistake]:
    """Return the mistakes at no price, and unsaid, where they were paid for."""
    return {
        name: Mistake(0, "") if name in paid else mistake
        for name, mistake in mistakes.items()
    }
