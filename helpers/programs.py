"""Models with their compiled training loops, and the weights that seeds start from.

Tracing and compiling a network takes longer than training a small one for an epoch.
So a program is kept when its training ends, and taken up again for a network of the
same layers and the same optimizer, however its weights are initialized; and so are the
starting weights of a network. This module alone knows about XLA.
"""

import inspect
import itertools
import json
import pickle
import random
import re
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary, ref

from helpers import quiet  # noqa: F401, I001  # isort: skip
import keras
import numpy as np
import tensorflow as tf

from helpers import optimizers
from helpers.models import (
    KEPT_BY_KERAS,
    VARIABLE,
    hidden,
    layers_of,
    operations_of,
    settings_of,
    takes,
)
from helpers.optimizers import Recipe, is_keras

Builder = Callable[[], keras.Model]
Weights = list[np.ndarray]

AT_A_TIME = 2_500  # images scored: the activations of a large split need little memory
KEPT = 200e6  # bytes of programs' variables, and of starting weights: the oldest go

# What Python code may change in an attribute.
PLAIN = (
    *(bool, int, float, complex, str, np.ndarray, np.generic),
    *(np.random.Generator, np.random.RandomState, random.Random),
)
# Operations that read a variable or a table, and leave it as it is.
READS = (
    *("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"),
    *("LookupTableFindV2", "LookupTableSizeV2", "LookupTableExportV2"),
)

_alone = threading.RLock()  # for what threads that train would share: seed and tables
idle_programs: "OrderedDict[Program, None]" = OrderedDict()  # the longest idle first
starting_weights: OrderedDict[str, dict[int, Weights]] = OrderedDict()
_built: WeakSet[keras.Layer] = WeakSet()  # models among them
# By identity, for `==` of variables compares their values.
_variables: "WeakValueDictionary[int, keras.Variable]" = WeakValueDictionary()
_shared: "WeakValueDictionary[int, keras.Variable]" = WeakValueDictionary()
_inferences: "WeakKeyDictionary[keras.Model, Inference]" = WeakKeyDictionary()


