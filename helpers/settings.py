"""What a run is trained with, and what that comes to: batches, rates, measurements."""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras
import numpy as np

from helpers import optimizers
from helpers.optimizers import Choice, Recipe


@dataclass(frozen=True)
class Setting:
    """A budget, batches, an optimizer with its rate, and when to measure.

    Attributes
    ----------
    epochs, updates : the budget of a run, one of the two.
    batch_size : images per update.
    optimizer : a Keras optimizer or its name; copied, never changed. Or a function
        that makes one, where methods have set what no copy can show.
    learning_rate : replaces the optimizer's own.
    cosine_decay : let the rate fall from there to zero over the budget, along half a
        cosine (Loshchilov & Hutter 2017, equation 5), so that a run ends at rest.
    measure_every : updates between measurements, or ``"end"`` for one at the end;
        ``None`` measures after each epoch.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    epochs: int | None = None
    updates: int | None = None
    batch_size: int = 64
    optimizer: Choice = "adam"
    learning_rate: float | None = None
    cosine_decay: bool = False
    measure_every: int | Literal["end"] | None = None

    def __post_init__(self):
        if (self.epochs is None) == (self.updates is None):
            raise ValueError("give the budget as epochs or as updates, one of the two")
        for name in ("batch_size", "epochs", "updates", "measure_every"):
            value = getattr(self, name)
            left_out = value is None and name != "batch_size"
            if left_out or (name, value) == ("measure_every", "end"):
                continue
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, not {value}")
        rate = self.learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(
                "learning_rate must be a number: give a schedule to the optimizer, as "
                "in optimizer=keras.optimizers.SGD(schedule)"
            )
        if rate is not None and not _is_positive(rate):
            raise ValueError(f"learning_rate must be one positive number, not {rate!r}")
        if not isinstance(self.cosine_decay, bool | np.bool_):
            raise ValueError(
                f"cosine_decay must be True or False, not {self.cosine_decay!r}"
            )

    @classmethod
    def of(cls, **values: Any) -> "Setting":
        """Return a setting, or name what no setting has."""
        unknown = values.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            *names, last = cls.__dataclass_fields__
            raise ValueError(
                f"unknown setting {', '.join(sorted(unknown))}: there are "
                f"{', '.join(names)} and {last}"
            )
        return cls(**values)

    def plan(self, size: int) -> "Plan":
        """Return what the setting comes to for a number of training images.

        Raises
        ------
        ValueError
            If there are fewer images than a batch has, or the optimizer cannot be used.
        """
        if self.batch_size > size:
            raise ValueError(
                f"batch_size must be a whole number from 1 to the {size} training "
                f"images, not {self.batch_size}"
            )
        recipe = optimizers.recipe(self.optimizer, self.learning_rate)
        per_epoch = -(-size // int(self.batch_size))
        total = int(self.updates or (self.epochs or 0) * per_epoch)
        every = total if self.measure_every == "end" else self.measure_every
        every = int(every or per_epoch)
        points = (*range(every, total, every), total)
        rates = _decay(recipe.rate, total) if self.cosine_decay else None
        return Plan(int(self.batch_size), per_epoch, points, recipe, rates)


@dataclass(frozen=True)
class Plan:
    """What one setting comes to.

    Attributes
    ----------
    points : updates after which the model is measured; the last ends the run.
    recipe : makes the optimizer.
    rates : one for each update, float32, if the rate decays.
    """

    batch_size: int
    updates_per_epoch: int
    points: tuple[int, ...]
    recipe: Recipe
    rates: np.ndarray | None

    @property
    def kind(self) -> tuple[Any, bool]:
        """What a compiled program depends on."""
        return self.recipe.kind, self.decays

    @property
    def decays(self) -> bool:
        """Whether the rate changes from update to update."""
        return self.rates is not None

    @property
    def total(self) -> int:
        """Updates of a run."""
        return self.points[-1]

    def stretches(self) -> Iterator[tuple[int, int, int]]:
        """Epoch, first and last update within it, of each stretch between stops."""
        per_epoch = self.updates_per_epoch
        ends = sorted({*self.points, *range(per_epoch, self.total, per_epoch)})
        for start, end in zip([0, *ends], ends, strict=False):
            epoch = start // per_epoch
            yield epoch + 1, start - epoch * per_epoch, end - epoch * per_epoch


def _is_positive(rate: Any) -> bool:
    try:
        return not isinstance(rate, str) and np.ndim(rate) == 0 < float(rate) < np.inf
    except (TypeError, ValueError):
        return False


def _decay(start: float | None, total: int) -> np.ndarray:
    if start is None:
        raise ValueError(
            "the optimizer has a learning-rate schedule, or several rates: leave "
            "cosine_decay out"
        )
    schedule = keras.optimizers.schedules.CosineDecay(start, total)
    return schedule(np.arange(total, dtype=np.float32)).numpy()
