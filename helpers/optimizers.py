"""Copies of optimizers that are true, or refused.

Keras copies an optimizer by its configuration, which does not show what methods and
attributes have set since. Whoever copies must know what was left behind.
"""

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras
from keras.optimizers import Optimizer
from keras.optimizers.schedules import LearningRateSchedule

from helpers.models import VARIABLE

Choice: TypeAlias = str | Optimizer | Callable[[], Optimizer]


@dataclass(frozen=True)
class Recipe:
    """How to make an optimizer again and again.

    Attributes
    ----------
    make : returns a new optimizer, its rate apart.
    rate : the learning rate, where it is a plain number and no schedule.
    kind : equal for recipes whose optimizers differ in nothing but a plain rate; a
        text where the configuration shows all that the optimizer is.
    """

    make: Callable[[], Optimizer]
    rate: float | None
    kind: Any


def recipe(choice: Choice, learning_rate: float | None = None) -> Recipe:
    """Return how to make the chosen optimizer, with a rate in place of its own.

    Parameters
    ----------
    choice : name of a Keras optimizer, an optimizer, or a function that makes one.
    learning_rate : a positive number, or ``None`` for the optimizer's own.

    Raises
    ------
    ValueError
        If the choice is no optimizer or cannot be copied truly, or has a schedule in
        the place of the rate.
    """
    if isinstance(choice, LearningRateSchedule):
        raise ValueError(
            "optimizer must be an optimizer: give it the schedule, as in "
            "optimizer=keras.optimizers.SGD(schedule)"
        )
    if callable(choice):
        make = choice
        if not _takes_nothing(make):
            raise ValueError(
                f"the function {_name(choice)} must make an optimizer without being "
                "given anything: give a rate as learning_rate"
            )
        if not isinstance(make(), Optimizer) or make() is make():
            raise ValueError(
                f"the function {_name(choice)} must make a new Keras optimizer in each "
                "call, as `lambda: keras.optimizers.Adam()` does"
            )
    else:
        make = partial(copy, _get(choice))
    optimizer = make()
    if optimizer.built:
        raise ValueError("the optimizer belongs to a model already: give a new one")
    if learning_rate is not None:
        if rate_of(optimizer) is None:
            raise ValueError(
                "the optimizer has a learning-rate schedule, or several rates: leave "
                "learning_rate out"
            )
        optimizer.learning_rate = learning_rate
    # In a tuple a name is no text that shows all: `"muon"` does not.
    itself = choice if isinstance(choice, str) else id(choice)  # it may have no hash
    return Recipe(make, rate_of(optimizer), _kind(optimizer) or (itself,))


def copy(optimizer: Optimizer) -> Optimizer:
    """Return a new optimizer that will do what this one would.

    Raises
    ------
    ValueError
        If the optimizer holds what its configuration does not show.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # what they say is said below
            twin = type(optimizer).from_config(optimizer.get_config())
    except Exception as error:  # each optimizer has its own
        raise ValueError(_no_copy(optimizer, str(error).partition(".")[0])) from error
    before, after = _state(optimizer), _state(twin)
    hidden = [name for name in before if before[name] != after.get(name)]
    if hidden:
        raise ValueError(_no_copy(optimizer, f"its configuration lacks {hidden[0]}"))
    return twin


def rate_of(optimizer: Optimizer) -> float | None:
    """Return the learning rate, where it is a plain number and no schedule."""
    rate: Any = getattr(optimizer, "learning_rate", None)
    plain = any(rate is variable for variable in optimizer.variables)
    return float(rate.numpy()) if plain else None


def finalizes(optimizer: Optimizer) -> bool:
    """Whether the weights that count are others than those being trained."""
    own = type(optimizer).finalize_variable_values
    return optimizer.use_ema or own is not Optimizer.finalize_variable_values


def contents(optimizer: Optimizer) -> Iterator[Any]:
    """Yield all that an optimizer and those within it hold, and these themselves."""
    yield optimizer
    for value in keras.tree.flatten(list(vars(optimizer).values())):
        if isinstance(value, Optimizer):
            yield from contents(value)
        else:
            yield value


def state(optimizer: Optimizer, weights: Sequence[keras.Variable]) -> list:
    """Return all variables that it may change beside the weights, shown or not.

    As those of an optimizer or a generator that it holds; of `Nadam` in a
    `LossScaleOptimizer` Keras itself shows one too few.
    """
    found = list(optimizer.variables)
    known = set(map(id, [*found, *weights]))
    for part in contents(optimizer):
        if isinstance(part, keras.random.SeedGenerator):
            part = part.state
        if isinstance(part, VARIABLE) and id(part) not in known:
            known.add(id(part))
            found.append(part)
    return found


def is_keras(thing: Any) -> bool:
    """Whether an object, or a class or function, is Keras' own."""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return module.partition(".")[0] == "keras"


