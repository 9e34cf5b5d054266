"""Build a miniature ILSVRC2012 and a miniature Kaggle tree from crops of scikit-learn's two photographs.

Both contain the difficult cases of the real dataset: an outer archive of unsorted class archives, a val archive that is
not sorted by name, a devkit whose numbering never agrees with the sorted order, two classes with the same name, a class
without val images, a PNG and a CMYK JPEG with the suffix .JPEG, a grey and a truncated JPEG, and boxes that are
reversed, empty, outside the image or of another class. Tables are compared with `photographs`.
"""

import functools
import io
import random
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.data import photos
from tests.support.files import write_file, write_folder

Truth = dict[str, dict[str, tuple[str | None, bytes]]]
"""By split, and by the key of each image: its WordNet id (None in test) and its bytes."""

CLASSES = {
    "n02119789": "kit fox, Vulpes macrotis",
    "n02100735": "English setter",
    "n03126707": "crane",
    "n02092002": "Scottish deerhound, deerhound",
    "n02012849": "crane",
    "n01440764": "tench, Tinca tinca",
}
"""Class names by WordNet id, in the order of the devkit: class number k is at position k - 1."""

ANCESTORS = {"n00001740": "entity", "n00015388": "animal, animate being, beast"}
"""Entries of the devkit's list that have children and are therefore not classes."""

VAL = (
    "n02100735 n02119789 n02012849 n02092002 n01440764 n01440764 n02012849 n02119789 n02100735 n02092002 n02012849 "
    "n02119789"
).split()
"""The classes of val's images in the order of their names. The crane that is a machine has no image."""

_NUMBERS = (10026, 9, 2933, 771)
_NUM_TEST = 3


@functools.cache
def photographs() -> Truth:
    """The images of all splits."""
    train: dict[str, tuple[str | None, bytes]] = {}
    for label, wnid in enumerate(CLASSES):
        for position, number in enumerate(_NUMBERS[: 3 + label % 2]):
            train[f"{wnid}/{wnid}_{number}.JPEG"] = wnid, _photograph(f"{wnid}_{number}", 7 * label + position)
    val: dict[str, tuple[str | None, bytes]] = {
        f"{wnid}/{image_name('val', number)}.JPEG": (wnid, _photograph("", 50 + number))
        for number, wnid in enumerate(VAL, start=1)
    }
    test: dict[str, tuple[str | None, bytes]] = {
        f"{image_name('test', number)}.JPEG": (None, _photograph("", 80 + number)) for number in range(1, _NUM_TEST + 1)
    }
    return {"train": train, "val": val, "test": test}


def image_name(split: str, number: int) -> str:
    """The name of an image of val or test without its suffix. Numbers begin at 1."""
    return f"ILSVRC2012_{split}_{number:08d}"


