import numpy as np
import pytest

from tench.bench.accuracy import Accuracy
from tench.bench.canvas import Canvas
from tench.bench.scatter import Known, require_known, scatter
from tench.errors import UsageError
from tench.models import ModelInfo


def point(gmacs: float, top1: float, weights: str = "float") -> tuple[ModelInfo, Accuracy]:
    return ModelInfo("x", "", 224, 1, gmacs, gmacs), Accuracy(weights, "ImageNet-1K", top1, "TI", "a page")


def shown(colour: tuple[int, int, int], known: Known) -> set[tuple[int, int]]:
    """(column, row) of all pixels of a colour."""
    lines, columns = np.nonzero((np.asarray(scatter(known)) == colour).all(axis=2))
    return set(zip(columns.tolist(), lines.tolist(), strict=True))


def test_each_accuracy_is_a_point_at_the_logarithm_of_its_gmacs() -> None:
    points = shown((0x1F, 0x5F, 0xA8), [point(0.5, 0.70), point(1, 0.75), point(8, 0.80)])
    left, right, top, bottom = 90, 690, 50, 420  # the axes run from 0.5 to 8 GMACs and from 70 to 80 %
    for power, percent in ((-1, 70), (0, 75), (3, 80)):
        assert (
            round(left + (power + 1) / 4 * (right - left)),
            round(bottom - (percent - 70) / 10 * (bottom - top)),
        ) in points


def test_eight_bit_weights_have_another_colour() -> None:
    assert shown((0xB0, 0x30, 0x30), [point(1, 0.75)]) == set()
    assert shown((0xB0, 0x30, 0x30), [point(1, 0.75, "8 bit")])


def test_a_single_point_and_a_wide_range_can_be_drawn() -> None:
    assert scatter([point(1, 0.75)]).size == (720, 480)
    assert scatter([point(1e-4, 0.989), point(127, 0.5)]).size == (720, 480)


def test_networks_without_known_accuracy_are_refused() -> None:
    require_known(["mlp", "resnet10t"])
    with pytest.raises(UsageError, match="No accuracy is known for resnet10t"):
        require_known(["resnet10t"])


def test_labels_of_nearby_points_do_not_overlap() -> None:
    canvas = Canvas("", "", "", [], [])
    for _ in range(8):
        canvas.label(0.5, 0.5, "resnet50 (IMAGENET1K_V1, torchvision)", "black")
    boxes = canvas._labels
    assert len(boxes) == 8
    for number, (left, line, length) in enumerate(boxes):
        for other, other_line, width in boxes[:number]:
            assert left + length < other or other + width < left or abs(line - other_line) >= 15
        assert left >= 0
        assert left + length < canvas.picture.width
