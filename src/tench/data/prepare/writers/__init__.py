"""The layouts that can be written, one module each. A reader puts up with every form of its layout; a writer has one.

A writer knows names and bytes, not where images come from. Those of `Shards` put records one after the other into
files; those of `Trees` give each image a file of its own. What they return depends on their arguments alone, so that
it can be done by any number of threads, and again after a crash, with the same bytes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from tench.data.images.image import ImageInfo
from tench.data.table import Classes

VAL_WORDS = {"train": "train", "val": "validation", "test": "test"}
"""How TensorFlow's programs call the splits."""


@dataclasses.dataclass(frozen=True)
class Content:
    """The content to write, by split; a row is an image's number in its split, in key order.

    names: of the images, with the suffixes of their formats; where a class is more than a number they begin with it.
    labels: class indices, -1 where there is none. several: all labels of each image, of the splits that have several.
    shards: how many files.
    """

    classes: Classes
    names: Mapping[str, Sequence[str]]
    labels: Mapping[str, Sequence[int]]
    several: Mapping[str, Sequence[Sequence[float]]] = dataclasses.field(default_factory=dict)
    shards: Mapping[str, int] = dataclasses.field(default_factory=dict)
    has_boxes: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image on its way into a shard: its file's bytes. info: what its header says, where the writer needs that.

    boxes: xmin, ymin, xmax, ymax each, in 0..1; None where none were read.
    """

    split: str
    row: int
    data: bytes
    info: ImageInfo | None = None
    boxes: Sequence[Sequence[float]] | None = None


class Shards(Protocol):
    """A layout of files that hold many images each."""

    needs_info: bool
    end: bytes
    """The bytes that end a file."""

    def file_name(self, split: str, number: int) -> str:
        """The name of a shard, counted from 0."""

    def frame(self, record: ImageRecord) -> Sequence[bytes]:
        """The bytes that hold a record, in several buffers so that the image's need not be copied."""

    def files_beside(self) -> Mapping[str, str]:
        """Small text files to lie beside the shards, by name."""


class Trees(Protocol):
    """A layout in which each image is a file."""

    def path(self, split: str, name: str) -> str:
        """The path of an image, relative to the destination."""

    def files_beside(self) -> Mapping[str, str]:
        """Small text files by name."""

    def folders(self) -> Sequence[str]:
        """Folders that must exist even if they are empty."""
