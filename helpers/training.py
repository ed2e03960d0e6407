"""Train Keras models over seeds and settings, fast, into one tidy DataFrame.

The images stay in one tensor and an epoch's shuffled indices come in as one
(updates, batch) tensor, so that a whole stretch of training is a single compiled
program. Models, layers, losses and optimizers are Keras' own.

A run takes the steps of a plain loop of ``model(images, training=True)`` and
``optimizer.apply``, and its scores are of the weights that ``fit`` would end with.
Dropout's masks are those of ``fit(jit_compile=True)``. Like it, a compiled update may
leave out what is not a number: the slope of a root at zero, times a gradient of zero.

The runs are paired: for one seed all models see the same batches in the same order, and
start from the same kernels where their builders allow. An epoch's last, smaller batch
is trained too.

The frame has a row per model, seed and measurement:

- ``model``, ``seed``, ``epoch`` (may be fractional), ``updates``;
- ``loss`` (cross-entropy, nats) and ``accuracy`` of ``train_``, ``validation_`` and
  ``test_``, in inference mode and over the whole split: validation in every row,
  training at the ends of epochs, test in a run's last row, NaN elsewhere;
- ``seconds`` of training so far, compilation and measurement apart, more where
  ``workers`` share the cores;
- ``diverged``, true from the measurement at which a loss is no longer finite. Such a
  run is not trained further; its last measurement is repeated.

Compiled programs and starting weights are kept for later calls that train the same
layers with the same optimizer; ``helpers.programs.clear()`` forgets them.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from helpers import programs
from helpers.data import Dataset
from helpers.programs import Builder, Images, Network, Program, predict
from helpers.runs import own
from helpers.settings import Plan, Setting

__all__ = ["epoch_order", "pace", "predict", "sweep", "sweep_rates", "train"]

SPLITS = ("train", "validation", "test")
MORE_RATES = 8  # that a grid of rates may grow by
Order = Callable[[int, int, int], np.ndarray]
Probe = Callable[[keras.Model], Mapping[str, float]]
AtEnd = Callable[[str, int, keras.Model], None]


def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Order in which an epoch visits the training images, the same for every model.

    Returns
    -------
    Permutation of ``range(size)``, int32, fixed by ``seed`` and ``epoch`` (from 1).
    """
    return np.random.default_rng([seed, epoch]).permutation(size).astype(np.int32)


def train(
    builders: Mapping[str, Builder],
    dataset: Dataset,
    *,
    seeds: Iterable[int],
    score_training: bool = True,
    workers: int = 2,
    order: Order = epoch_order,
    probe: Probe | None = None,
    at_end: AtEnd | None = None,
    **setting: Any,
) -> pd.DataFrame:
    """Train every builder's model from every seed and measure as training goes.

    Parameters
    ----------
    builders : name of each model and the function that builds it, returning logits.
        Its layers are called once for all updates, mostly with an open number of
        images: ``images.shape[0]`` is ``None``.
    dataset : train, validation and test images, and labels from 0 as whole numbers.
    seeds : one run of every model for each.
    score_training : false leaves the training images unscored, where nobody reads
        those columns: often that is half of all scoring.
    workers : runs trained side by side. Two need about three quarters of the time of
        one after the other, with the same results. To compare times take 1: the
        models of a seed then take turns, alone on the machine, so that a slow moment
        falls on all of them.
    order : gives the order of the images from seed, epoch and their number, as
        :func:`epoch_order` does: whole numbers, (size,); batches are cut from it.
    probe : called with the model at each measurement; the numbers it returns become
        columns. It must leave the model as it was.
    at_end : called with name, seed and trained model at the end of each run; a later
        run may train the same model object, so copy what you keep.
    setting : what :class:`helpers.settings.Setting` has: ``epochs`` or ``updates``,
        ``batch_size``, ``optimizer``, ``learning_rate``, ``cosine_decay``,
        ``measure_every``.

    Returns
    -------
    The frame that this module describes.

    Raises
    ------
    ValueError
        If an argument is out of range, labels do not fit images or logits, or a layer
        draws random numbers that no seed fixes, before anything is trained; or if an
        order holds other than indices of the training images, before its epoch.
    """
    way = _Way(score_training, workers, order, probe, at_end)
    return _study(builders, dataset, [setting], seeds, way)


