"""A split as a PyTorch dataset of single images, for use in other input pipelines."""

import operator
import os
from collections.abc import Callable
from typing import Any, Literal

import torch.utils.data
from PIL import Image

from tench.arguments import require_type
from tench.data import exif, policy
from tench.data.handled import POLICIES, Policy
from tench.data.images.orientation import Exif
from tench.data.images.picture import decode_row
from tench.data.table import Classes, Dataset, Table
from tench.errors import UsageError


class TorchDataset(torch.utils.data.Dataset[tuple[Any, int]]):
    """The images and labels of one split by row number; made by `Dataset.as_torch`.

    `dataset[row]` is (image, label): the image a `PIL.Image`, or the result of `transform`; the label an int, -1 if the
    image has none. The attributes have the names and meanings of torchvision's ImageFolder.

    >>> digits = tench.open_source("digits").as_torch("train")
    >>> digits.classes[:3], digits.class_to_idx["2"], digits.targets[:4]
    (['0', '1', '2'], 2, [0, 1, 2, 3])
    """

    classes: list[str]
    """The class ids, in the order of the labels."""
    class_to_idx: dict[str, int]
    """The label of each class id."""
    targets: list[int]
    """The labels of all rows."""
    transform: Callable[[Image.Image], Any] | None
    """The function applied to each image."""

    def __init__(
        self,
        split: str,
        table: Table,
        classes: Classes,
        transform: Callable[[Image.Image], Any] | None = None,
        *,
        channels: int = 3,
    ) -> None:
        if channels not in (1, 3):
            raise UsageError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}.")
        self.split, self.transform = split, transform
        self.classes = list(classes.ids)
        self.class_to_idx = {name: index for index, name in enumerate(classes.ids)}
        self.targets = table.labels.tolist()
        self._table, self._channels, self._process = table, channels, os.getpid()

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        """Raises TenchError naming the image if it cannot be read or decoded, IndexError past the last row."""
        row = operator.index(row)  # refuses 1.5 and "a"
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row}: the split {self.split} has {len(self)} images")
        row %= len(self)
        if self._process != os.getpid():  # a forked worker opens its own files and takes none of the parent's locks
            self._table, self._process = self._table.reopened(), os.getpid()
        pixels = decode_row(self._table, row, self._channels)
        image = Image.fromarray(pixels[..., 0] if self._channels == 1 else pixels)
        return image if self.transform is None else self.transform(image), self.targets[row]

    def __repr__(self) -> str:
        return f"TorchDataset(split={self.split!r}, images={len(self)}, classes={len(self.classes)})"


def torch_dataset(
    dataset: Dataset,
    split: str,
    transform: Callable[[Image.Image], Any] | None,
    *,
    channels: int,
    orientation: Exif | Literal["auto"],
    bad: Policy,
) -> TorchDataset:
    """The split as `Dataset.as_torch` describes it. Raises TenchError if there is no such split."""
    if orientation not in ("auto", "apply", "ignore"):
        raise UsageError(f"exif must be auto, apply or ignore, got {orientation!r}.")
    require_type(split, str, "split")
    require_type(transform, Callable[..., Any] | None, "transform")
    if bad not in POLICIES:
        raise UsageError(f"bad must be one of {', '.join(POLICIES)}, got {bad!r}.")
    name, _ = dataset.split(split)
    dataset, _ = policy.apply(dataset, bad, [name])
    table = dataset.splits[name]
    table = exif.oriented(table, exif.resolved(orientation, dataset))
    return TorchDataset(name, table, dataset.classes, transform, channels=channels)
