"""Classify image files."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tench.data.files.names import EXTENSIONS, is_image_name
from tench.data.images.image import decode
from tench.data.limits import LIMITS
from tench.errors import TenchError, UsageError
from tench.files import user_path
from tench.machine import num_threads
from tench.weights.load import load
from tench.weights.own import NOT_FINITE, Classifier, in_batches


@dataclasses.dataclass(frozen=True)
class Guess:
    """A class and its probability, 0 to 1."""

    id: str
    name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The likeliest classes of an image, the likeliest first; or why it could not be read."""

    image: str
    predictions: tuple[Guess, ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """{"image", "predictions": [{id, name, probability}]}, with "error" where it could not be read."""
        answer = {"image": self.image, "predictions": [dataclasses.asdict(guess) for guess in self.predictions]}
        return answer if self.error is None else answer | {"error": self.error}


def find_images(paths: Iterable[str | Path]) -> list[str]:
    """The files among the paths, and the images below the folders, sorted. Raises when there is nothing."""
    found: list[str] = []
    for path in (str(user_path(path)) for path in paths):
        if not os.path.exists(path):
            raise UsageError(f"{path}: no such file or folder.")
        if os.path.isdir(path):
            below = sorted(str(file) for file in Path(path).rglob("*") if _is_image(file, Path(path)))
            if not below:
                raise TenchError(f"{path}: holds no images (files ending in {', '.join(sorted(EXTENSIONS))}).")
            found += below
        else:
            found.append(path)
    if not found:
        raise UsageError("Name at least one image or folder.")
    return found


def _is_image(file: Path, folder: Path) -> bool:
    """By its extension; what is hidden, or lies in a hidden folder, is none."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return is_image_name(file.name) and not hidden and file.is_file()


def predict(
    model: Classifier | str | Path, images: Sequence[str | Path] | str | Path, *, top: int = 5, threads: int = 0
) -> Iterator[Prediction]:
    """A prediction for each image file, in order; an unreadable one yields its error.

    model: a classifier, or what `load` takes. images: files and folders, or one. top: classes for each. What is asked
    for is checked at once, and the images are read as the predictions are taken.
    """
    if top < 1:
        raise UsageError(f"The number of classes to show is {top}, but should be 1 or more.")
    paths = find_images([images] if isinstance(images, str | Path) else images)
    classifier = model if isinstance(model, Classifier) else load(model)
    return _predictions(classifier, paths, top, threads)


def _predictions(classifier: Classifier, paths: list[str], top: int, threads: int) -> Iterator[Prediction]:
    def view(path: str) -> npt.NDArray[np.uint8] | str:
        try:
            data = LIMITS.read_file(path, "an image", LIMITS.image_bytes)
            return classifier.card.test_view.pixels(decode(data, classifier.card.channels))
        except TenchError as error:
            return str(error).removeprefix(f"{path}: ")

    with concurrent.futures.ThreadPoolExecutor(num_threads(threads)) as pool:
        for part in in_batches(paths):  # so that no more views wait in memory than go through the network together
            views = list(pool.map(view, part))
            probabilities = iter(classifier.probabilities([pixels for pixels in views if not isinstance(pixels, str)]))
            for path, pixels in zip(part, views, strict=True):
                if isinstance(pixels, str):
                    yield Prediction(path, error=pixels)
                    continue
                answer = next(probabilities)
                if np.isnan(answer).any():
                    yield Prediction(path, error=NOT_FINITE)
                else:
                    yield Prediction(path, _guesses(classifier, answer, top))


def _guesses(classifier: Classifier, probabilities: npt.NDArray[np.float32], top: int) -> tuple[Guess, ...]:
    classes = classifier.classes
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Guess(classes.ids[index], classes.names[index], float(probabilities[index])) for index in best)
