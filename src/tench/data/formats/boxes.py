"""ImageNet's annotations and the boxes in them, added to a table on request.

They are PASCAL VOC XML files: in archives next to the images (ILSVRC2012_bbox_*), unpacked, or in Kaggle's
`Annotations`. An annotation belongs to the image with the same file name, whatever name it contains. Boxes follow the
rules of TensorFlow Slim's record sets: coordinates relative to the size in the annotation, swapped if reversed, clipped
to the image; empty boxes and those of another class dropped. Archives are read sequentially, which needs no second copy
on disk."""

import dataclasses
import itertools
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tench.data.files import tar
from tench.data.files.compressed import Forward, Pread, form_of
from tench.data.files.names import shown
from tench.data.files.tree import Tree, open_tree
from tench.data.table import Contents, Rows
from tench.errors import TenchError, counted

WOULD_DO = (
    "ILSVRC2012_bbox_train_v2.tar.gz, ILSVRC2012_bbox_val_v3.tgz, ILSVRC2012_bbox_train_dogs.tar.gz (packed or "
    "unpacked), or Kaggle's folder ILSVRC/Annotations/CLS-LOC"
)
"""The files that contain boxes, for messages."""

_ARCHIVE = re.compile(r"ILSVRC2012_bbox_(train|val)\w*\.(tar\.gz|tgz|tar)")
_XML = re.compile(r"(n\d{8}_\d+|ILSVRC20\d\d_(val|test)_\d{8})\.xml")

_PACKAGE = re.compile(r"imagenet[-_]object[-_]localization[^/]*\.(tar|tar\.gz|tgz|zip)")
"""Names of Kaggle's ImageNet archives: one that contains the folder ILSVRC, and a .zip around it."""


class Object(NamedTuple):
    """One object of an annotation: its class as written, and xmin, ymin, xmax, ymax relative to the image's sides.

    The box is as in the file: it may extend beyond the image, or be reversed.
    """

    name: str
    box: tuple[float, float, float, float]


_Annotations = dict[str, list[Object]]
"""The objects of an image by its file name without suffix."""


@dataclasses.dataclass
class _Counts:
    """Counts of boxes by what happened to them."""

    repaired: int = 0
    empty: int = 0
    of_others: int = 0


def attach(tree: Tree, contents: Contents) -> Contents:
    """The contents with the boxes of their images: a list for each row, empty if it has no annotation.

    A box is [xmin, ymin, xmax, ymax], 0 <= min < max <= 1. Raises TenchError if the source has no annotations, no
    matching one, or a damaged one.
    """
    found, notes = _annotations(tree)
    counts, num_used = _Counts(), 0
    splits = {}
    for split, rows in contents.splits.items():
        boxes, num_annotated = _boxes_of(rows, contents.classes.ids, found, counts)
        splits[split] = dataclasses.replace(rows, boxes=boxes)
        num_used += num_annotated
        num_boxes = sum(map(len, boxes))
        notes.append(f"{split} has {counted(num_boxes, 'box')} in {num_annotated:,} of its {len(boxes):,} images.")
    if num_used == 0:
        raise TenchError(
            f"{tree.source} has {counted(len(found), 'annotation')}, but none has the name of one of its images (the "
            f"first is {min(found)}.xml). They belong to other images."
        )
    if others := len(found) - num_used:
        notes.append(f"{counted(others, 'annotation')} without a matching image here.")
    if counts.repaired:
        notes.append(f"Corrected {counted(counts.repaired, 'box')} that were reversed or extended beyond the image.")
    if counts.empty or counts.of_others:
        notes.append(
            f"Dropped {counted(counts.empty + counts.of_others, 'box')}: {counts.empty:,} empty, {counts.of_others:,} "
            "around an object of another class than the image's."
        )
    stamp = list(dict.fromkeys([*contents.stamp, *tree.stamp]))
    return dataclasses.replace(contents, splits=splits, stamp=stamp, notes=[*contents.notes, *notes])


