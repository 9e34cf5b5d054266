"""Images as users pass them: paths, folders, encoded bytes, PIL images and arrays become uint8 pixels.

A value that cannot be an image, such as a missing path or an array of floats, is refused before anything is decoded. A
damaged file raises its own ImageError, so that the other images can still be classified.
"""

import dataclasses
import io
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tench.data.evidence.kinds import IMAGES, found_text, what_is_there, with_sniffed_images
from tench.data.files.names import is_image_name
from tench.data.files.tree import Tree, open_tree
from tench.data.images.image import Pixels, decode, from_pillow, with_channels
from tench.data.limits import LIMITS
from tench.errors import TenchError, UsageError, counted
from tench.files import is_there, user_path

OneImage = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | np.ndarray[Any, Any]
"""The path of an image or of a folder of images; an encoded image; a PIL image; or a uint8 array: one image (H, W),
(H, W, 1), (H, W, 3) or (H, W, 4), or several (N, H, W, C) with these channels."""

Images = OneImage | Iterable[OneImage]
"""One of them, or several."""

_ONE = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)

_CHANNELS = (1, 3, 4)
_ARRAY = "uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
_KINDS = "a path, a folder, a PIL image, a uint8 array or the bytes of an image file"

_log = logging.getLogger("tench")


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """One image to classify. name: its path, or its position as in `images[2]`."""

    name: str
    content: str | bytes | Image.Image | Pixels

    def pixels(self, channels: int, *, upright: bool = False) -> Pixels:
        """The decoded image, (H, W, channels) uint8, by the rules of `decode`. An alpha channel is dropped.

        upright: apply the EXIF orientation of files, encoded bytes and PIL images. Raises TenchError if the file cannot
        be read or the image cannot be decoded.
        """
        if isinstance(self.content, str):
            data = LIMITS.read_file(self.content, "an image", LIMITS.image_bytes)
            return decode(data, channels, upright=upright)
        if isinstance(self.content, bytes):
            return decode(self.content, channels, upright=upright)
        if isinstance(self.content, Image.Image):
            return from_pillow(self.content, channels, upright=upright)
        array = self.content[..., None] if self.content.ndim == 2 else self.content
        return with_channels(np.ascontiguousarray(array[..., :3]), channels)


def given_images(images: Images) -> list[Given]:
    """The given images, in order; a folder is replaced by the images below it, sorted by path.

    images: one image or folder, or several of them. Raises UsageError for a value that is not an image and for a
    missing path, TenchError for a folder without images.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":  # an array of paths or of images
        images = images.tolist()
    if isinstance(images, _ONE):
        return _given(images, "image")
    if not isinstance(images, Iterable) or isinstance(images, Mapping | set | io.IOBase) or _is_tensor(images):
        raise _not_an_image(images, "image")
    return [one for number, image in enumerate(images) for one in _given(image, f"images[{number}]")]


def _given(image: OneImage, name: str) -> list[Given]:
    if isinstance(image, bytes | bytearray | memoryview):
        return [Given(name, bytes(image))]
    if isinstance(image, Image.Image):
        return [Given(name, image)]
    if isinstance(image, np.ndarray):
        return _given_array(image, name)
    if isinstance(image, str | os.PathLike):
        return [Given(path, path) for path in find_images([image])]
    raise _not_an_image(image, name)


def _given_array(array: np.ndarray[Any, Any], name: str) -> list[Given]:
    what = f"{name} is an array of {array.dtype} with shape {array.shape}"
    if array.dtype != np.uint8:
        scaled = " If its values are between 0 and 1: (255 * array).round().astype('uint8')."
        raise UsageError(f"{what}; expected {_ARRAY}.{scaled if array.dtype.kind == 'f' else ''}")
    if 0 in array.shape[-3:] and array.ndim in (2, 3, 4):
        raise UsageError(f"{what}, which has no pixels; expected {_ARRAY}.")
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS):
        return [Given(name, array)]
    if array.ndim == 4 and array.shape[3] in _CHANNELS:
        names = (f"images[{number}]" if name == "image" else f"{name}[{number}]" for number in range(len(array)))
        return [Given(one, part) for one, part in zip(names, array, strict=True)]
    remedy = " For several grey images, pass list(array)." if array.ndim == 3 else ""
    if array.ndim in (3, 4) and array.shape[-3] in _CHANNELS:
        axes = "1, 2, 0" if array.ndim == 3 else "0, 2, 3, 1"
        remedy = f" If the channels come first, pass array.transpose({axes})."
    raise UsageError(f"{what}; expected {_ARRAY}, or (N, H, W, C) for several images.{remedy}")


def _is_tensor(value: object) -> bool:
    """Whether it is a torch tensor; iterating over one does not yield images."""
    return type(value).__module__.partition(".")[0] == "torch"


def _not_an_image(value: object, name: str) -> UsageError:
    kind = type(value)
    if _is_tensor(value):
        remedy = "For a uint8 tensor (C, H, W), pass tensor.permute(1, 2, 0).numpy()."
        return UsageError(f"{name} is a torch {kind.__name__}; expected {_KINDS}. {remedy}")
    remedy = " If it is an open file, pass its bytes: file.read()." if isinstance(value, io.IOBase) else ""
    return UsageError(f"{name} is of type {kind.__name__}; expected {_KINDS}.{remedy}")


def find_images(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The files among the paths, and the images below the folders, sorted by path.

    Links are followed; hidden files are left out, as in every source. In a folder, files that are not images are left
    out and logged by kind. Raises UsageError for a missing path, TenchError for a folder without images.
    """
    found: list[str] = []
    for path in [str(user_path(path)) for path in paths]:
        if not is_there(path):
            raise UsageError(f"{path}: no such file or folder.")
        found += _images_below(Path(path)) if os.path.isdir(path) else [path]
    return found


def _images_below(folder: Path) -> list[str]:
    tree = with_sniffed_images(open_tree(folder, folder))  # archives stay closed, so the second argument is unused
    images = [position for position, name in enumerate(tree.names) if is_image_name(name)]
    if not images:
        raise TenchError(f"{folder} contains no images. {found_text(tree)}")
    for note in [*tree.notes, *_left_out(tree)]:
        _log.info("%s: %s", folder, note)
    return [tree.shards[int(tree.shard[position])] for position in images]


def _left_out(tree: Tree) -> list[str]:
    """A sentence on the files of a tree that are not images, by kind, with the remedy for those that could contain
    images."""
    kinds = [kind for kind in what_is_there(tree) if kind.name != IMAGES]
    if not kinds:
        return []
    count = sum(kind.count for kind in kinds)
    remedies = [f" {kind.name[0].upper()}{kind.name[1:]}: {kind.remedy}." for kind in kinds if kind.remedy]
    verb = "is not an image and was" if count == 1 else "are not images and were"
    return [f"{counted(count, 'file')} {verb} left out: {', '.join(map(str, kinds))}.{''.join(remedies)}"]