def sweep(
    builders: Mapping[str, Builder],
    dataset: Dataset,
    settings: Iterable[Mapping[str, Any]],
    *,
    seeds: Iterable[int],
    score_training: bool = True,
    workers: int = 2,
    order: Order = epoch_order,
    probe: Probe | None = None,
    at_end: AtEnd | None = None,
    **common: Any,
) -> pd.DataFrame:
    """Train every builder's model under every setting from every seed.

    Parameters
    ----------
    settings : what differs from setting to setting, a mapping for each; for a grid use
        ``sklearn.model_selection.ParameterGrid``.
    common : what all settings share. The other parameters are those of :func:`train`.

    Returns
    -------
    The frame of :func:`train` with one column more for each key of the settings
    (a budget in ``updates`` excepted: that column holds the updates done).

    Raises
    ------
    ValueError
        If the grid is empty, a setting stands twice, or an argument is out of range,
        before anything is trained.
    """
    given = list(settings)  # of a mapping, its keys
    if not all(isinstance(setting, Mapping) for setting in given):
        raise ValueError(
            "the grid must be a list of settings, as [{'learning_rate': 0.1}, …]: "
            "sklearn.model_selection.ParameterGrid makes one of lists of values"
        )
    grid = [dict(setting) for setting in given]
    if not grid:
        raise ValueError("the grid is empty: give at least one setting to sweep over")
    if any(setting in grid[:index] for index, setting in enumerate(grid)):
        raise ValueError("a setting stands twice in the grid: give each one once")
    columns = list(dict.fromkeys(key for setting in grid for key in setting))
    whole = [common | setting for setting in grid]
    way = _Way(score_training, workers, order, probe, at_end)
    return _study(builders, dataset, whole, seeds, way, columns)


def sweep_rates(
    builders: Mapping[str, Builder],
    dataset: Dataset,
    rates: Iterable[float],
    *,
    step: float,
    seeds: Iterable[int],
    by: str = "validation_accuracy",
    **common: Any,
) -> pd.DataFrame:
    """Train every builder's model at rates that grow until its best lies inside.

    A best rate at the end of a grid says only that a better one may lie beyond.

    Parameters
    ----------
    rates : learning rates to begin with; from there each model's grid grows alone.
    step : factor, above 1, from an end of the grid to the next rate beyond it.
    by : what is best, as :func:`helpers.runs.own` has it.
    common : the other parameters of :func:`train`.

    Returns
    -------
    The frame of :func:`sweep`; the rates may differ from model to model.

    Raises
    ------
    ValueError
        As :func:`sweep`; or if there are fewer than two rates, the step is not above 1,
        or the best rate is still an end of the grid after `MORE_RATES` more, as where
        nothing is learned at any.
    """
    _check_kinds(builders, dataset)
    first = list(rates) if isinstance(rates, Iterable) else [rates]
    seeds = _checked_seeds(seeds)
    if len(first) < 2 or not step > 1:
        raise ValueError(
            f"a grid of rates that grows needs two rates or more and a step above 1, "
            f"not {first} and {step}"
        )
    found = []
    for name, build in builders.items():
        tried: list[float] = []
        more = first
        while more:
            grid = [{"learning_rate": rate} for rate in more]
            found.append(sweep({name: build}, dataset, grid, seeds=seeds, **common))
            tried += more
            runs = pd.concat(found, ignore_index=True)
            best = own(runs[runs["model"] == name], by=by)["learning_rate"].iloc[0]
            low, high = min(tried), max(tried)
            beyond = {low: low / step, high: high * step}
            more = [beyond[best]] if best in beyond else []
            if more and len(tried) >= len(first) + MORE_RATES:
                raise ValueError(
                    f"the best rate of {name}, {best:g}, is still an end of its grid, "
                    f"{low:g} to {high:g}: begin with others, or see whether it learns"
                )
    return runs