class Images:
    """A split as tensors: whole, to gather batches from, and in pieces, to score."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = tf.constant(images), tf.constant(labels)
        self.pieces = _pieces(self.images)
        self.right = labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.right)


class Inference:
    """A model's logits in inference mode, traced once for any number of images.

    Attributes
    ----------
    changes : by identity, the handles of variables that inference changes, as those
        of recurrent dropout; ``None`` before the first image.
    """

    def __init__(self, model: keras.Model, images: tf.TensorSpec):
        # Weakly, or the table of inferences would keep every model alive.
        there: Callable[[], keras.Model] = ref(model)
        self.spec, self.settings = images, settings_of(model)
        self.changes: set[int] | None = None

        def logits(images):
            found = there()(images, training=False)
            self._note_changes()
            return found

        self.logits = tf.function(
            logits, input_signature=None if _is_of_sizes(model) else [images]
        )

    @tf.autograph.experimental.do_not_convert
    def _note_changes(self) -> None:
        self.changes = (self.changes or set()) | {
            id(handle) for handle, _ in _changes()
        }


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Logits of a model in inference mode, shape (n, classes), float32.

    Raises
    ------
    ValueError
        If what is given is no model, or no batch of images, or there is no image.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            "predict takes a keras.Model and then images, not a "
            f"{type(model).__name__} first"
        )
    if np.ndim(images) == 0:
        raise ValueError(
            "predict takes images as an array, as in dataset.test.images, not a "
            f"{type(images).__name__}"
        )
    if len(images) == 0:
        raise ValueError("there are no images to predict: give at least one")
    if len(getattr(model, "inputs", None) or [model]) > 1:
        raise ValueError(
            f"the model {model.name} takes several inputs, and predict gives one: let "
            "a model of one input call it"
        )
    if not takes(model, images):
        raise ValueError(
            f"the model takes images of shape {model.input_shape}, not "
            f"{np.shape(images)}: the first number counts images, as in images[:1]"
        )
    whole = tf.constant(images)
    known = _inferences.get(model)
    mine = _open(whole), settings_of(model)
    if known is None or (known.spec, known.settings) != mine:
        known = Inference(model, _open(whole))
    pieces = [keras.tree.flatten(known.logits(piece)) for piece in _pieces(whole)]
    if len(pieces[0]) != 1:
        raise ValueError(
            f"the model {model.name} returns {len(pieces[0])} tensors, not one: take a "
            "model that returns its logits alone"
        )
    logits = tf.concat(sum(pieces, []), 0)
    return logits.numpy().astype(np.float32, copy=False)


class Born(NamedTuple):
    """A model as its builder left it, whatever somebody sets in it later.

    Attributes
    ----------
    variables : of it, and of metrics that its layers hold.
    trainable : its layers, and whether each was to be trained.
    """

    model: keras.Model
    variables: list[keras.Variable]
    trainable: list[tuple[keras.Layer, bool]]

    @classmethod
    def of(cls, model: keras.Model) -> "Born":
        """Write down what a new model is like."""
        layers = [(layer, layer.trainable) for layer in layers_of(model)]
        return cls(model, _state(model), layers)

    def restore(self) -> None:
        """Let train what is to be trained, and nothing else."""
        for layer, trainable in self.trainable:
            if layer.trainable != trainable:
                layer.trainable = trainable


class Network:
    """What a builder builds: models, and the weights that seeds start from.

    A model of Keras' own parts is known by its text, so that its program serves other
    seeds, and later calls. Of any other nobody can tell what a seed decides beyond its
    weights: there each seed trains the model that was built from it.

    Attributes
    ----------
    starts : weights by seed, in the order of the model's variables.
    output_shape : of the logits, ``None`` for the number of images.
    """

    def __init__(self, build: Builder, train: Images, seed: int):
        self.build, self.train = build, train
        self.starts: dict[int, Weights] = {}
        self._architectures: dict[int, str | object] = {}
        self._models: dict[int, Born] = {}  # of seeds that train their own
        self._latest: tuple[int, Born] | None = None
        self._builds, self._known = 0, False
        self._layers: str | None = None
        model = self._build(seed)
        self._layers = self._keep(seed, model)
        self.output_shape = _output_shape(model, train.images)
        if self._layers is None:
            return
        # Equal layers may draw their kernels in another order; if one seed gives equal
        # weights, they do not.
        known = starting_weights.pop(self._layers, {})
        others = [other for other in known if other != seed][:1]
        # A builder with a seed of its own is like any at that.
        self._known = bool(others) and _equal(known.get(seed), self.starts[seed])
        for other in others if self._known else []:
            model = self._build(other)
            self._known = _describe(model)[0] == self._layers
            self._known &= _equal(known[other], _values(_state(model)))
        if self._known:
            self.starts |= known  # of a builder with the same layers
            self._architectures |= dict.fromkeys(known, self._architectures[seed])
        # What later calls may start from.
        self._drawn = known if self._known else {seed: self.starts[seed]}
        starting_weights[self._layers] = self._drawn

    def draw(self, seed: int) -> None:
        """Keep the weights that a model built from a seed starts with."""
        if seed in self.starts:
            return
        model = self._build(seed)
        shape = _output_shape(model, self.train.images)
        if shape != self.output_shape:
            raise ValueError(
                f"a builder's models return {self.output_shape} from one seed and "
                f"{shape} from another: let all return as many logits"
            )
        layers = self._keep(seed, model)
        if layers is not None and layers == self._layers:
            self._drawn[seed] = self.starts[seed]

    def _keep(self, seed: int, model: keras.Model) -> str | None:
        layers, self._architectures[seed] = _describe(model)
        self.starts[seed] = _values(_state(model))
        self._latest = seed, Born.of(model)
        if layers is None:
            self._models[seed] = self._latest[1]
        return layers

    def architecture(self, seed: int) -> str | object:
        """Return what equals that of models whose programs are the same."""
        return self._architectures[seed]

    def check(self) -> None:
        """Refuse a builder whose models are not each a new one."""
        if self._builds == 1 and not self._known:
            self._build(0)

    def model(self, seed: int) -> Born:
        """Return a model for a program: the seed's own, or one of equal parts."""
        self.check()  # before a program changes what may be somebody's weights
        if seed in self._models:
            return self._models[seed]
        if self._latest is not None and self._latest[0] == seed:
            born, self._latest = self._latest[1], None
            return born
        model = self._build(seed)
        if _describe(model)[1] != self._architectures[seed]:
            raise ValueError(
                "a builder's models of one seed differ: let it draw from generators "
                "that keras.utils.set_random_seed sets, or make one of its own in each "
                "call, as np.random.default_rng(0)"
            )
        return Born.of(model)

    def _build(self, seed: int) -> keras.Model:
        with _alone:  # or another thread's seed would come between
            keras.utils.set_random_seed(seed)
            model = self.build()
            if not isinstance(model, keras.Model):
                raise ValueError(
                    f"a builder returned {model!r}, no keras.Model: let it end in "
                    "`return model`"
                )
            if not hasattr(model, "built"):
                raise ValueError(
                    f"the __init__ of {type(model).__name__} lacks its first line, "
                    "super().__init__(): add it"
                )
            self._admit(model)
        self._builds += 1
        return model

    def _admit(self, model: keras.Model) -> None:
        """Create its variables; refuse it if any belong to another model."""
        for name in ("train_step", "compute_loss"):
            if getattr(type(model), name) is not getattr(keras.Model, name):
                raise ValueError(
                    f"the model {model.name} has a {name} of its own, which is for "
                    "`fit` and is not called here: put what it does into `call`, an "
                    "added loss or the optimizer, or train it by `fit`"
                )
        if model in _built:
            raise ValueError(
                "a builder returned the same model twice: it must build a new one "
                "each time, as `lambda: helpers.models.mlp()` does"
            )
        for layer in layers_of(model):
            if layer in _built and _is_trained(layer):
                remedy = "or freeze it with `trainable = False`"
                if not layer.trainable_variables:  # it is frozen, and draws
                    remedy = "by keras.models.clone_model and set_weights, say"
                raise ValueError(
                    f"a builder put one layer, {layer.name}, into two models, so that "
                    "the training of one would change the other: let it make a new "
                    f"layer each time, {remedy}"
                )
        _built.update(layers_of(model))
        if not model.built and isinstance(model, keras.Sequential):
            whole = (None, *self.train.images.shape[1:])
            with _explained(model, whole):
                model.build(whole)
        elif not model.built:  # a true call might move its generators and counters
            _traced(model, self.train.images)
        if not all(layer.built for layer in layers_of(model)):  # as a PReLU in a Dense
            for training in (False, True):
                with suppress(Exception), keras.StatelessScope():
                    model(self.train.images[:2], training=training)
        shape = getattr(model, "input_shape", None)
        if isinstance(shape, tuple) and shape[:1] not in ((), (None,)):
            raise ValueError(
                f"the model {model.name} takes {shape[0]} images at a time, no more "
                "and no fewer: leave batch_size out of its Input"
            )
        if not takes(model, self.train.images):
            raise ValueError(
                f"the model {model.name} takes images of shape {model.input_shape}, "
                f"not {self.train.images.shape}: give its builder their shape"
            )
        for variable in model.variables:
            is_shared = _variables.get(id(variable)) is variable
            if not is_shared:
                continue
            _shared[id(variable)] = variable  # it may be one that nothing changes
            if _is_changed(variable):
                raise ValueError(
                    f"a builder put one variable, {variable.path}, into two models, so "
                    "that the training of one would change the other: let it make a "
                    "new variable each time, by a layer's add_weight or a "
                    "keras.random.SeedGenerator of its own"
                )
        _variables.update((id(variable), variable) for variable in model.variables)


