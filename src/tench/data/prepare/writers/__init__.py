"""The layouts that can be written, one module each. A reader accepts every form of its layout; a writer has one form.

A writer knows names and bytes, not where images come from. `Shards` store many records in each file; `Trees` store each
image in its own file. What writers return depends only on their arguments, so any number of threads, and a process that
resumes after a crash, write the same bytes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from tench.data.images.image import ImageInfo
from tench.data.table import Classes

VAL_WORDS = {"train": "train", "val": "validation", "test": "test"}
"""The names of the splits in TensorFlow's programs."""


@dataclasses.dataclass(frozen=True)
class Content:
    """The content to write, by split; a row is an image's number in its split, in key order.

    names: of the images, with the suffixes of their formats; they begin with the class if classes have names. labels:
    class indices, -1 for none. several: all labels of each image, for splits whose images have several. shards: the
    number of files.
    """

    classes: Classes
    names: Mapping[str, Sequence[str]]
    labels: Mapping[str, Sequence[int]]
    several: Mapping[str, Sequence[Sequence[float]]] = dataclasses.field(default_factory=dict)
    shards: Mapping[str, int] = dataclasses.field(default_factory=dict)
    has_boxes: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image to be written into a shard. data: the bytes of its file. info: its header, if the writer needs it.

    boxes: xmin, ymin, xmax, ymax each, in 0..1; None if none were read.
    """

    split: str
    row: int
    data: bytes
    info: ImageInfo | None = None
    boxes: Sequence[Sequence[float]] | None = None


class Shards(Protocol):
    """A layout of files that contain many images each."""

    needs_info: bool
    end: bytes
    """The bytes that end a file."""

    def file_name(self, split: str, number: int) -> str:
        """The name of a shard, counted from 0."""

    def frame(self, record: ImageRecord) -> Sequence[bytes]:
        """The bytes of a record, in several buffers so that the image's bytes are not copied."""

    def files_beside(self) -> Mapping[str, str]:
        """Small text files to write beside the shards, by name."""


class Trees(Protocol):
    """A layout in which each image is a file."""

    def path(self, split: str, name: str) -> str:
        """The path of an image, relative to the destination."""

    def files_beside(self) -> Mapping[str, str]:
        """Small text files by name."""

    def folders(self) -> Sequence[str]:
        """Folders that must exist even if they are empty."""