def _boxes_of(
    rows: Rows, class_ids: Sequence[str], found: _Annotations, counts: _Counts
) -> tuple[list[list[list[float]]], int]:
    """The boxes of each row, and the number of annotated rows."""
    known = frozenset(class_ids)
    nothing: list[list[float]] = []
    boxes, num_annotated = [], 0
    for key, label in zip(rows.key, rows.label.tolist(), strict=True):
        annotated = found.get(key.rpartition("/")[2].rpartition(".")[0])
        if annotated is None:
            boxes.append(nothing)
            continue
        num_annotated += 1
        of_row = []
        own = class_ids[label] if label >= 0 else None
        for name, box in annotated:
            if own is not None and name != own and name in known:
                counts.of_others += 1
            elif (right := _put_right(box)) is None:
                counts.empty += 1
            else:
                counts.repaired += right != list(box)
                of_row.append(right)
        boxes.append(of_row)
    return boxes, num_annotated


def _put_right(box: tuple[float, float, float, float]) -> list[float] | None:
    """A box with its sides in order and clipped to the image; None if it is empty."""
    left, right = sorted((min(max(box[0], 0.0), 1.0), min(max(box[2], 0.0), 1.0)))
    top, bottom = sorted((min(max(box[1], 0.0), 1.0), min(max(box[3], 0.0), 1.0)))
    return [left, top, right, bottom] if left < right and top < bottom else None


def _annotations(tree: Tree) -> tuple[_Annotations, list[str]]:
    """All annotations of a source, and notes on where they come from."""
    tree = package_opened(tree, lambda tree: bool(_archives(tree) or _files(tree)))
    archives, files = _archives(tree), _files(tree)
    readers = [_of_archive(tree, name) for name in archives]
    places = [str(tree.root / name) for name in archives]
    if not archives and not files and tree.source.is_dir():  # a folder inside Kaggle's tree: look above it on disk
        above = (folder / "Annotations/CLS-LOC" for folder in (tree.source.parent, tree.source.parent.parent))
        if outside := next((folder for folder in above if folder.is_dir()), None):
            stamp, tree = tree.stamp, open_tree(outside, tree.spool)
            stamp.update(tree.stamp)
            files = _files(tree)
    if files:
        readers.append(_of_files(tree, files))
        places.append(f"{len(files):,} XML files in {tree.root}")
    found: _Annotations = {}
    repeated = 0
    for reader in readers:
        for name, where, data in reader:
            image = name.rpartition("/")[2].removesuffix(".xml")
            if image in found:
                repeated += 1
            else:
                found[image] = objects(data, where)
    if not found:
        raise TenchError(f"{tree.source} has no boxes, because it has no annotations. Add one or more of: {WOULD_DO}.")
    notes = [f"Boxes are from {', '.join(places)}."]
    if repeated:
        notes.append(
            f"{counted(repeated, 'annotation')} for an image that already has one; the first one, in this order, is "
            "used."
        )
    return found, notes


def _archives(tree: Tree) -> list[str]:
    found = [name for name in tree.names if _ARCHIVE.fullmatch(name.rpartition("/")[2])]
    return sorted(found, key=lambda name: ("dogs" in name, name))  # task 3 (dogs) repeats some annotations of task 1


def _files(tree: Tree) -> list[str]:
    return [name for name in tree.names if name.endswith(".xml") and _XML.fullmatch(name.rpartition("/")[2])]


def packages(tree: Tree, folder: str = "") -> list[str]:
    """Kaggle's archives directly in a folder of a tree ("" is the root), the innermost first."""
    kinds = (".tar", ".gz", ".tgz", ".zip")
    cut = len(folder) + 1 if folder else 0
    start = f"{folder}/imagenet" if folder else "imagenet"
    named = [name for name in tree.others if name.startswith(start)]
    found = [name for name in named if _PACKAGE.fullmatch(name, cut)]
    return sorted(found, key=lambda name: kinds.index(name[name.rindex(".") :]))