def _photograph(name: str, seed: int) -> bytes:
    photo = photos.photo(("china.jpg", "flower.jpg")[seed % 2])
    width, height = 24 + seed % 31, 20 + seed * 5 % 29
    left, top = seed * 37 % (photo.width - width), seed * 23 % (photo.height - height)
    image = photo.crop((left, top, left + width, top + height))
    data = io.BytesIO()
    if name == "n02092002_2933":
        image.convert("RGBA").save(data, "PNG")
    else:
        mode = {"n02119789_9": "CMYK", "n02012849_10026": "L"}.get(name, "RGB")
        image.convert(mode).save(data, "JPEG", quality=85)
    encoded = data.getvalue()
    return encoded[: len(encoded) * 2 // 3] if name == "n03126707_9" else encoded


def by_class() -> dict[str, dict[str, bytes]]:
    """The images of train by class and file name."""
    found: dict[str, dict[str, bytes]] = {wnid: {} for wnid in CLASSES}
    for key, (wnid, data) in photographs()["train"].items():
        assert wnid is not None
        found[wnid][key.partition("/")[2]] = data
    return found


def flat(split: str) -> dict[str, bytes]:
    """The images of val or test by file name."""
    return {key.rpartition("/")[2]: data for key, (_, data) in photographs()[split].items()}


# Archives, all written by tarfile and zipfile.


def tar_bytes(files: dict[str, bytes], mode: str = "w", folders: Iterable[str] = (), seed: int | None = 1) -> bytes:
    """A tar of these files in shuffled order (in the given order if seed is None)."""
    names = list(files)
    if seed is not None:
        names.sort()
        random.Random(seed).shuffle(names)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    return packed.getvalue()


def class_tar(wnid: str) -> bytes:
    return tar_bytes(by_class()[wnid])


def train_tar(path: Path) -> Path:
    return write_file(
        path / "ILSVRC2012_img_train.tar", tar_bytes({f"{wnid}.tar": class_tar(wnid) for wnid in CLASSES})
    )


def val_tar(path: Path) -> Path:
    return write_file(path / "ILSVRC2012_img_val.tar", tar_bytes(flat("val")))


def archive_of_test(path: Path, name: str = "ILSVRC2012_img_test_v10102019.tar", folder: str = "test/") -> Path:
    images = {f"{folder}{file}": data for file, data in flat("test").items()}
    return write_file(path / name, tar_bytes(images, folders=[folder] if folder else []))


write = write_folder


# The labels of val.


def meta_mat(numbers: dict[str, int] | None = None, *, later: bool = False, **changes: Any) -> bytes:
    """The devkit's list of classes, as scipy writes it for MATLAB. later: in the form of 2014 and after.

    numbers: class numbers to change, by WordNet id. changes: new values of a field, for every class.
    """
    from scipy.io import savemat

    numbers = numbers or {wnid: number for number, wnid in enumerate(CLASSES, start=1)}
    counts = {wnid: len(images) for wnid, images in by_class().items()}
    entries: list[dict[str, Any]] = []
    for wnid, number in numbers.items():
        entry: dict[str, Any] = {"ILSVRC2015_CLSLOC_ID" if later else "ILSVRC2012_ID": float(number), "WNID": wnid}
        if later:
            entry |= {"name": CLASSES[wnid].split(",")[0], "description": "gloss"}
        else:
            entry |= {"words": CLASSES[wnid], "gloss": "a class", "num_children": 0.0, "children": np.zeros((0, 0))}
            entry |= {"wordnet_height": 0.0}
        entries.append(entry | {"num_train_images": float(counts[wnid])} | changes)
    if not later:
        for number, (wnid, words) in enumerate(ANCESTORS.items(), start=len(numbers) + 1):
            entry = {"ILSVRC2012_ID": float(number), "WNID": wnid, "words": words, "gloss": "an ancestor"}
            children = np.arange(1.0, number - 2)
            entry |= {"num_children": float(len(children)), "children": children, "wordnet_height": 3.0}
            entries.append(entry | {"num_train_images": 0.0})
    synsets = np.empty((len(entries), 1), [(field, object) for field in entries[0]])
    for position, entry in enumerate(entries):
        synsets[position, 0] = tuple(entry.values())
    written = io.BytesIO()
    savemat(written, {"synsets": synsets}, do_compression=True)
    return written.getvalue()


def ground_truth(classes: Sequence[str] = VAL) -> bytes:
    """The devkit's labels of val: a class number per line, in its own numbering."""
    numbers = {wnid: number for number, wnid in enumerate(CLASSES, start=1)}
    return "".join(f"{numbers[wnid]}\n" for wnid in classes).encode()


def devkit_files(root: str = "ILSVRC2012_devkit_t12") -> dict[str, bytes]:
    return {
        f"{root}/readme.txt": b"ILSVRC2012 development kit",
        f"{root}/data/meta.mat": meta_mat(),
        f"{root}/data/ILSVRC2012_validation_ground_truth.txt": ground_truth(),
        f"{root}/evaluation/demo.val.pred.txt": b"1 2 3 4 5\n" * len(VAL),
    }


def devkit(path: Path, files: dict[str, bytes] | None = None) -> Path:
    return write_file(path / "ILSVRC2012_devkit_t12.tar.gz", tar_bytes(files or devkit_files(), "w:gz"))


def later_devkit_files(root: str = "ILSVRC2015_devkit") -> dict[str, bytes]:
    return {
        f"{root}/data/meta_clsloc.mat": meta_mat(later=True),
        f"{root}/data/meta_det.mat": b"another task's classes",
        f"{root}/data/ILSVRC2015_clsloc_validation_ground_truth.txt": ground_truth(),
        f"{root}/data/ILSVRC2015_clsloc_validation_blacklist.txt": b"1\n3\n",
    }


def synsets(classes: Sequence[str] = VAL) -> bytes:
    """Slim's labels of val."""
    return "".join(f"{wnid}\n" for wnid in classes).encode()


def solution(classes: Sequence[str] = VAL) -> bytes:
    """Kaggle's labels of val, in random order, each with its boxes and a space at the end."""
    lines = [
        f"{image_name('val', number)},{wnid} 1 2 30 40 {wnid} 5 6 7 8 \n"
        for number, wnid in enumerate(classes, start=1)
    ]
    random.Random(2).shuffle(lines)
    return ("ImageId,PredictionString\n" + "".join(lines)).encode()


def mapping() -> bytes:
    return "".join(f"{wnid} {CLASSES[wnid]}\n" for wnid in sorted(CLASSES)).encode()


# Annotations.

Box = tuple[int, int, int, int]


def annotation(objects: Sequence[tuple[str, Box]], filename: str = "%s", size: tuple[int, int] = (100, 80)) -> bytes:
    """An annotation in ImageNet's form; boxes in pixels of an image with that width and height."""
    inside = "".join(
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
        f"\t\t<difficult>0</difficult>\n\t\t<bndbox>\n\t\t\t<xmin>{box[0]}</xmin>\n\t\t\t<ymin>{box[1]}</ymin>\n"
        f"\t\t\t<xmax>{box[2]}</xmax>\n\t\t\t<ymax>{box[3]}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for name, box in objects
    )
    return (
        f"<annotation>\n\t<folder>n00000001</folder>\n\t<filename>{filename}</filename>\n\t<source>\n"
        f"\t\t<database>ILSVRC_2012</database>\n\t</source>\n\t<size>\n\t\t<width>{size[0]}</width>\n"
        f"\t\t<height>{size[1]}</height>\n\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n"
        f"{inside}</annotation>\n"
    ).encode()


def train_annotations() -> dict[str, bytes]:
    """By path, as `ILSVRC2012_bbox_train_v2.tar.gz` has them; `TRAIN_BOXES` has their boxes."""
    return {
        "n01440764/n01440764_10026.xml": annotation([("n01440764", (20, 10, 60, 50))], "n01440764_10026"),
        "n01440764/n01440764_9.xml": annotation([("n01440764", (60, 50, 20, 10)), ("n01440764", (0, 0, 100, 80))]),
        "n02119789/n02119789_10026.xml": annotation([("n02119789", (-5, 8, 120, 72))], size=(100, 80)),
        "n02119789/n02119789_9.xml": annotation([("n02119789", (30, 10, 30, 50)), ("n02119789", (110, 0, 120, 8))]),
        "n02119789/n02119789_2933.xml": annotation([("n01440764", (0, 0, 9, 9)), ("n02119789", (0, 0, 50, 40))]),
        "n02092002/n02092002_9.xml": annotation([("Scottish_deerhound", (25, 20, 75, 60))], size=(100, 80)),
        "n02092002/n02092002_771.xml": annotation([("n02099712", (25, 20, 75, 60))], size=(50, 80)),
        "n02100735/n02100735_424242.xml": annotation([("n02100735", (1, 2, 3, 4))]),
    }


TRAIN_BOXES: dict[str, list[list[float]]] = {
    "n01440764/n01440764_10026.JPEG": [[0.2, 0.125, 0.6, 0.625]],
    "n01440764/n01440764_9.JPEG": [[0.2, 0.125, 0.6, 0.625], [0.0, 0.0, 1.0, 1.0]],  # the first is stored reversed
    "n02119789/n02119789_10026.JPEG": [[0.0, 0.1, 1.0, 0.9]],  # extends past the image in the file
    "n02119789/n02119789_9.JPEG": [],  # one box is empty, one is outside the image
    "n02119789/n02119789_2933.JPEG": [[0.0, 0.0, 0.5, 0.5]],  # the other box is of another class
    "n02092002/n02092002_9.JPEG": [[0.25, 0.25, 0.75, 0.75]],  # the class is given by name
    "n02092002/n02092002_771.JPEG": [[0.5, 0.25, 1.0, 0.75]],  # the class given is not in the dataset
}
"""The boxes of train by key, after applying the rules. All other images have none."""


def val_annotations(folder: str = "val") -> dict[str, bytes]:
    """By path, as `ILSVRC2012_bbox_val_v3.tgz` has them. The box of image k is 10 k pixels wide, of 200."""
    return {
        f"{folder}/{image_name('val', number)}.xml": annotation(
            [("Scottish_deerhound" if number == 4 else wnid, (0, 0, 10 * number, 40))], size=(200, 80)
        )
        for number, wnid in enumerate(VAL, start=1)
    }


def val_boxes() -> dict[str, list[list[float]]]:
    return {
        f"{wnid}/{image_name('val', number)}.JPEG": [[0.0, 0.0, number / 20, 0.5]]
        for number, wnid in enumerate(VAL, start=1)
    }


def bbox_train(path: Path) -> Path:
    return write_file(path / "ILSVRC2012_bbox_train_v2.tar.gz", tar_bytes(train_annotations(), "w:gz"))


def bbox_val(path: Path) -> Path:
    return write_file(path / "ILSVRC2012_bbox_val_v3.tgz", tar_bytes(val_annotations(), "w:gz", folders=["val"]))


# The datasets.


def ilsvrc(folder: Path) -> Truth:
    """ILSVRC2012 as downloaded: the archives of train, val and test, the devkit, and the boxes."""
    train_tar(folder)
    val_tar(folder)
    archive_of_test(folder)
    devkit(folder)
    bbox_train(folder)
    bbox_val(folder)
    return photographs()


def unpacked_train(folder: Path, classes: Iterable[str] = tuple(CLASSES)) -> Path:
    """Write class folders with the images of train."""
    for wnid in classes:
        write(folder / wnid, by_class()[wnid])
    return folder


def prepared_val(folder: Path) -> Path:
    """Write class folders with the images of val, as valprep.sh leaves them."""
    return write(folder, {key: data for key, (_, data) in photographs()["val"].items()})


def kaggle_images() -> dict[str, bytes]:
    """The images by their path in Kaggle's tree."""
    data = "ILSVRC/Data/CLS-LOC"
    files = {f"{data}/train/{key}": image for key, (_, image) in photographs()["train"].items()}
    return files | {f"{data}/{split}/{name}": image for split in ("val", "test") for name, image in flat(split).items()}


def kaggle_lists() -> dict[str, bytes]:
    """The lists in Kaggle's tree; their numbers are line numbers."""
    train = "".join(f"{key[:-5]} {line}\n" for line, key in enumerate(sorted(photographs()["train"]), start=1))
    val = "".join(f"{image_name('val', number)} {number}\n" for number in range(1, len(VAL) + 1))
    test = "".join(f"{image_name('test', number)} {number}\n" for number in range(1, _NUM_TEST + 1))
    lists = {"train_cls": train, "val": val, "test": test}
    return {f"ILSVRC/ImageSets/CLS-LOC/{name}.txt": text.encode() for name, text in lists.items()}


def kaggle_annotations() -> dict[str, bytes]:
    start = "ILSVRC/Annotations/CLS-LOC"
    train = {f"{start}/train/{path}": data for path, data in train_annotations().items()}
    return train | val_annotations(f"{start}/val")


def kaggle_texts() -> dict[str, bytes]:
    """The files next to the folder ILSVRC."""
    return {
        "LOC_synset_mapping.txt": mapping(),
        "LOC_val_solution.csv": solution(),
        "LOC_train_solution.csv": b"ImageId,PredictionString\nn01440764_10026,n01440764 20 10 60 50 \n",
        "LOC_sample_submission.csv": b"ImageId,PredictionString\nILSVRC2012_test_00000001,1 0 0 100 100\n",
    }


def kaggle_tree() -> dict[str, bytes]:
    """The files of the folder ILSVRC by path."""
    return kaggle_images() | kaggle_lists() | kaggle_annotations()


def kaggle(folder: Path) -> Truth:
    """Kaggle's ImageNet, unpacked."""
    write(folder, kaggle_tree() | kaggle_texts())
    return photographs()


def kaggle_archive(path: Path) -> Path:
    """`imagenet_object_localization_patched2019`, as .tar.gz (or .tgz), or as plain .tar."""
    return write_file(path, tar_bytes(kaggle_tree(), "w:gz" if path.suffix in (".gz", ".tgz") else "w"))


def kaggle_zip(path: Path, archive: str = "imagenet_object_localization_patched2019.tar.gz") -> Path:
    """`imagenet-object-localization-challenge.zip`: the texts, and the archive of the folder ILSVRC."""
    with zipfile.ZipFile(path, "w") as outer:
        packed = tar_bytes(kaggle_tree(), "w:gz" if archive.endswith(".gz") else "w")
        for name, data in [*kaggle_texts().items(), (archive, packed)]:
            kind = zipfile.ZIP_STORED if name == archive else zipfile.ZIP_DEFLATED
            outer.writestr(name, data, compress_type=kind)
    return path