@dataclass(frozen=True)
class Kind:
    """What a program depends on: all but weights, plain rate and number of images."""

    architecture: str | object
    images: tf.TensorSpec
    labels: tf.TensorSpec
    optimizer: Any
    decays: bool

    @property
    def is_public(self) -> bool:
        """Whether another call's network and optimizer may be of this kind."""
        return isinstance(self.architecture, str) and isinstance(self.optimizer, str)


class _NotForXLA(Exception):  # noqa: N818  # no error: it is trained without
    """XLA would compile the training, to other numbers."""


class Program:
    """A model and its compiled training loop, started afresh for each run."""

    def __init__(
        self,
        kind: Kind,
        born: Born,
        make: Callable[[], keras.optimizers.Optimizer],
        start: Weights,
    ):
        born.restore()
        model, self.variables = born.model, born.variables
        if not model.trainable_variables:
            raise ValueError(
                f"the model {model.name} has no weight to train: unfreeze a layer, by "
                "`trainable = True`, or give it one that has weights"
            )
        self.kind, self.model, self.make, self.start = kind, model, make, start
        self.born = born
        # An optimizer that copies weights when it is built copies these, and shows it.
        for variable in model.trainable_variables:
            variable.assign(tf.fill(variable.shape, tf.cast(np.nan, variable.dtype)))
        self.optimizer = self._new_optimizer()
        self.optimizer_state = self._state_of(self.optimizer)
        self.optimizer_start = _values(self.optimizer_state)
        self.copies_weights = any(map(_holds_nan, self.optimizer_start))
        known = {id(v) for v in [*model.trainable_variables, *self.optimizer_state]}
        numbers = tf.Tensor | tf.Variable | np.ndarray | float  # NumPy's among them
        for part in optimizers.contents(self.optimizer):
            if (
                isinstance(part, numbers)
                and id(part) not in known
                and _holds_nan(np.asarray(part))
            ):
                raise ValueError(
                    f"the optimizer {type(self.optimizer).__name__} keeps copies of "
                    "weights, or numbers made of them, that are not its variables: let "
                    "it make them by add_variable_from_reference"
                )
        finalizes = optimizers.finalizes(self.optimizer)
        self.finals = model.trainable_variables if finalizes else []
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # XLA's convolutions lose their threads inside a loop: there each update is a
        # program of its own, which was measured to be many times faster.
        in_loop = not _is_convolutional(model)
        self._define(tf.function(self._checked_update, jit_compile=True), in_loop)
        self.compiled: set[tuple[int, int, int]] = set()
        self.refusal: str | None = None
        self.inference = _inferences[model] = Inference(model, kind.images)

    def _state_of(self, optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
        return optimizers.state(optimizer, self.model.trainable_variables)

    def _new_optimizer(self) -> keras.optimizers.Optimizer:
        optimizer = self.make()
        # As `compile` does, or small gradients would vanish.
        halves = self.model.dtype_policy.name == "mixed_float16"
        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if halves and not scales:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(self.model.trainable_variables)
        return optimizer

    def _define(self, update: Callable, jit_compile: bool) -> None:
        self.update = update
        # With open sizes it is traced once: for another batch size, XLA compiles what
        # Python need not run again.
        signature = [self.kind.images, self.kind.labels]
        signature += [tf.TensorSpec((None, None), tf.int32)]
        signature += [tf.TensorSpec((), tf.int32)] * 2
        signature += [tf.TensorSpec((None,), tf.float32)] * self.kind.decays
        self.loop = tf.function(
            self._loop,
            input_signature=None if _is_of_sizes(self.model) else signature,
            jit_compile=jit_compile,
        )

    def compile(self, train: Images, batch_size: int) -> None:
        """Compile for full batches and the rest of an epoch; needs `restart` after."""
        full, rest = divmod(len(train), batch_size)
        shapes = [(full, batch_size)] + [(1, rest)] * (rest > 0)
        is_first = not self.compiled
        try:
            self._first_steps(train, shapes)
        except (
            tf.errors.InvalidArgumentError,
            tf.errors.UnimplementedError,
            tf.errors.InternalError,  # half precision on a processor without it
            _NotForXLA,
        ):
            self._define(self._update, jit_compile=False)
            try:
                self._first_steps(train, shapes)
            except tf.errors.InvalidArgumentError as error:
                sizes = " and ".join(str(size) for _, size in shapes)
                raise ValueError(
                    f"the model {self.model.name} cannot be trained in batches of "
                    f"{sizes} images ({_fault(error)}): choose a batch_size that it "
                    "can take, and that leaves no rest of another size"
                ) from None
            warnings.warn(
                "XLA cannot compile this training here: it runs uncompiled, with the "
                "same results, more slowly.",
                stacklevel=2,
            )
        except tf.errors.OpError:
            raise
        except Exception as error:  # of Keras, TensorFlow or the model's own code
            if "No gradients provided" in str(error):
                self.refusal = hidden(self.model) or (
                    f"no weight of {self.model.name} gets a gradient: let its logits "
                    "come of operations that have one, unlike round, argmax and casts"
                )
            if self.refusal is not None:
                raise ValueError(self.refusal) from None  # without TensorFlow's trace
            raise ValueError(
                f"one update of {type(self.model).__name__} {self.model.name!r} with "
                f"{type(self.optimizer).__name__} cannot be compiled ({_said(error)}): "
                "let the model take the images as they are and, like the optimizer "
                "and its schedule, compute by keras.ops alone, with no `if`, `float` "
                "or `numpy()` of a tensor"
            ) from error
        if is_first and not self.kind.is_public:
            self._check_repeats(train)

    def _check_repeats(self, train: Images) -> None:
        """Refuse what does another update from the same start: it draws in Python."""
        images = train.images[:2]
        with _alone, suppress(Exception):  # of others' code: it is said at compiling
            _, *ends = (self._first_end(train) for _ in range(3))  # it may keep a size
            if _alike(*ends):
                return
            calls = []
            for _ in range(2):
                with _watched(self.model) as called:
                    self._first_end(train)
                calls.append(called)
            names = (
                a[0] for a, b in zip(*calls, strict=True) if not _alike(a[1], b[1])
            )
            name = next(names, None)
            culprit = f"layer {name}" if name else self._other_culprit()
            self.refusal = _drawing(self.model, images) or _python_refusal(culprit)
        if self.refusal is not None:
            raise ValueError(self.refusal)

    def _first_end(self, train: Images) -> list[np.ndarray]:
        """Return variables and logits after one update of two images, uncompiled."""
        images, labels = train.images[:2], train.labels[:2]
        self.restart(self.start, None)
        self._update(images, labels)
        ends = _values([*self.variables, *self.optimizer_state])
        return [*ends, np.asarray(self.model(images, training=False))]

    def _other_culprit(self) -> str:
        name = type(self.optimizer).__name__
        return f"optimizer {name}, its schedule, or a rule on weights"

    def _first_steps(self, train: Images, shapes: Sequence[tuple[int, int]]) -> None:
        # A real step, not none: the first is slow, and `restart` undoes it.
        for shape in shapes:
            if (len(train), *shape) not in self.compiled:
                self.restart(self.start, None)  # not every layer can compute with NaN
                rates = tf.zeros(shape[:1]) if self.kind.decays else None
                batches = tf.reshape(tf.range(shape[0] * shape[1]), shape)
                self.advance(train, batches, rates, 0, 1)
                self.compiled.add((len(train), *shape))

    def restart(self, start: Weights, rate: float | None) -> None:
        """Set weights and optimizer to what a newly built model would start with."""
        self.born.restore()
        _assign(self.variables, start)
        if self.copies_weights:
            self.optimizer_start = _values(self._state_of(self._new_optimizer()))
        _assign(self.optimizer_state, self.optimizer_start)
        if rate is not None:
            self.optimizer.learning_rate = rate

    def finish(self) -> None:
        """Leave the model as `fit` leaves it: with averaged weights, say."""
        if self.finals:
            self.optimizer.finalize_variable_values(self.finals)

    @contextmanager
    def finished(self, probed: bool) -> Iterator[None]:
        """Measure the model as if training ended here, and go on as if it had not."""
        changing = self.variables
        if not probed and self.inference.changes is not None:  # often none: it is quick
            changes = self.inference.changes
            state = [v for v in self.variables if id(v.value.handle) in changes]
            changing = [*state, *self.finals]
        before = [variable.numpy() for variable in changing]
        self.finish()
        try:
            yield
        finally:
            _assign(changing, before)

    def advance(
        self,
        train: Images,
        batches: tf.Tensor,
        rates: tf.Tensor | None,
        start: int,
        stop: int,
    ) -> float:
        """Train on ``batches[start:stop]`` and return the sum of their losses."""
        arguments = [train.images, train.labels, batches]
        arguments += [tf.constant(start), tf.constant(stop)]
        return float(self.loop(*arguments, *[rates] * self.kind.decays))

    def _loop(self, images, labels, batches, start, stop, rates=None):
        total = tf.constant(0.0)
        index = start
        # `while`, not `tf.range`: XLA would compile anew for every other range.
        while index < stop:
            if self.kind.decays:
                self.optimizer.learning_rate.assign(rates[index])
            batch = batches[index]
            loss = self.update(tf.gather(images, batch), tf.gather(labels, batch))
            total += tf.cast(loss, tf.float32)  # it is of `keras.config.floatx()`
            index += 1
        return total

    def _update(self, images, labels):
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(images, training=True))
            if self.model.losses:
                loss += tf.add_n(
                    [tf.reduce_sum(tf.cast(x, loss.dtype)) for x in self.model.losses]
                )
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _checked_update(self, images, labels):
        with _alone:  # or what another thread draws would be taken for a layer's
            before = _python_side(self._parts())
            loss = self._update(images, labels)
            self._check(before)
        return loss

    @tf.autograph.experimental.do_not_convert
    def _check(self, before: list) -> None:
        """Refuse the update that is being traced if it could not be trained truly."""
        bodies = _bodies()
        known = [*self.variables, *self.optimizer_state]
        nodes = sum(bodies, [])
        self.refusal = _refusal(self.model, known, nodes) or _sharing()
        calls_python = any("PyFunc" in node.op for node in nodes)
        changed = _python_side(self._parts()) != before
        if self.refusal is None and (changed or calls_python):
            self.refusal = self._python_refusal()
        if self.refusal:
            raise ValueError(self.refusal)
        # XLA fills such shapes up, and may count what it added.
        if any(map(_has_shapes_of_values, bodies)):
            raise _NotForXLA
        # Its random numbers are others than those that scoring draws.
        if any(map(_draws_fixed_numbers, bodies)):
            raise _NotForXLA

    @tf.autograph.experimental.do_not_convert
    def _parts(self) -> list[Any]:
        """Return all whose code an update runs."""
        kinds = (
            keras.optimizers.Optimizer | keras.optimizers.schedules.LearningRateSchedule
        )
        made = [p for p in optimizers.contents(self.optimizer) if isinstance(p, kinds)]
        variables = self.model.trainable_variables
        rules = [rule for v in variables for rule in (v.regularizer, v.constraint)]
        return [*layers_of(self.model), *made, *(rule for rule in rules if rule)]

    def _python_refusal(self) -> str | None:
        """Name what draws or counts in Python, where no update would repeat it."""
        with ThreadPoolExecutor(1) as pool:  # in another thread no graph is traced
            culprit = pool.submit(self._culprit).result()
        return None if culprit is None else _python_refusal(culprit)

    def _culprit(self) -> str | None:
        """Name the layer, or else the optimizer, that changes what Python keeps."""
        if _is_drawn_elsewhere():  # by whom could not be told
            return None
        images, labels = self.kind.images, self.kind.labels
        blank = tf.zeros((2, *images.shape[1:]), images.dtype)
        try:
            layer = _changing_layer(self.model, blank)
            if layer is not None:
                return f"layer {layer}"
            sides = []
            for _ in range(3):
                self._update(blank, tf.zeros(2, labels.dtype))
                sides.append(_python_side(self._parts()))
        except Exception:  # blank images may be none that it can take
            return None
        if sides[0] == sides[1] or sides[1] == sides[2]:
            return None
        return self._other_culprit()

    def score(self, split: Images) -> tuple[float, float]:
        """Loss and accuracy in inference mode."""
        pieces = [self.inference.logits(piece) for piece in split.pieces]
        logits, loss = _together(pieces, split.labels)
        accuracy = np.mean(np.argmax(logits, axis=-1) == split.right)
        return float(loss), float(accuracy)


