from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tench.data.check.known import KNOWN_FILES, KNOWN_SETS, sentences
from tench.data.download.download import SETS
from tench.data.formats.wordnet import imagenet, subset, tiny_imagenet
from tench.data.source import open_source
from tench.data.table import Classes, Dataset, Table


class Labels:
    """The labels of a table: this many images of each class, and this many without a label."""

    def __init__(self, counts: Sequence[int], unlabelled: int = 0) -> None:
        self.labels = np.repeat(np.arange(-1, len(counts)), [unlabelled, *counts]).astype(np.int32)

    def __len__(self) -> int:
        return len(self.labels)


def dataset_of(classes: Classes, layout: str = "folder", **splits: Labels) -> Dataset:
    return Dataset("x", layout, classes, cast(dict[str, Table], splits), fingerprint="")


IMAGENET = Classes.of(imagenet())
TRAIN = [732, *[1300] * 895, *[1124] * 103, 1163]
"""Class sizes that ILSVRC2012 could have: 1,281,167 images in total."""
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_a_complete_ilsvrc2012_is_recognised_by_its_numbers() -> None:
    assert sum(TRAIN) == 1_281_167
    train, val, test = Labels(TRAIN), Labels([50] * 1000), Labels([0] * 1000, unlabelled=100_000)
    assert sentences(dataset_of(IMAGENET, train=train, val=val)) == ["1,281,167 / 50,000 / 1000: this is ILSVRC2012."]
    assert sentences(dataset_of(IMAGENET, train=train, val=val, test=test)) == [
        "1,281,167 / 50,000 / 100,000 / 1000: this is ILSVRC2012."
    ]
    assert sentences(dataset_of(IMAGENET, val=val)) == ["50,000 / 1000: this is ILSVRC2012, without train."]
    assert sentences(dataset_of(IMAGENET, train=train)) == ["1,281,167 / 1000: this is ILSVRC2012, without val."]


def test_missing_images_of_ilsvrc2012_are_reported_exactly() -> None:
    val = [50] * 1000
    val[3], val[998] = 47, 51
    train = TRAIN.copy()
    train[0], train[-1] = 730, 1158
    assert sentences(dataset_of(IMAGENET, train=Labels(train), val=Labels(val))) == [
        "ILSVRC2012 has 1,281,167 images in train, but this dataset has 1,281,160: 7 missing.",
        "Each class should have 732 to 1,300 images in train; 1 class differs: n01440764 730.",
        "ILSVRC2012 has 50,000 images in val, but this dataset has 49,998: 2 missing.",
        "Each class should have 50 images in val; 2 classes differ: n01491361 47, n13133613 51.",
    ]


def test_surplus_images_and_wrong_class_sizes_are_reported() -> None:
    train = [733, *TRAIN[1:]]
    assert sentences(dataset_of(IMAGENET, train=Labels(train))) == [
        "ILSVRC2012 has 1,281,167 images in train, but this dataset has 1,281,168: 1 too many.",
        "The classes of train should have 732 to 1,300 images; here the smallest has 733 and the largest 1,300.",
    ]


def test_other_sets_with_imagenets_classes_are_not_called_a_damaged_ilsvrc2012() -> None:
    v2, sketch = Labels([10] * 1000), Labels([50, *[51] * 889, *[50] * 110])
    assert sentences(dataset_of(IMAGENET, "imagenet-eval", test=v2)) == ["10,000 / 1000: this is ImageNet-V2."]
    assert sentences(dataset_of(IMAGENET, "imagenet-eval", test=sketch)) == ["50,889 / 1000: this is ImageNet-Sketch."]
    assert sentences(dataset_of(IMAGENET, "imagenet-eval", test=Labels([9] * 1000))) == []


def test_a_subset_of_the_classes_is_not_called_a_known_set() -> None:
    for ids in (imagenet()[:20], imagenet()[:999], tiny_imagenet()[:20], (*imagenet(), "n00000001")):
        assert sentences(dataset_of(Classes.of(ids), train=Labels([500] * len(ids)))) == []


