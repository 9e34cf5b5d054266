"""The predictions of a classifier for images."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Guess:
    """A class with its probability, 0 to 1. id, name: of the class, as in `Classes`.

    >>> guess = tench.load("runs/digits").predict("digit.png")[0].best
    >>> 0 <= guess.probability <= 1
    True
    """

    id: str
    name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The most likely classes of one image.

    image: its path, or its position as in `images[2]`. predictions: the most likely class first. error: why there is no
    answer; `predictions` is then empty.

    >>> [prediction] = tench.predict("runs/digits", "digit.png", top=3)
    >>> prediction.image, len(prediction.predictions), prediction.error
    ('digit.png', 3, None)
    """

    image: str
    predictions: tuple[Guess, ...] = ()
    error: str | None = None

    @property
    def best(self) -> Guess:
        """The most likely class. Raises ValueError with the reason if there is no answer."""
        if not self.predictions:
            raise ValueError(f"{self.image}: {self.error}")
        return self.predictions[0]

    def to_json(self) -> dict[str, Any]:
        """{"image", "predictions": [{"id", "name", "probability"}]}, and "error" if there is no answer."""
        answer = {"image": self.image, "predictions": [dataclasses.asdict(guess) for guess in self.predictions]}
        return answer if self.error is None else answer | {"error": self.error}


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions(Sequence[Prediction]):
    """The predictions for several images, in their order: a sequence of `Prediction`.

    probabilities: of every class, (images, classes) float32; a row is NaN if its image has no answer.

    >>> found = tench.load("runs/digits").predict(["digit.png", np.zeros((8, 8), np.uint8)])
    >>> len(found), found.shape, found[0].image, found.probabilities.dtype
    (2, (2, 10), 'digit.png', dtype('float32'))
    """

    items: tuple[Prediction, ...]
    probabilities: npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int]:
        """(images, classes), the shape of `probabilities`."""
        return self.probabilities.shape[0], self.probabilities.shape[1]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> "Predictions": ...
    def __getitem__(self, index: int | slice) -> "Prediction | Predictions":
        if isinstance(index, slice):
            return Predictions(self.items[index], self.probabilities[index])
        return self.items[index]