@tf.function
def _together(pieces, labels):
    logits = tf.concat(pieces, 0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return logits, loss(labels, logits)


def take(network: Network, seed: int, recipe: Recipe, decays: bool) -> Program:
    """Return an idle program for a network and an optimizer, or else a new one.

    It is the caller's alone until :func:`give_back`.
    """
    kind = Kind(
        network.architecture(seed),
        _open(network.train.images),
        _open(network.train.labels),
        recipe.kind,
        decays,
    )
    with _alone:
        for program in reversed(idle_programs):
            if program.kind == kind:
                del idle_programs[program]
                return program
    return Program(kind, network.model(seed), recipe.make, network.starts[seed])


def give_back(program: Program) -> None:
    """Keep a program for the next network that can use it.

    But not if others have a part of its model: the next one's weights would be theirs.
    """
    shared = any(id(variable) in _shared for variable in program.variables)
    if program.kind.is_public and not shared:
        with _alone:
            idle_programs[program] = None


def forget_the_oldest() -> None:
    """Keep no more than `KEPT` bytes of programs, and of starting weights."""
    for table, size in (
        (idle_programs, _size_of_program),
        (starting_weights, _size_of_starts),
    ):
        with _alone:
            sizes = [size(*item) for item in table.items()]
            for excess in np.cumsum(sizes[::-1])[::-1] > KEPT:
                if excess:
                    table.popitem(last=False)


def _size_of_program(program: Program, _: None) -> int:
    variables = [*program.model.variables, *program.optimizer.variables]
    return sum(4 * int(np.prod(variable.shape)) for variable in variables)


def _size_of_starts(_: str, starts: dict[int, Weights]) -> int:
    return sum(array.nbytes for weights in starts.values() for array in weights)


def clear() -> None:
    """Forget all programs and starting weights, to free their memory."""
    idle_programs.clear()
    starting_weights.clear()


def _describe(model: keras.Model) -> tuple[str | None, str | object]:
    """Write a model's layers down, with their initializers and without.

    Where they do not say all, as with layers, operations, activations or regularizers
    that are not Keras' own, there is no text, and an architecture that equals no other.
    """
    nothing = None, object()
    operations = operations_of(model)
    for operation in operations:
        held = list(_leaves(vars(operation).values()))
        calls = [node.arguments for node in operation._inbound_nodes]
        # What an operation is called with, as the function in `keras.ops.map(f, x)`.
        given = keras.tree.flatten([[call.args, call.kwargs] for call in calls])
        parts = [operation, *(part for part in [*held, *given] if callable(part))]
        if any(map(_is_constant, held)) or not all(map(is_keras, parts)):
            return nothing
    rules = [(v.regularizer, v.constraint) for v in model.trainable_variables]
    if not all(rule is None or is_keras(rule) for pair in rules for rule in pair):
        return nothing
    try:
        config = keras.saving.serialize_keras_object(model)
        policy = model.dtype_policy.name, keras.config.epsilon(), keras.config.floatx()
        names = {part.name: index for index, part in enumerate(operations)}
        if len(names) < len(operations):  # two of one name would be taken for one
            return nothing
        variables = [
            (
                list(variable.shape),
                str(variable.dtype),
                variable.trainable,
                keras.saving.serialize_keras_object(variable.regularizer),
                keras.saving.serialize_keras_object(variable.constraint),
            )
            for variable in _state(model)
        ]
        set_ = [_numbers(operation) for operation in operations]
        full, bare = (
            json.dumps(
                [policy, _anonymous(config, names, initializers), variables, set_]
            )
            for initializers in (True, False)
        )
    except (TypeError, ValueError, NotImplementedError):
        return nothing
    return full, bare


def _numbers(operation: keras.Operation) -> dict[str, Any]:
    """Return an operation's plain numbers: a configuration may lack what was set."""
    return {
        name: value
        for name, value in sorted(vars(operation).items())
        if name[0] != "_" and name != "seed" and _is_of_numbers(value)
    }


def _is_of_numbers(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_of_numbers, value))
    return isinstance(value, bool | int | float)