def test_sets_with_numbered_classes_are_recognised_only_by_their_class_sizes() -> None:
    numbered = Classes.numbered_to(1000)
    train, val = Labels(TRAIN), Labels([50] * 1000)
    assert sentences(dataset_of(numbered, train=train, val=val)) == ["1,281,167 / 50,000 / 1000: this is ILSVRC2012."]
    assert sentences(dataset_of(numbered, val=val)) == []
    assert sentences(dataset_of(numbered, train=Labels([1281] * 1000), val=val)) == []


@pytest.mark.parametrize(
    ("ids", "layout", "splits", "sentence"),
    [
        (tiny_imagenet(), "folder", {"train": 500, "val": 50}, "100,000 / 10,000 / 200: this is Tiny-ImageNet-200."),
        (
            tiny_imagenet(),
            "folder",
            {"train": 499},
            "Tiny-ImageNet-200 has 100,000 images in train, but this dataset has 99,800: 200 missing.",
        ),
        (subset("r"), "imagenet-eval", {"test": 150}, "30,000 / 200: this is ImageNet-R."),
        (
            "airplane automobile bird cat deer dog frog horse ship truck".split(),
            "cifar",
            {"train": 5000, "test": 1000},
            "50,000 / 10,000 / 10: this is CIFAR-10.",
        ),
    ],
)
def test_other_known_sets_are_recognised(
    ids: Sequence[str], layout: str, splits: dict[str, int], sentence: str
) -> None:
    labels = {split: Labels([count] * len(ids)) for split, count in splits.items()}
    assert sentences(dataset_of(Classes.of(ids), layout, **labels))[0] == sentence


def test_digits_are_mnist_only_if_all_counts_match() -> None:
    digits = Classes.of([str(digit) for digit in range(10)])
    train, test = Labels(MNIST_TRAIN), Labels(MNIST_TEST)
    assert sentences(dataset_of(digits, train=train, test=test)) == ["60,000 / 10,000 / 10: this is MNIST."]
    balanced = dataset_of(digits, train=Labels([6000] * 10), test=Labels([1000] * 10))  # like KMNIST
    assert sentences(balanced) == []
    assert sentences(open_source("digits")) == []


def test_the_original_mnist_is_recognised_and_a_part_of_tiny_imagenet_is_not(shared_data: Path) -> None:
    assert sentences(open_source(shared_data / "mnist")) == ["60,000 / 10,000 / 10: this is MNIST."]
    assert sentences(open_source(shared_data / "tiny-imagenet-20.tar.xz")) == []


def test_imagenet_21k_is_recognised_by_the_number_of_its_classes() -> None:
    ids = [f"n{number:08}" for number in range(21_841)]
    assert sentences(dataset_of(Classes.of(ids), train=Labels([650] * 21_841))) == [
        "ImageNet-21K of fall 2011 has 14,197,122 images in train, but this dataset has 14,196,650: 472 missing."
    ]
    assert sentences(dataset_of(Classes.of([f"c{number}" for number in range(21_841)]), train=Labels([650]))) == []


def test_class_lists_have_the_size_of_their_set_and_the_downloads_are_known_files() -> None:
    sizes = {known.title: known.ids if isinstance(known.ids, int) else len(set(known.ids())) for known in KNOWN_SETS}
    assert (sizes["ILSVRC2012"], sizes["CIFAR-100"], sizes["ImageNet-A"], sizes["MNIST"]) == (1000, 100, 200, 10)
    for known in KNOWN_SETS:
        for split, (smallest, largest) in known.per_class.items():
            assert smallest * sizes[known.title] <= known.images[split] <= largest * sizes[known.title]
    assert {file.md5 for known in SETS.values() for file in known.files} <= {file.checksum for file in KNOWN_FILES}