def pace(
    builders: Mapping[str, Builder],
    dataset: Dataset,
    *,
    seeds: Iterable[int],
    **settings: Any,
) -> pd.DataFrame:
    """Seconds that an update takes: a row a seed, a column a model.

    Over an epoch of each, or the budget given, with the settings of :func:`train`; the
    models of a seed take turns of a quarter of an epoch, alone on the machine. Of a run
    that diverges, up to the measurement before; NaN if there is none.

    Raises
    ------
    ValueError
        As :func:`train`.
    """
    _check_kinds(builders, dataset)
    if "updates" not in settings:
        settings = {"epochs": 1} | settings
    batch_size = Setting.of(**settings).batch_size
    alone = {"workers": 1, "score_training": False}
    alone["measure_every"] = max(1, len(dataset.train) // batch_size // 4)
    runs = train(builders, dataset, seeds=seeds, **settings | alone)
    ran = runs.assign(pace=runs["seconds"] / runs["updates"])
    ran.loc[runs["diverged"].astype(bool), "pace"] = np.nan  # its clock has stopped
    last = ran.sort_values("updates").groupby(["seed", "model"])["pace"].last()
    return last.unstack("model")[list(builders)]


@dataclass(frozen=True)
class _Way:
    """How runs are trained and watched, whatever their setting."""

    score_training: bool
    workers: int
    order: Order
    probe: Probe | None
    at_end: AtEnd | None

    def __post_init__(self):
        if not isinstance(self.workers, Integral) or self.workers < 1:
            raise ValueError(
                f"workers must be a whole number from 1, not {self.workers}"
            )
        for name in ("order", "probe", "at_end"):
            if not callable(getattr(self, name) or callable):
                raise ValueError(
                    f"{name} must be a function, not {getattr(self, name)!r}"
                )


class _Run:
    """One model on its way through one plan: its clock, its rows, whether it lives."""

    def __init__(
        self,
        network: Network,
        data: Mapping[str, Images],
        labels: dict[str, Any],
        way: _Way,
    ):
        self.network, self.data, self.labels, self.way = network, data, labels, way
        self.program: Program
        self.model, self.seed = labels["model"], labels["seed"]
        self.seconds, self.diverged, self.stopped = 0.0, False, False
        self.rows: list[dict[str, Any]] = []

    def advance(self, stretches: Sequence[tuple]) -> None:
        if self.diverged:
            return
        began = time.perf_counter()
        losses = [
            self.program.advance(self.data["train"], *stretch) for stretch in stretches
        ]
        self.seconds += time.perf_counter() - began
        self.diverged = not np.isfinite(losses).all()

    def measure(self, updates: int, updates_per_epoch: int, last: bool) -> None:
        ends_epoch = last or updates % updates_per_epoch == 0
        due = {
            "train": self.way.score_training and ends_epoch,
            "validation": True,
            "test": last,
        }
        scores: dict[str, float] = {}
        with self.program.finished(self.way.probe is not None):
            for split, now in due.items():
                loss = accuracy = np.nan
                if now:
                    loss, accuracy = self.program.score(self.data[split])
                    self.diverged |= not np.isfinite(loss)
                scores |= {f"{split}_loss": loss, f"{split}_accuracy": accuracy}
            found = {} if self.way.probe is None else self.way.probe(self.program.model)
        row = (
            self.labels
            | {"epoch": updates / updates_per_epoch, "updates": updates}
            | scores
            | {"seconds": self.seconds, "diverged": self.diverged}
        )
        if not isinstance(found, Mapping) or row.keys() & found.keys():
            raise ValueError(
                "a probe must return numbers by names of new columns, as "
                f"{{'norm': 1.0}}, not {found!r}"
            )
        self.rows.append(row | dict(found))


def _study(
    builders: Mapping[str, Builder],
    dataset: Dataset,
    settings: Sequence[Mapping[str, Any]],
    seeds: Iterable[int],
    way: _Way,
    columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Run all settings; every argument is checked before the first is trained."""
    _check_kinds(builders, dataset)
    if tf.config.functions_run_eagerly() or not tf.executing_eagerly():
        raise ValueError(
            "TensorFlow compiles nothing here: call tf.config.run_functions_eagerly"
            "(False), and train outside of any tf.Graph"
        )
    seeds = _checked_seeds(seeds)
    _check_images(dataset)
    plans = [Setting.of(**setting).plan(len(dataset.train)) for setting in settings]

    data = {
        split: Images(getattr(dataset, split).images, getattr(dataset, split).labels)
        for split in SPLITS
    }
    networks = {
        name: Network(build, data["train"], seeds[0])
        for name, build in builders.items()
    }
    _check_logits(networks, dataset)
    pool = _Pool(len(networks), min(way.workers, len(builders) * len(seeds)))
    rows = []
    work = len(builders) * len(seeds) * sum(plan.total for plan in plans)
    # In a terminal alone (`disable=None`): a stored notebook would keep every stroke.
    with tqdm(
        total=work, unit="update", disable=None, leave=False, delay=2, ncols=80
    ) as bar:
        for setting, plan in zip(settings, plans, strict=True):
            values = {key: setting.get(key) for key in columns}
            runs = [
                _Run(network, data, values | {"model": name, "seed": seed}, way)
                for seed in seeds
                for name, network in networks.items()
            ]
            _prepare(runs, plan, pool, way)
            rows += _finish(runs, plan, way, len(builders), bar)
    pool.close(reusable=way.at_end is None)
    position = {name: index for index, name in enumerate(builders)}
    rows.sort(key=lambda run: position[run[0]["model"]])
    return pd.DataFrame([row for run in rows for row in run])


class _Pool:
    """The programs of one study, as many of a network as are trained at a time."""

    def __init__(self, n_models: int, at_a_time: int):
        # One model cannot be trained twice at a time: a lone builder needs copies.
        self.copies = math.ceil(at_a_time / n_models)
        self.held: dict[tuple, Program] = {}

    def of(self, run: "_Run", plan: Plan, turn: int) -> Program:
        """Return the program for a run; `turn` counts the seeds before it."""
        architecture = run.network.architecture(run.seed)
        key = run.model, architecture, turn % self.copies, plan.kind
        if key not in self.held:
            self.held[key] = programs.take(
                run.network, run.seed, plan.recipe, plan.decays
            )
        return self.held[key]

    def close(self, reusable: bool) -> None:
        """Let others use the programs, unless somebody may hold their models."""
        if reusable:
            for program in self.held.values():
                programs.give_back(program)
        programs.forget_the_oldest()


def _finish(
    runs: Sequence[_Run], plan: Plan, way: _Way, n_models: int, bar: tqdm
) -> list[list[dict]]:
    """Train the runs of one setting, some at a time, and return the rows of each."""
    size = n_models if way.workers == 1 else way.workers
    for start in range(0, len(runs), size):
        together = runs[start : start + size]
        if len({id(run.program) for run in together}) < len(together):
            raise AssertionError("two runs trained together share a program")
        for run in together:
            run.program.restart(run.network.starts[run.seed], plan.recipe.rate)
        if way.workers == 1:
            _train(together, plan, bar)
        else:
            _train_side_by_side(together, plan, bar)
        for run in together:
            run.program.finish()
            if way.at_end is not None:
                way.at_end(run.model, run.seed, run.program.model)
    return [run.rows for run in runs]


def _check_kinds(builders: Any, dataset: Any) -> None:
    """Refuse what is no builder or no dataset."""
    if not isinstance(builders, Mapping) or not all(
        callable(build) and not isinstance(build, keras.Model)
        for build in builders.values()
    ):
        raise ValueError(
            "builders must hold a name for each model and a function that builds it, "
            f"as {{'plain': lambda: helpers.models.mlp()}}, not {builders!r}"
        )
    if not builders:
        raise ValueError("there is no model to train: give at least one builder")
    if not isinstance(dataset, Dataset):
        raise ValueError(
            "the dataset must be a helpers.data.Dataset, as data.load('mnist') "
            f"returns, not {type(dataset).__name__}"
        )


def _checked_seeds(seeds: Any) -> list[int]:
    seeds = list(seeds) if isinstance(seeds, Iterable) else seeds
    whole = isinstance(seeds, list) and all(
        isinstance(seed, Integral) and 0 <= int(seed) < 2**32 for seed in seeds
    )
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise ValueError(
            "seeds must be different whole numbers from 0 to 4294967295, at least one, "
            f"not {seeds}"
        )
    return [int(seed) for seed in seeds]


def _checked_order(order: np.ndarray, size: int) -> np.ndarray:
    """Return the order as int32; TensorFlow itself would take what is out of range."""
    indices = np.asarray(order)
    whole = np.issubdtype(indices.dtype, np.integer)
    if (
        not whole
        or indices.shape != (size,)
        or not ((indices >= 0) & (indices < size)).all()
    ):
        raise ValueError(
            f"order must return {size} whole numbers from 0 to {size - 1}, one for "
            f"each training image that an epoch visits, not {indices!r}"
        )
    return indices.astype(np.int32)


def _check_images(dataset: Dataset) -> None:
    """Refuse splits that cannot be trained on or scored."""
    shape, dtype = dataset.train.images.shape[1:], dataset.train.images.dtype
    for split in SPLITS:
        images, labels = getattr(dataset, split).images, getattr(dataset, split).labels
        if len(images) == 0:
            raise ValueError(f"the {split} split has no images: give it at least one")
        if images.shape[1:] != shape or images.dtype != dtype:
            raise ValueError(
                f"the {split} images are {images.dtype} of shape {images.shape[1:]}, "
                f"those to train on {dtype} of shape {shape}: make them alike"
            )
        if not np.isfinite(images).all():
            raise ValueError(
                f"the {split} images hold NaN or infinity: clean them first"
            )
        if labels.shape != (len(images),):
            raise ValueError(
                f"the {split} labels have shape {labels.shape} for {len(images)} "
                "images: give one an image, as `labels.ravel()` makes of a column"
            )
        whole = labels.dtype.kind in "iu"
        if not whole or labels.min() < 0:
            least = f" from {labels.min()}" if whole else ""
            raise ValueError(
                f"the {split} labels must be whole numbers from 0, not {labels.dtype}"
                f"{least}: number the classes"
            )


def _check_logits(networks: Mapping[str, Network], dataset: Dataset) -> None:
    """Refuse networks that do not return a logit for each class."""
    classes = 1 + max(int(getattr(dataset, split).labels.max()) for split in SPLITS)
    for name, network in networks.items():
        shape = network.output_shape
        if len(shape) != 2 or shape[-1] < classes:
            raise ValueError(
                f"the model {name!r} returns shape {shape} for labels from 0 to "
                f"{classes - 1}: let it return {classes} logits an image"
            )


def _prepare(runs: Sequence[_Run], plan: Plan, pool: _Pool, way: _Way) -> None:
    """Compile in threads; Python builds the models of all seeds in the meantime."""
    turns = list(dict.fromkeys(run.seed for run in runs))
    with ThreadPoolExecutor(way.workers) as threads:
        compiling: dict[Program, Future] = {}
        for run in runs:
            run.network.draw(run.seed)
            run.program = program = pool.of(run, plan, turns.index(run.seed))
            if program not in compiling:
                compiling[program] = threads.submit(
                    program.compile, run.data["train"], plan.batch_size
                )
        for run in runs:
            run.network.check()
        for compiled in compiling.values():
            compiled.result()


def _train_side_by_side(runs: Sequence[_Run], plan: Plan, bar: tqdm) -> None:
    """Train each run in a thread of its own; an exception stops all of them."""
    with ThreadPoolExecutor(len(runs)) as pool:
        try:
            list(pool.map(lambda run: _train([run], plan, bar), runs))
        except BaseException:  # Ctrl-C too
            for run in runs:
                run.stopped = True
            raise


def _train(runs: Sequence[_Run], plan: Plan, bar: tqdm) -> None:
    """Train runs of one seed from start to end, stretch by stretch, taking turns."""
    size, seed = len(runs[0].data["train"]), runs[0].seed
    full = size // plan.batch_size
    done, current = 0, 0
    for epoch, start, stop in plan.stretches():
        if epoch != current:
            current = epoch
            order = _checked_order(runs[0].way.order(seed, epoch, size), size)
            cut = full * plan.batch_size
            batches = tf.constant(order[:cut].reshape(full, plan.batch_size))
            rest = tf.constant(order[cut:].reshape(1, -1))
            rates = rest_rates = None
            if plan.rates is not None:
                first = (epoch - 1) * plan.updates_per_epoch
                rates = tf.constant(_padded(plan.rates[first:], full))
                rest_rates = tf.constant(_padded(plan.rates[first + full :], 1))
        stretches = [(batches, rates, start, min(stop, full))] if start < full else []
        if stop > full:
            stretches.append((rest, rest_rates, 0, 1))
        done += stop - start
        # Forwards, then backwards: no model always runs first.
        for run in runs if epoch % 2 else reversed(runs):
            if run.stopped:
                return
            run.advance(stretches)
            bar.update(stop - start)
        if done in plan.points:
            for run in runs:
                run.measure(done, plan.updates_per_epoch, done == plan.total)


def _padded(rates: np.ndarray, size: int) -> np.ndarray:
    """Return the first of the rates; a program's shapes are those of a whole epoch."""
    rates = rates[:size]
    return np.pad(rates, (0, size - len(rates)))