def _leaves(values: Iterable[Any]) -> Iterator[Any]:
    """Yield what lists and dictionaries hold, whose keys may have no order."""
    for value in values:
        if isinstance(value, Mapping):
            yield from _leaves(value.values())
        elif isinstance(value, list | tuple | set):
            yield from _leaves(value)
        else:
            yield value


def _is_constant(part: Any) -> bool:
    """Whether it is an array that no text shows, as `Normalization.adapt` leaves."""
    variable = isinstance(part, VARIABLE)
    return isinstance(part, np.ndarray) or (tf.is_tensor(part) and not variable)


def _anonymous(config: Any, names: dict[str, int], initializers: bool) -> Any:
    """Put numbers for the names of layers: Keras counts them through a process."""
    if isinstance(config, list | tuple):
        return [_anonymous(value, names, initializers) for value in config]
    if not isinstance(config, dict):
        return config
    found = {}
    for key, value in config.items():
        # A seed moves starting weights, and the state of generators, alone.
        if (key.endswith("_initializer") or key == "seed") and not initializers:
            continue
        if key == "compile_config":  # for `fit`, which is not used
            continue
        if key == "dtype":  # its policy has a name too
            found[key] = value
            continue
        if key == "name" and value in names:
            value = names[value]
        elif key == "keras_history":
            value = [names[value[0]], *value[1:]]
        elif key in ("input_layers", "output_layers"):
            value = _numbered(value, names)
        found[key] = _anonymous(value, names, initializers)
    return found


