"""Datasets for the interoperability tests. Their expected contents come from the files alone, not from tench.

Every dataset is class folders of photographs, or a list of such files. `Made.images` is what the output of other
programs is compared with.
"""

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tests.data import miniature

MAGIC = bytes.fromhex("0a23d7ce")
"""The magic word at the beginning of a RecordIO record."""
MAGIC_FLOAT = float(np.frombuffer(MAGIC, "<f4")[0])

ODD_CLASSES = ("Gro\u00dfe \u00c4pfel", "a b", "c.d")
ODD_FILES = (
    "ein Bild.jpg",
    "IMG.2020.01.jpg",
    "IMG_2020_01.jpg",  # clashes with the previous name in WebDataset, where names end at the first dot
    "UPPER.JPEG",
    "\u00fcmlaut \u65e5\u672c.jpg",
    "100%.jpg",
    "quote'\".jpg",
    "#a,b;c=d.jpg",
    "long-" + "0123456789" * 18 + ".jpg",  # longer than a plain tar header can hold
)


@dataclasses.dataclass(frozen=True)
class Stored:
    """An image as stored in its file. label: -1 if it has no class."""

    key: str
    class_id: str
    label: int
    data: bytes
    sha256: str

    @property
    def file(self) -> str:
        return self.key.rpartition("/")[2]

    def opened(self) -> Image.Image:
        return Image.open(io.BytesIO(self.data))

    def pixels(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8, decoded by Pillow."""
        return np.asarray(self.opened().convert("RGB"))


@dataclasses.dataclass(frozen=True)
class Made:
    """A dataset. classes: the ids in the order of the labels. images: by split, in the order of the keys CLASS/FILE."""

    source: Path
    classes: Sequence[str]
    images: Mapping[str, Sequence[Stored]]

    def __iter__(self) -> Iterator[tuple[str, Sequence[Stored]]]:
        return iter(self.images.items())


def made(source: Path, files: Mapping[str, Mapping[str, bytes]], classes: Sequence[str] = ()) -> Made:
    """A dataset of these files by split and key. Classes are sorted unless their order is given."""
    ids = list(classes) or sorted({key.partition("/")[0] for of in files.values() for key in of if "/" in key})
    images: dict[str, list[Stored]] = {}
    for split, of_split in files.items():
        images[split] = []
        for key, data in sorted(of_split.items()):
            class_id = key.partition("/")[0] if "/" in key else ""
            label = ids.index(class_id) if class_id else -1
            images[split].append(Stored(key, class_id, label, data, hashlib.sha256(data).hexdigest()))
    return Made(source, ids, images)


def of_folder(folder: Path) -> Made:
    """A dataset of class folders below train/ and val/."""
    return made(
        folder,
        {
            split: {
                path.relative_to(folder / split).as_posix(): path.read_bytes()
                for path in (folder / split).rglob("*")
                if path.is_file()
            }
            for split in sorted(os.listdir(folder))
        },
    )


def odd_names(folder: Path, photos: Made, *, spaces: bool = True) -> Made:
    """A dataset with long names, and with umlauts, dots, quotes and spaces, which most lists cannot hold, in names."""
    pictures = [image.data for image in photos.images["train"] if image.opened().format == "JPEG"]
    files = {
        f"{class_id}/{file}": pictures[(7 * label + number) % len(pictures)]
        for label, class_id in enumerate(ODD_CLASSES)
        for number, file in enumerate(ODD_FILES)
    }
    if not spaces:
        files = {key.replace(" ", "-"): data for key, data in files.items()}
    miniature.write(folder / "train", files)
    return made(folder, {"train": files})


def listed(folder: Path, photos: Made, classes: Sequence[str]) -> Made:
    """An MXNet list. `synset.txt` names its classes in this order."""
    return _of_lst(
        folder, photos, classes, {image.key: [classes.index(image.class_id)] for image in photos.images["train"]}
    )


def several_labels(folder: Path, photos: Made) -> tuple[Made, dict[str, list[float]]]:
    """An MXNet list with three numbers per image; the first is the class. One number is RecordIO's magic word."""
    labels = {
        image.key: [float(image.label), MAGIC_FLOAT if row == 4 else row / 8, -1.0]
        for row, image in enumerate(photos.images["train"])
    }
    return _of_lst(folder, photos, photos.classes, labels), labels


def _of_lst(folder: Path, photos: Made, classes: Sequence[str], labels: Mapping[str, Sequence[float]]) -> Made:
    files = {image.key: image.data for image in photos.images["train"]}
    miniature.write(folder, files)
    lines = [f"{row}\t" + "".join(f"{of:f}\t" for of in labels[key]) + f"{key}\n" for row, key in enumerate(files)]
    (folder / "train.lst").write_text("".join(lines))
    (folder / "synset.txt").write_text("".join(f"{class_id}\n" for class_id in classes))
    return made(folder / "train.lst", {"train": files}, classes)


_TAILS = (
    b"",
    MAGIC,
    3 * MAGIC,
    b"ab" + MAGIC,
    MAGIC + b"abc",
    b"abcd" + MAGIC + b"wxyz" + MAGIC,
    b"abcd" + MAGIC + b"xyz" + MAGIC,
)


def with_magic(folder: Path, photos: Made) -> Made:
    """Photographs followed by RecordIO's magic word: at multiples of 4, more than once, elsewhere, or not at all."""
    files = {}
    for row, image in enumerate(photos.images["train"]):
        padded = image.data + bytes(-len(image.data) % 4)
        files[image.key] = padded + _TAILS[row % len(_TAILS)]
    miniature.write(folder / "train", files)
    return made(folder, {"train": files})


def squares(folder: Path, photos: Made, side: int) -> Made:
    """Corners of photographs, as PNG, JPEG and grey JPEG."""
    files = {}
    for row, image in enumerate(photos.images["train"]):
        corner = image.opened().convert("L" if row % 5 == 0 else "RGB").crop((0, 0, side, side))
        stream, is_png = io.BytesIO(), row % 2 == 0
        corner.save(stream, "PNG" if is_png else "JPEG")
        files[f"{image.class_id}/{row}.{'png' if is_png else 'jpg'}"] = stream.getvalue()
    miniature.write(folder / "train", files)
    return made(folder, {"train": files})


def ilsvrc(folder: Path) -> Made:
    """The miniature ILSVRC2012 as downloaded, with boxes and an unlabelled test, and without the truncated image."""
    truth = miniature.ilsvrc(folder)
    files = {split: {key: data for key, (_, data) in images.items()} for split, images in truth.items()}
    del files["train"]["n03126707/n03126707_9.JPEG"]
    return made(folder, files, sorted(miniature.CLASSES))
