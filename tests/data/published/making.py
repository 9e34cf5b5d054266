"""Miniatures of published datasets: the real names, folders and label files around a few tiny photographs.

A maker fills a `Miniature` with the unpacked files of a set and with the true split and class of each image, which no
code of tench derives. A `Form` is one way in which people store the set (unpacked, as downloaded archives, with an
option), and the expected answer. Images are identified by a digest of their pixels, so it does not matter where they
are stored."""

import bz2
import dataclasses
import fnmatch
import functools
import gzip
import hashlib
import importlib
import io
import json
import lzma
import shlex
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tests.data.photos import array, encoded, part

Pixels = npt.NDArray[np.uint8]
Split = dict[str, str | None]
"""By digest of the pixels: the class, or None if the image has no label."""

KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".ppm": "PPM", ".tif": "TIFF", ".bmp": "BMP"}


class Miniature:
    """The files of a small copy of a dataset, and the true split and class of its images.

    files: contents by path, or a function that makes them if that needs an optional package. splits: the images
    of each split. aside: images in the files that belong to no split, such as masks. without_images: classes that the
    set names but the copy has no images of.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[], bytes]] = {}
        self.splits: dict[str, Split] = {}
        self.aside: set[str] = set()
        self.without_images: list[str] = []
        self._count = 0

    def pixels(self, height: int = 12, width: int = 16, mode: str = "RGB") -> Pixels:
        """Part of a photograph, (height, width, channels); a different one at each call."""
        self._count += 1
        return array(part(width, height, self._count, mode))

    def raw(self, split: str, label: str | None, height: int, width: int, mode: str = "RGB") -> Pixels:
        """The pixels of a new image of this split; the maker puts them into a file."""
        pixels = self.pixels(height, width, mode)
        self.know(split, label, pixels)
        return pixels

    def know(self, split: str, label: str | None, pixels: Pixels) -> None:
        self.splits.setdefault(split, {})[digest(pixels)] = label

    def image(self, path: str, split: str = "", label: str | None = None, mode: str = "RGB") -> None:
        """A new image in a file of its own; with no split, one that must not be taken for an image of the set."""
        kind = KINDS.get(Path(path).suffix.lower(), "JPEG")
        data = encoded(Image.fromarray(self.pixels(mode=mode).squeeze()), kind)
        self.files[path] = data
        if split:
            self.know(split, label, decoded(data))
        else:
            self.aside.add(digest(decoded(data)))

    def images(self, pattern: str, split: str, labels: Sequence[str], count: int = 3, first: int = 1) -> None:
        """`count` images of each label at a path such as "train/{label}/{number:04}.jpg"; {label} ends at a " | "."""
        for index, label in enumerate(labels):
            for number in range(first, first + count):
                self.image(pattern.format(label=label.split(" | ")[0], number=number, index=index), split, label)

    def text(self, path: str, *lines: str, end: str = "\n") -> None:
        self.files[path] = "".join(line + end for line in lines).encode()

    def json(self, path: str, value: Any) -> None:
        self.text(path, json.dumps(value))


def digest(pixels: Pixels) -> str:
    """The name of an image by its pixels. A grey image has the same digest as with three equal channels."""
    rgb = np.broadcast_to(np.atleast_3d(pixels), (*pixels.shape[:2], 3))
    return hashlib.sha256(f"{rgb.shape}".encode() + rgb.tobytes()).hexdigest()[:16]


def decoded(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@dataclasses.dataclass(frozen=True)
class Form:
    """One way in which people store a dataset, and the answer expected from tench.

    source: what is opened. archives: in this order, each archive with the prefix of the names that go into it (or
    a pattern of it); names inside are relative to the archive's folder, or to what is before a "|". options: of
    open_source. refused: the remedy that a refusal names, for the table in the docs; empty if the set is read. says:
    what the refusal or the notes must mention. only: prefixes of the names of the files that this form
    has. splits: the splits that it has, if not all. unlabelled: splits whose labels it lacks; their images may be left
    out. together: it does not say which split an image is in, so all are train.
    """

    what: str
    source: str = ""
    archives: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    refused: str = ""
    says: tuple[str, ...] = ()
    only: tuple[str, ...] = ("",)
    splits: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    together: bool = False

    @property
    def flags(self) -> str:
        """The options as on the command line; "" if there are none."""
        given = [(name, value) for name, values in self.options.items() for value in np.atleast_1d(values).tolist()]
        return " ".join(f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in given)

    def truth(self, miniature: Miniature) -> dict[str, Split]:
        """The labelled images of this form by split, and those without a label under "unlabelled"."""
        found: dict[str, Split] = {}
        for name, images in miniature.splits.items():
            if not self.splits or name in self.splits:
                for image, label in images.items():
                    hidden = label is None or name in self.unlabelled
                    split = "unlabelled" if hidden else "train" if self.together else name
                    found.setdefault(split, {})[image] = None if hidden else label
        return found


def folder(name: str, **more: Any) -> Form:
    """The unpacked folder with this name."""
    return Form(f"`{name}/`", name, **more)


def unpacked(**more: Any) -> Form:
    """All files of the set in one folder."""
    return Form("the folder as unpacked", **more)


def archive(name: str, start: str, **more: Any) -> Form:
    """The archive with this name, which contains the files whose names begin with `start`."""
    return Form(f"`{name}`", name, {name: start}, **more)


@dataclasses.dataclass(frozen=True)
class Published:
    """A dataset, its miniature and its forms.

    torchvision: torchvision's own readers by split ("val+test" for both together), given the folder; None if it has
    none. They read the files of the form `oracle`. named: whether the files name the classes. If not, they only number
    them, and a reader may number them differently. needs: a package without which the miniature cannot be made.
    """

    name: str
    maker: Callable[[Miniature], None]
    forms: tuple[Form, ...]
    torchvision: Callable[[Path], Mapping[str, Any]] | None = None
    named: bool = True
    needs: str = ""
    oracle: Form = Form("the unpacked files")

    @functools.cached_property
    def miniature(self) -> Miniature:
        miniature = Miniature()
        self.maker(miniature)
        return miniature

    def write(self, folder: Path, form: Form) -> Path:
        """Write the files in this form. Returns the path to open."""
        files = {path: data() if callable(data) else data for path, data in self.miniature.files.items()}
        files = {path: data for path, data in files.items() if path.startswith(form.only)}
        for name, start in form.archives.items():
            outside, bar, rest = start.partition("|")
            above = outside if bar else name[: name.rfind("/") + 1]
            inside = [path for path in sorted(files) if fnmatch.fnmatchcase(path, f"{outside}{rest}*")]
            files[name] = packed(name, {path.removeprefix(above): files.pop(path) for path in inside})
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder / form.source


def packed(name: str, files: dict[str, bytes]) -> bytes:
    """An archive of the kind that its name implies: a tar, a zip, or one compressed file."""
    stream = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in files.items():
                archive.writestr(path, data)
        return stream.getvalue()
    if name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2")):
        mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2"}.get(name.rpartition(".")[2], "w")
        with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
            for path, data in files.items():
                member = tarfile.TarInfo(path)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return stream.getvalue()
    (data,) = files.values()
    compress: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    return compress[name.rpartition(".")[2]](data)


# File contents, written with the usual libraries.


def idx(values: npt.NDArray[Any]) -> bytes:
    """The format of MNIST's files; int32 values are big-endian."""
    kind = {np.dtype(np.uint8): 8, np.dtype(np.int32): 12}[values.dtype]
    head = bytes([0, 0, kind, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def mat(**arrays: Any) -> bytes:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, arrays, do_compression=True)
    return stream.getvalue()


def records(rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[Any]:
    """A MATLAB struct array (1, n)."""
    array = np.empty((1, len(rows)), [(field, object) for field in rows[0]])
    for position, row in enumerate(rows):
        array[0, position] = tuple(row.values())
    return array


def cells(values: Sequence[str]) -> npt.NDArray[Any]:
    """A MATLAB cell array (1, n)."""
    return np.array([*values, None], object)[None, :-1]


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def h5(**arrays: Any) -> bytes:
    h5py = importlib.import_module("h5py")
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip")
    return stream.getvalue()


def lmdb(values: Mapping[bytes, bytes]) -> bytes:
    """The data.mdb of an LMDB folder."""
    library = importlib.import_module("lmdb")
    with tempfile.TemporaryDirectory() as folder:
        with library.open(folder, map_size=2**20) as environment, environment.begin(write=True) as transaction:
            for key, value in values.items():
                transaction.put(key, value)
        return (Path(folder) / "data.mdb").read_bytes()