def _numbered(value: Any, names: dict[str, int]) -> Any:
    if isinstance(value, list | tuple):
        return [_numbered(part, names) for part in value]
    if isinstance(value, dict):
        return {key: _numbered(part, names) for key, part in value.items()}
    return names.get(value, value) if isinstance(value, str) else value


def _changes() -> list[tuple[tf.Tensor, str]]:
    """Variables that the graph being traced changes: handle, and where it does."""
    return [
        (outside, operation.name)
        for outside, inside in tf.compat.v1.get_default_graph().captures
        if outside.dtype == tf.resource
        for operation in inside.consumers()
        if operation.type not in READS
    ]


def _bodies() -> list[list[Any]]:
    """Return the operations of the graph being traced, and of each function in it."""
    graph = tf.compat.v1.get_default_graph().as_graph_def()
    functions = [list(function.node_def) for function in graph.library.function]
    return [list(graph.node), *functions]


def _has_shapes_of_values(nodes: Sequence[Any]) -> bool:
    """Whether the shape of something depends on values, and not on shapes alone."""
    if any(node.op.startswith(("Where", "Unique")) for node in nodes):
        return True
    known = {node.name: node for node in nodes}
    lengths = [node.input[2] for node in nodes if node.op == "Slice"]
    for node in nodes:
        if node.op == "StridedSlice" and _is_of_any_length(node, known):
            lengths += node.input[1:3]
    seen = set()
    while lengths:  # back to what they are computed from
        name = lengths.pop().partition(":")[0]
        node = known.get(name)
        if node is None:  # what a function is given
            return True
        if name in seen or node.op in ("Const", "Rank", "Shape", "ShapeN", "Size"):
            continue
        if not node.input:
            return True
        seen.add(name)
        lengths += [part for part in node.input if not part.startswith("^")]
    return False


def _draws_fixed_numbers(nodes: Sequence[Any]) -> bool:
    """Whether random numbers come of a constant seed, and are the same in each call."""
    known = {node.name: node for node in nodes}
    for node in nodes:
        if not node.op.startswith("StatelessRandom") or not node.input:
            continue
        names, seen = list(node.input), set()
        while names:  # back to what the seed is computed from
            name = names.pop().partition(":")[0].lstrip("^")
            if name in seen:
                continue
            seen.add(name)
            names += known[name].input if name in known else []
        sources = {known[n].op if n in known else "an argument" for n in seen}
        changing = {"an argument", "Placeholder", "ReadVariableOp", "ResourceGather"}
        if not sources & changing:
            return True
    return False