def package_opened(tree: Tree, until: Callable[[Tree], bool]) -> Tree:
    """Open Kaggle's archive in a tree's root, and then the one inside, until `until` is true of the tree."""
    folder = ""
    while not until(tree) and (found := packages(tree, folder)):
        folder = found[0]
        tree = tree.opened([folder])
    return tree


def _of_archive(tree: Tree, name: str) -> Iterator[tuple[str, str, bytes]]:
    place = tree.root / name
    for member, data in packed(tree, name, lambda path: _XML.fullmatch(path.rpartition("/")[2]) is not None):
        yield member, f"{place}/{member}", data


def _of_files(tree: Tree, names: Sequence[str]) -> Iterator[tuple[str, str, bytes]]:
    for name, data in loose(tree, names):
        yield name, str(tree.root / name), data


class _Builder(ElementTree.TreeBuilder):
    """Refuses a document type, which annotations do not need and which can declare entities."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type, which no annotation needs")


def objects(data: bytes, where: str) -> list[Object]:
    """The objects of an annotation, a PASCAL VOC XML file.

    Its `<filename>` is ignored: some contain only "%s". Boxes are relative to the size in the file, which is the size
    annotators saw and may differ from the image's. Raises TenchError if it is not such a file.
    """
    try:
        parser = ElementTree.XMLParser(target=_Builder())
        parser.feed(data)
        root = parser.close()
        width, height = _number(root, "size/width"), _number(root, "size/height")
        if width <= 0 or height <= 0:
            raise ValueError(f"the image's size is {width:g} x {height:g}")
        found = []
        for thing in root.iterfind("object"):
            name = (thing.findtext("name") or "").strip()
            for box in thing.iterfind("bndbox"):
                left, top = _number(box, "xmin") / width, _number(box, "ymin") / height
                right, bottom = _number(box, "xmax") / width, _number(box, "ymax") / height
                found.append(Object(name, (left, top, right, bottom)))
        return found
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise TenchError(
            f"{where} is not a PASCAL VOC annotation ({error}). Restore the file from its archive, or "
            "download that again."
        ) from error


def _number(element: Any, path: str) -> float:
    text = element.findtext(path)
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"<{path}> is {'missing' if text is None else repr(text)}")
    return number


def packed(tree: Tree, name: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the wanted files of a tar archive of small files, compressed or not, in archive order.

    Raises TenchError if the archive is damaged, truncated, or has members it should not have.
    """
    where, limits = str(tree.root / name), tree.limits
    with tree.open(name) as file:
        is_packed = form_of(file.read(6)) is not None
        forward = Forward(file, where, limits) if is_packed else None
        pread = forward.pread if forward else _pread(file)
        for member, offset, num_bytes in tar.members(pread, 0, None, where, limits):
            if member.endswith("/") or not wanted(member):
                continue
            if num_bytes > limits.annotation_bytes:
                raise TenchError(
                    f"{where}: {shown(member)} claims {num_bytes:,} bytes; at most {limits.annotation_bytes:,} are "
                    "read. The archive is damaged. Copy or download it again."
                )
            data = pread(num_bytes, offset)
            if len(data) < num_bytes:
                raise TenchError(f"{where} is truncated within {shown(member)}. Copy or download it again.")
            yield member, data
        if forward:
            forward.finish()


def _pread(file: BinaryIO) -> Pread:
    def pread(length: int, offset: int) -> bytes:
        file.seek(offset)
        return file.read(length)

    return pread


def loose(tree: Tree, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of small files of a tree, in their order on disk.

    They are not added to the stamp, because the folder or archive that contains them is already in it.
    """
    positions = np.array([tree.index(name) for name in names], np.int64)
    in_order = positions[np.lexsort((tree.offset[positions], tree.shard[positions]))].tolist()
    for number, of_shard in itertools.groupby(in_order, key=lambda position: int(tree.shard[position])):
        with tree.reading(tree.shards[number]) as pread:
            for position in of_shard:
                yield tree.names[position], pread(int(tree.length[position]), int(tree.offset[position]))
