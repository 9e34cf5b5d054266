"""The result of an evaluation: the numbers, and the answer for each image."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.table import Classes, Table


@dataclasses.dataclass(frozen=True)
class ClassResult:
    """The result for one class.

    id, name: as in `Classes`. images, correct: counts.

    >>> result = tench.evaluate("runs/digits").per_class[3]
    >>> result.id, result.images, result.top1 == result.correct / result.images
    ('3', 37, True)
    """

    id: str
    name: str
    images: int
    correct: int

    @property
    def top1(self) -> float | None:
        """The fraction of this class's images that were classified correctly; None if there are none."""
        return self.correct / self.images if self.images else None

    def to_json(self) -> dict[str, Any]:
        """{"id", "name", "images", "correct", "top1"}."""
        return dataclasses.asdict(self) | {"top1": self.top1}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A model measured on labelled images, each counted once.

    >>> evaluation = tench.evaluate("runs/digits")
    >>> evaluation.images, evaluation.split, len(evaluation.per_class)
    (359, 'val', 10)
    >>> worst = evaluation.losses.argsort()[::-1][:3]  # rows of the images with the largest loss
    >>> names = [evaluation.key(row) for row in worst]
    """

    model: str
    """The run, weights file or published name that was evaluated."""
    name: str
    """What it was evaluated on, for display: "/data/flowers (held out of train)"."""
    source: str
    """The dataset: absolute paths joined by " + ", or a name."""
    split: str
    """The split of the source that the images belong to."""
    images: int
    """Number of images."""
    top1: float
    """Fraction of the images whose most likely class is correct."""
    top5: float
    """Fraction of the images with the correct class among the five most likely."""
    loss: float
    """Mean cross-entropy, in nats."""
    per_class: tuple[ClassResult, ...]
    """One entry for each class, in the order of the labels."""
    num_trained_on: int | None
    """How many of the images the model was trained on: 0 unless a split was named; None if unknown."""
    notes: tuple[str, ...] = ()
    """What you should know about the images, one sentence each."""
    classes: Classes = dataclasses.field(repr=False)
    """The model's classes; `labels` and `predicted` are indices into it."""
    table: Table = dataclasses.field(repr=False)
    """The images: entry `row` of each array below belongs to row `row` of this table."""
    labels: npt.NDArray[np.int32] = dataclasses.field(repr=False)
    """The true classes, (images,) int32."""
    predicted: npt.NDArray[np.int32] = dataclasses.field(repr=False)
    """The k most likely classes, the most likely first, (images, k) int32. k is 5, or the number of classes if there
    are fewer."""
    probabilities: npt.NDArray[np.float32] = dataclasses.field(repr=False)
    """The probabilities of `predicted`, (images, k) float32."""
    losses: npt.NDArray[np.float32] = dataclasses.field(repr=False)
    """The cross-entropy of each image, (images,) float32: large for a confident wrong answer."""

    def key(self, row: int) -> str:
        """The name of an image in its dataset."""
        return self.table.key(row)

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values: images, top1, top5, loss, split, per_class, source, trained_on, notes."""
        return {
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "split": self.split,
            "source": self.source,
            "name": self.name,
            "trained_on": self.num_trained_on,
            "notes": list(self.notes),
            "per_class": [result.to_json() for result in self.per_class],
        }

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.images:,} image{'' if self.images == 1 else 's'}, each counted once\n"
            f"top-1 {self.top1:.2%}   top-5 {self.top5:.2%}   loss {self.loss:.4f}"
        )