def _refusal(
    model: keras.Model, known: Sequence[keras.Variable], nodes: Sequence[Any]
) -> str | None:
    """Name what no run could start afresh in the update that is being traced.

    That is a layer that draws random numbers, or changes variables, that are not the
    model's.
    """
    handles = {id(variable.value.handle) for variable in known}
    draws = [node.name for node in nodes if {"seed", "seed2"} <= node.attr.keys()]
    changes = [place for handle, place in _changes() if id(handle) not in handles]
    places = draws + changes
    if not places:
        return None
    names = {layer.name for layer in layers_of(model)}
    # A scope that is entered again is numbered.
    parts = [(part, re.sub(r"_\d+$", "", part)) for part in places[0].split("/")]
    layers = [name for pair in parts for name in pair if name in names]
    return (
        f"the layer or optimizer {layers[-1] if layers else places[0]} draws random "
        "numbers or changes variables that are not its own, so that no seed would fix "
        "a run: let it hold what it changes as attributes, by add_weight and not as a "
        "tf.Variable, and a keras.random.SeedGenerator for keras.random"
    )


def _drawing(model: keras.Model, images: tf.Tensor) -> str | None:
    """Name a layer that draws what no seed fixes, in inference mode too."""
    found: list[str | None] = [None]

    def call(images):
        model(images, training=False)
        found.append(_refusal(model, _state(model), sum(_bodies(), [])))

    with suppress(Exception):  # of the model's own code: it is said where it is trained
        tf.function(call, autograph=False).get_concrete_function(images)
    return found[-1]


def _sharing() -> str | None:
    """Name a variable of several models that the update being traced changes."""
    shared = {id(variable.value.handle): variable for variable in _shared.values()}
    for handle, _ in _changes():
        if id(handle) in shared:
            return (
                f"a builder put {shared[id(handle)].path} into two models, so that the "
                "training of one would change the other: let it make a new layer each "
                "time, or freeze it with `trainable = False`"
            )
    return None


