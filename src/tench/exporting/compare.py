"""Compare an exported graph with the model it was made from, on real images."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tench.data import exif
from tench.data.images.picture import decode_row
from tench.data.table import Table
from tench.evaluation.measure import require_labels
from tench.weights.onnx_file import GraphInput
from tench.weights.own import Classifier

TIE = 1e-4
"""If the two best probabilities of an image differ by less, rounding decides which of them is first."""
_TIMED, _WARM_UP = 32, 4
_BATCH = 16

Pixels = npt.NDArray[np.uint8]
Answer = Callable[[Pixels], npt.NDArray[np.float32]]
"""(B, H, W, C) uint8 images of one size -> probabilities (B, classes)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """How an exported graph compares with its model on the same images.

    Times include the preprocessing that the graph does; the model's include the same in tench.

    >>> found = tench.export("runs/digits", "compared.onnx", verify=50)
    >>> found.images, found.drop
    (50, 0.0)
    """

    images: int
    top1_model: float
    top1_export: float
    agreement: float
    """Fraction of the images with the same most likely class; ties count as the same."""
    ties: int
    """Images with different answers whose two best probabilities differ by less than 1e-4."""
    largest_difference: float
    """Of a probability, over all images and classes."""
    model_ms: float
    """Median time for one image, in milliseconds."""
    export_ms: float
    model_images_per_second: float
    """In batches of 16."""
    export_images_per_second: float
    file_bytes: int

    @property
    def drop(self) -> float:
        """Loss of top-1, in points (hundredths)."""
        return 100 * (self.top1_model - self.top1_export)


def compare(classifier: Classifier, file: Path, kind: GraphInput, table: Table, num_images: int) -> Comparison:
    """Compare a graph with its model on images spread evenly over a table, whose labels are the model's classes."""
    require_labels(table, "the images")
    table = exif.oriented(table, classifier.card.exif)
    rows = np.unique(np.linspace(0, len(table) - 1, min(num_images, len(table))).round().astype(int))
    model, export = _model(classifier), _export(classifier, file, kind)
    hits, ties, same, largest = np.zeros(2, int), 0, 0, 0.0
    kept: list[Pixels] = []
    for row in rows.tolist():
        pixels = decode_row(table, row, classifier.card.channels)[None]
        answers = [answer(pixels)[0] for answer in (model, export)]
        first = [int(answer.argmax()) for answer in answers]
        hits += [one == table.labels[row] for one in first]
        best = np.sort(answers[0])[-2:]
        is_tie = first[0] != first[1] and best[-1] - best[0] < TIE
        ties += is_tie
        same += first[0] == first[1] or is_tie
        largest = max(largest, float(np.abs(answers[0] - answers[1]).max()))
        if len(kept) < _TIMED:
            kept.append(pixels)
    times = _times([model, export], kept)
    rates = _rates([model, export], kept[0])
    return Comparison(
        images=len(rows),
        top1_model=float(hits[0] / len(rows)),
        top1_export=float(hits[1] / len(rows)),
        agreement=same / len(rows),
        ties=ties,
        largest_difference=largest,
        model_ms=1000 * times[0],
        export_ms=1000 * times[1],
        model_images_per_second=rates[0],
        export_images_per_second=rates[1],
        file_bytes=file.stat().st_size,
    )


def _model(classifier: Classifier) -> Answer:
    def answer(pixels: Pixels) -> npt.NDArray[np.float32]:
        return classifier.of_views([classifier.card.test_view.pixels(one) for one in pixels])

    return answer


def _export(classifier: Classifier, file: Path, kind: GraphInput) -> Answer:
    """The exported graph, with what it leaves to its user done as in tench."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    normalise = classifier.card.normalise(torch.device("cpu"))

    def answer(pixels: Pixels) -> npt.NDArray[np.float32]:
        given: Any = pixels
        if kind != "image":
            given = np.stack([classifier.card.test_view.pixels(one) for one in pixels])
        if kind == "normalised":
            given = normalise(torch.from_numpy(given).permute(0, 3, 1, 2)).contiguous().numpy()
        (found,) = session.run(None, {name: given})
        if kind == "normalised":
            found = torch.from_numpy(found).softmax(dim=1).numpy()
        return found  # type: ignore[no-any-return]

    return answer


def _times(answers: list[Answer], images: list[Pixels]) -> list[float]:
    """The median time of each for one image, in seconds; they take turns."""
    found: list[list[float]] = [[] for _ in answers]
    warm_up = images[:_WARM_UP]
    for image in [*warm_up, *images]:
        for answer, times in zip(answers, found, strict=True):
            start = time.perf_counter()
            answer(image)
            times.append(time.perf_counter() - start)
    return [float(np.median(times[len(warm_up) :])) for times in found]


def _rates(answers: list[Answer], image: Pixels) -> list[float]:
    """Images per second of each in batches, the median of three."""
    batch = np.repeat(image, _BATCH, axis=0)
    return [_BATCH / seconds for seconds in _times(answers, [batch] * 3)]
