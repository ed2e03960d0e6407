"""The hidden examination of one notebook: what is asked, and the marks in the end.

Questions are drawn anew for each notebook and handed out one at a time, each when its
hidden cell comes up: which seed is trained again is decided after the table is in.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from assignment import formulas, networks, tables
from assignment.marks import Answers, Mark
from helpers import data

CHOICES = ("mnist", "fashion_mnist")


@lru_cache
def dataset(name: str) -> data.Dataset:
    """Return the data set of a choice, with the images the notebook trains on."""
    return data.load(name).subset(tables.TRAINING)


@lru_cache
def pixels(name: str) -> dict[str, np.ndarray]:
    """Return the grey values, 0 to 255, of each part: what `preprocess` is given."""
    parts = {part: getattr(dataset(name), part).images for part in networks.PARTS}
    return {part: np.rint(255 * x).astype("uint8") for part, x in parts.items()}


class Exam:
    """Questions for one notebook; its answers; their marks.

    Parameters
    ----------
    entropy : draws the hidden inputs, and which rows are trained again. The same for
        all runs of a notebook: who ends a run does not get others.
    """

    def __init__(self, entropy: int):
        self.entropy = entropy
        self.answers: dict[str, Answers] = {}
        self.asked: dict[str, list] = formulas.calls(self._rng("Q1.3"))
        self.seed: int | None = None
        self.setting: tuple | None = None

    def _rng(self, question: str) -> np.random.Generator:
        return np.random.default_rng([self.entropy, *question.encode()])

    @property
    def name(self) -> str:
        """The data set the student chose."""
        answers = self.heard("Q2.1-images")
        value = answers[0].get("value") if answers else None
        name = value.get("name") if isinstance(value, Mapping) else None
        return name if isinstance(name, str) and name in CHOICES else CHOICES[0]

    def calls(self, question: str) -> list[list]:
        """Return the arguments of each call that a hidden cell is to make."""
        if question not in self.asked:
            self.asked[question] = self._draw(question)
        return self.asked[question]

    def _draw(self, question: str) -> list[list]:
        if question == "Q2.1-images":
            return [[networks.SAMPLE]]
        if question == "Q2.1":
            return networks.image_calls(self._rng(question), pixels(self.name))
        if question == "Q2.4":
            return networks.network_calls()
        if question == "Q2.5-again":
            runs, problem = tables.runs_of(self.heard("Q2.5"))
            if problem:
                return []
            self.seed = int(self._rng(question).choice(runs["seed"]))
            return [[arm == "batch_norm", self.seed] for arm in tables.ARMS]
        if question == "Q3.1-again":
            _, problem = tables.sweep_of(self.heard("Q3.1"))
            if problem:
                return []
            drawn = self._rng(question).integers(len(tables.settings()))
            self.setting = budget, size, network = tables.settings()[drawn]
            epochs = tables.epochs(budget, size)
            return [[network == "batch_norm", 0, size, epochs]]
        return [[]]  # values, asked without arguments

    def hear(self, question: str, answers: Answers) -> None:
        """Keep what a hidden cell answered first: a table stands once it is in."""
        self.answers.setdefault(question, answers)

    def heard(self, question: str) -> Answers:
        """Return the answers to a question; none where nobody answered."""
        return self.answers.get(question, ())

    def marks(self) -> dict[str, Mark]:
        """Return points and message of each item."""
        marks = formulas.judge(self.asked, self.answers)
        marks["Q2.1"] = networks.judge_images(
            self.calls("Q2.1"), self.heard("Q2.1"), self.heard("Q2.1-images")
        )
        marks["Q2.4"] = networks.judge_networks(self.heard("Q2.4"))
        again = tables.again(
            self.heard("Q2.5-again"), tables.ARMS, lambda net: self._score(net, "test")
        )
        marks["Q2.5"] = tables.judge_runs(self.heard("Q2.5"), again, self.seed)
        again = tables.again(
            self.heard("Q3.1-again"),
            [self.setting[2]] if self.setting else [],
            lambda net: self._score(net, "validation"),
        )
        marks["Q3.1"] = tables.judge_sweep(self.heard("Q3.1"), again, self.setting)
        return marks

    def _score(self, network: Mapping, part: str) -> float:
        """Score a network as its student would: images scaled wrongly cost once."""
        split = getattr(dataset(self.name), part)
        slope, offset = networks.scaling(
            part, pixels(self.name)[part], self.heard("Q2.1-images")
        )
        images = slope * split.images + offset
        return networks.accuracy(network, images, split.labels)