def _get(choice: str | Optimizer) -> Optimizer:
    try:
        found = keras.optimizers.get(choice)
    except (ValueError, KeyError, TypeError):
        found = None
    if found is None:
        raise ValueError(
            f"unknown optimizer {choice!r}: give a Keras optimizer, its name, such as "
            "'adam' or 'sgd', or a function that makes one"
        )
    if found.built:
        raise ValueError("the optimizer belongs to a model already: give a new one")
    return found


def _takes_nothing(make: Callable) -> bool:
    """Whether a function can be called without arguments, as far as it says."""
    try:
        inspect.signature(make).bind()
    except TypeError:
        return False
    except ValueError:  # it does not say
        return True
    return True


def _kind(optimizer: Optimizer) -> str | None:
    """Describe a new optimizer by all but a plain rate, if that can be told."""
    try:
        twin = copy(optimizer)
    except ValueError:
        return None
    shown = Optimizer | LearningRateSchedule  # Keras' own, by their configuration
    if not all(is_keras(type(o)) for o in contents(twin) if isinstance(o, shown)):
        return None
    if any(type(o).__name__ in ("MultiOptimizer", "Muon") for o in contents(twin)):
        return None  # they treat variables by their names, which kinds leave out
    if rate_of(twin) is not None:
        twin.learning_rate = 0.0
    return str(twin.get_config() | {"name": type(twin).__name__})


def _state(thing: Any, depth: int = 5) -> dict[str, Any]:
    """Return all attributes in a form that can be compared with those of a copy."""
    return {
        name: _text(value, depth)
        for name, value in vars(thing).items()
        if not name.startswith("_self_")  # TensorFlow's notes on the others
    }


def _text(value: Any, depth: int) -> Any:
    """Write a value down, and so deep what it holds: that may be what holds it."""
    within = partial(_text, depth=depth - 1)
    if depth == 0:
        return type(value).__name__
    if isinstance(value, Optimizer | LearningRateSchedule):
        return _state(value, depth - 1)
    if inspect.isfunction(value):  # `repr` tells no factor that it holds from another
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        code = value.__code__
        return [
            code.co_code,
            str(code.co_consts),
            within(value.__defaults__),
            *map(within, cells),
        ]
    if isinstance(value, partial):
        given = [value.func, *value.args, *value.keywords.items()]
        return [within(part) for part in given]
    if isinstance(value, list | tuple):
        return [within(part) for part in value]
    if isinstance(value, VARIABLE):  # Keras 3.6 would show no value
        return [value.path, str(value.dtype), value.numpy().tolist()]
    text = re.sub(r" at 0x\w+", "", repr(value))
    own = type(value).__module__.partition(".")[0] not in ("keras", "tensorflow")
    if own and text != repr(value) and hasattr(value, "__dict__"):
        return [text, *([name, within(part)] for name, part in vars(value).items())]
    return text


def _no_copy(optimizer: Optimizer, cause: str) -> str:
    return (
        f"the optimizer {_name(type(optimizer))} cannot be copied ({cause}): give a "
        "function that makes it, as in `optimizer=make_optimizer`"
    )


def _name(thing: Any) -> str:
    return getattr(thing, "__name__", repr(thing))