def _is_of_any_length(node: Any, known: Mapping[str, Any]) -> bool:
    """Whether a slice `x[a:b, …]` is more than single rows and whole dimensions."""
    begin = known.get(node.input[1].partition(":")[0])
    masks = {
        name: node.attr[f"{name}_mask"].i
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    fixed = masks["shrink_axis"] | masks["begin"] & masks["end"]
    fixed |= masks["ellipsis"] | masks["new_axis"]
    n = max(mask.bit_length() for mask in masks.values())
    if begin is not None and begin.op == "Pack":
        n = begin.attr["N"].i
    return fixed != 2 ** max(n, 1) - 1


@tf.autograph.experimental.do_not_convert
def _python_side(parts: Iterable[Any]) -> list:
    """Return what calls may change in Python: generators, and what parts hold."""
    legacy: Any = np.random.get_state(legacy=True)  # noqa: NPY002  # not ours
    own = [vars(part).items() for part in parts if not is_keras(part)]
    held = [
        _comparable(value)
        for items in own
        for name, value in items
        if name[0] != "_" or name not in KEPT_BY_KERAS  # as `_losses` is
    ]
    return [random.getstate(), pickle.dumps(legacy), *held]


def _comparable(value: Any) -> Any:
    """Return numbers, texts and generators in a form that can be compared."""
    if isinstance(value, PLAIN):
        return pickle.dumps(value)
    if isinstance(value, itertools.count):
        return repr(value)
    if isinstance(value, Mapping):
        return [_comparable(part) for part in value.values()]
    if isinstance(value, list | tuple):
        return [_comparable(part) for part in value]
    return None


def _python_refusal(culprit: str) -> str:
    return (
        f"the {culprit} draws from `random` or `numpy.random`, or counts in an "
        "attribute, when it is called: this would happen once for all updates, as "
        "in `fit`. Let it draw by keras.random, with a keras.random.SeedGenerator "
        "as an attribute, and count in a weight, add_weight(trainable=False)"
    )


@contextmanager
def _watched(model: keras.Model) -> Iterator[list[tuple[str, Any]]]:
    """Note what each layer of a model returns, within first, as a list that grows."""
    called: list[tuple[str, Any]] = []

    def noting(layer, *args, _call, **kwargs):
        outputs = _call(*args, **kwargs)
        arrays = [part for part in keras.tree.flatten(outputs) if tf.is_tensor(part)]
        called.append((layer.name, [np.asarray(array) for array in arrays]))
        return outputs

    layers = layers_of(model)
    for layer in layers:
        layer.call = partial(noting, layer, _call=layer.call)
    try:
        yield called
    finally:
        for layer in layers:
            del layer.call


def _changing_layer(model: keras.Model, blank: tf.Tensor) -> str | None:
    """Name a layer that draws or counts in Python in each call, if there is one."""
    changing: list[list[str]] = [[], []]  # of two calls: one may keep a size

    def watched(layer, *args, _call, _found, **kwargs):
        before = _python_side(layers_of(layer))
        outputs = _call(*args, **kwargs)
        if _python_side(layers_of(layer)) != before:
            _found.append(layer.name)
        return outputs

    layers = layers_of(model)
    model(blank, training=True)
    for found in changing:
        for layer in layers:
            layer.call = partial(watched, layer, _call=layer.call, _found=found)
        try:
            model(blank, training=True)
        finally:
            for layer in layers:
                del layer.call
    return next((name for name in changing[0] if name in changing[1]), None)


def _is_drawn_elsewhere() -> bool:
    """Whether another thread draws from the generators that all share."""
    before = _python_side([])
    time.sleep(0.05)
    return _python_side([]) != before


def _state(model: keras.Model) -> list[keras.Variable]:
    """Return the variables of a model and of metrics that its layers hold."""
    return [*model.variables, *model.metrics_variables]


def _is_changed(variable: keras.Variable) -> bool:
    """Whether training changes it; `trainable` holds where its layers are frozen."""
    return variable.trainable or "seed" in variable.name


def _is_trained(layer: keras.Layer) -> bool:
    """Whether training changes its weights, or where its random numbers stand."""
    return any(map(_is_changed, layer.variables))


def _is_convolutional(model: keras.Model) -> bool:
    # Its sums come in another order where sizes are open, and so do its last digits.
    return any(len(variable.shape) >= 4 for variable in model.trainable_variables)


def _is_of_sizes(model: keras.Model) -> bool:
    """Whether it must be traced for each number of images, and not once for all."""
    # Where that is open, Keras distorts the first image of a batch again and again.
    distorting = ("RandomElasticTransform", "ElasticTransform")
    names = {type(part).__name__ for part in operations_of(model)}
    return _is_convolutional(model) or not names.isdisjoint(distorting)


def _output_shape(model: keras.Model, images: tf.Tensor) -> tuple:
    functional = getattr(model, "outputs", None)
    found = functional or _traced(model, images)  # of a class
    if functional and not isinstance(model, keras.Sequential):
        found = model.output
    outputs = keras.tree.flatten(found)
    if any(output is None for output in outputs):
        raise ValueError(
            f"the model {type(model).__name__} returns None: let its call end in "
            "`return`, with the logits"
        )
    if functional and isinstance(found, list | tuple):
        found = found if len(found) > 1 else found[0]  # as its call does
    if len(outputs) != 1 or found is not outputs[0]:
        kind = f"a {type(found).__name__} of {len(outputs)}"
        raise ValueError(
            f"the model {type(model).__name__} returns {kind}, not one tensor: let it "
            "return the logits alone"
        )
    return outputs[0].shape


def _traced(model: keras.Model, images: tf.Tensor) -> Any:
    """Call a model of a class with no values: variables are made, and none is changed.

    Returns
    -------
    What it returns, as symbolic tensors for any number of images.
    """
    whole = keras.KerasTensor((None, *images.shape[1:]), images.dtype.name)
    hears = "training" in inspect.signature(model.call).parameters
    mode = {"training": False} if hears else {}
    with _explained(model, whole.shape):
        return model(whole, **mode)


@contextmanager
def _explained(model: keras.Model, shape: tuple) -> Iterator[None]:
    """Say in a sentence what a model's call cannot make of a symbolic tensor."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"the model {type(model).__name__} cannot be compiled for images of shape "
            f"{shape} ({_said(error)}): let its call take these, and no numbers "
            "out of a tensor, nor the number of images, as `if`, `float`, `len` and "
            "`x.shape[0]` do: use keras.ops, with -1 in a reshape"
        ) from error


def _said(error: Exception) -> str:
    """Return what an error says, without the traces of Keras and TensorFlow."""
    text = str(error)
    bold = re.findall(r"\x1b\[1m(.*?)\x1b\[0m", text, re.DOTALL)  # as Keras prints it
    text = bold[-1] if bold else re.split(r"\w+Error: ", text)[-1]
    # Of a model's own error when Keras infers its shape, which may be Keras' in turn.
    text = text.rpartition("Error encountered:\n\n")[2].rpartition("\x1b[1m")[2]
    return " ".join(re.split(r"\.\s|\n\n", text.strip(), maxsplit=1)[0].split())


def _fault(error: tf.errors.OpError) -> str:
    """Return what an operation says, without where it stands."""
    said = re.findall(r"^(.+)\n\s*\[\[", str(error), re.MULTILINE)
    return said[-1].strip() if said else _said(error)


def _values(variables: Sequence[keras.Variable]) -> Weights:
    return [variable.numpy() for variable in variables]


def _assign(variables: Sequence[keras.Variable], values: Weights) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _holds_nan(array: np.ndarray) -> bool:
    return bool((array != array).any())


def _alike(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> bool:
    """Whether arrays are equal but for their last digits."""
    for one, other in zip(left, right, strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        last = 1e-5 * np.nanmax(np.abs(one), initial=0.0)
        if not np.allclose(one, other, rtol=1e-4, atol=last, equal_nan=True):
            return False
    return True


def _equal(left: Weights | None, right: Weights) -> bool:
    return (
        left is not None
        and len(left) == len(right)
        and all(map(np.array_equal, left, right))
    )


def _open(tensor: tf.Tensor) -> tf.TensorSpec:
    """Return the signature of tensors like this, with any number of rows."""
    return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)


def _pieces(images: tf.Tensor) -> list[tf.Tensor]:
    return [images[at : at + AT_A_TIME] for at in range(0, len(images), AT_A_TIME)]
