"""The labels of ILSVRC2012's val, in the six forms in which they are published, and a devkit's class list.

Labels are matched by file name, never by position in a listing; class numbers of the devkit are mapped by WordNet id.
If several forms are present, the first in the order of `FORMS` is used, and all must agree: reading all of them is
slower than reading one, but detects a file that belongs to another set.
"""

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tench.data.files.tree import Tree
from tench.data.formats.boxes import loose, objects, packed
from tench.data.formats.mat import read_mat
from tench.data.formats.wordnet import WNID, devkit_order
from tench.errors import TenchError

WOULD_DO = (
    "ILSVRC2012_devkit_t12.tar.gz (packed or unpacked, or the devkit of a later year), ILSVRC2012_bbox_val_v3.tgz "
    "(packed or unpacked), LOC_val_solution.csv, or imagenet_2012_validation_synset_labels.txt (also as "
    "synset_labels.txt)"
)
"""The files with the labels of val, for messages."""

_META = ("meta.mat", "meta_clsloc.mat")
_GROUND_TRUTH = re.compile(r"ILSVRC20\d\d_(clsloc_)?validation_ground_truth\.txt")
_ID_FIELD = re.compile(r"ILSVRC20\d\d_(CLSLOC_)?ID")
_VAL_XML = re.compile(r"ILSVRC2012_val_\d{8}\.xml")
_TASK_3 = "devkit_t3"
"""The devkit of the dogs task numbers its own 120 classes, so its labels are different."""
_AS_TEXT = {"Scottish_deerhound": "n02092002"}
"""In annotations of dogs this word replaces the WordNet id."""


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of val from one source.

    place: the source, for messages. wnid: the class by the image's name without suffix. line: the line of each in the
    source (0 if it has no lines). classes: the ids that the source lists, sorted. names, num_train: a devkit's data on
    the classes, else empty. is_list: whether line k is for image k, so that the counts must match.
    """

    place: str
    wnid: Mapping[str, str]
    line: Mapping[str, int]
    classes: Sequence[str]
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    num_train: Mapping[str, int] = dataclasses.field(default_factory=dict)
    is_list: bool = False

    def where(self, image: str) -> str:
        """The place of an image's label, for messages."""
        line = self.line.get(image, 0)
        return f"{self.place}, line {line:,}" if line else self.place


@dataclasses.dataclass(frozen=True)
class LabelSource:
    """A place to read the labels of val from. names: of the file, or of the XML files of a folder."""

    tree: Tree
    form: str
    names: Sequence[str]

    @property
    def is_devkit(self) -> bool:
        return self.form.startswith("devkit")

    def read(self) -> Labels:
        """The labels in this source. Raises TenchError if it is damaged or contradicts itself."""
        return FORMS[self.form][1](self.tree, self.names)


def sources(tree: Tree) -> list[LabelSource]:
    """The places in a tree with labels of val, found by file name, in order of preference."""
    found: dict[str, list[list[str]]] = {form: [] for form in FORMS}
    folders: dict[str, list[str]] = {}
    for name in tree.names:
        if not name.endswith((".txt", ".csv", ".gz", ".tgz", ".tar", ".xml")) or _TASK_3 in name:
            continue
        folder, _, base = name.rpartition("/")
        if base.endswith(".xml"):
            if _VAL_XML.fullmatch(base):
                folders.setdefault(folder, []).append(name)
            continue
        for form, (pattern, _) in FORMS.items():
            if pattern.fullmatch(base):
                found[form].append([name])
    found["annotations"] = list(folders.values())
    return [LabelSource(tree, form, names) for form, groups in found.items() for names in groups]


def refuse_disagreement(labels: Sequence[Labels]) -> None:
    """Raise TenchError, naming the first image and both places, if two sources label an image differently."""
    for other in labels[1:]:
        first = labels[0]
        both = sorted(first.wnid.keys() & other.wnid.keys())
        if differ := [image for image in both if first.wnid[image] != other.wnid[image]]:
            image = differ[0]
            raise TenchError(
                f"{image} has class {first.wnid[image]} in {first.where(image)}, but {other.wnid[image]} in "
                f"{other.where(image)}; {len(differ):,} of {len(both):,} labels differ. One of the two is wrong. Move "
                "it away."
            )


def _image(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}"


def _packed_devkit(tree: Tree, names: Sequence[str]) -> Labels:
    found: dict[str, tuple[str, bytes]] = {}
    place = str(tree.root / names[0])
    for member, data in packed(tree, names[0], lambda name: _is_devkit_file(name.rpartition("/")[2])):
        base = member.rpartition("/")[2]
        found["truth" if _GROUND_TRUTH.fullmatch(base) else "meta"] = f"{place}/{member}", data
    if lacking := [name for name in ("meta", "truth") if name not in found]:
        files = {"meta": "meta.mat", "truth": "ILSVRC2012_validation_ground_truth.txt"}
        raise TenchError(
            f"{place} has no file {files[lacking[0]]}, so it is not a devkit of ILSVRC2012. Download it again, or "
            f"replace it with one of: {WOULD_DO}."
        )
    return _devkit_labels(place, *found["truth"], found["meta"])


def _is_devkit_file(base: str) -> bool:
    return base in _META or _GROUND_TRUTH.fullmatch(base) is not None


def _loose_devkit(tree: Tree, names: Sequence[str]) -> Labels:
    folder, slash, _ = names[0].rpartition("/")
    beside = next((folder + slash + meta for meta in _META if folder + slash + meta in tree), None)
    meta = (str(tree.root / beside), tree.read(beside)) if beside else None
    place = str(tree.root / names[0])
    return _devkit_labels(place, place, tree.read(names[0]), meta)


def _devkit_labels(place: str, where: str, truth: bytes, meta: tuple[str, bytes] | None) -> Labels:
    """Line k of the ground truth is the class number of image k, in the numbering of the devkit's own list."""
    if meta is None:  # only the text was found; its numbering is known
        wnids: dict[int, str] = dict(enumerate(devkit_order(), start=1))
        names: dict[str, str] = {}
        num_train: dict[str, int] = {}
    else:
        wnids, names, num_train = _numbering(*meta)
    wnid, by_text = {}, {str(number): class_id for number, class_id in wnids.items()}
    for number, line in enumerate(_lines(truth), start=1):
        found = by_text.get(line.strip())
        if found is None:
            raise TenchError(
                f"{where}, line {number:,}: {line.strip()[:80]!r} is not a class number; the {len(wnids):,} classes "
                f"have the numbers 1 to {len(wnids):,}. The file is damaged, or its class list ({' or '.join(_META)}) "
                "belongs to another set. Download the devkit again."
            )
        wnid[_image(number)] = found
    line_of = {image: number for number, image in enumerate(wnid, start=1)}
    return Labels(place, wnid, line_of, sorted(wnids.values()), names, num_train, is_list=True)


def _numbering(where: str, data: bytes) -> tuple[dict[int, str], dict[str, str], dict[str, int]]:
    """The devkit's list of classes: WordNet id by number; names and number of train images by WordNet id.

    Source: the readme of the ILSVRC2012 and ILSVRC2015 development kits. Classes are the entries without children; the
    lists of 2014 and later contain no others.
    """
    variables = read_mat(data, where)
    try:
        synsets = variables["synsets"].ravel(order="F")
        fields: tuple[str, ...] = synsets.dtype.names or ()
        number_field = next((field for field in fields if _ID_FIELD.fullmatch(field)), "")
        if not number_field or "WNID" not in fields:
            raise ValueError("'synsets' lacks these fields")
        if "num_children" in fields:
            synsets = synsets[[_whole(count) == 0 for count in synsets["num_children"]]]
        numbers = [_whole(number) for number in synsets[number_field]]
        wnids = [str(wnid) for wnid in synsets["WNID"]]
        words = [str(text) for text in synsets["words"]] if "words" in fields else []
        counts = [_whole(count) for count in synsets["num_train_images"]] if "num_train_images" in fields else []
    except (KeyError, IndexError, ValueError, OverflowError, TypeError, AttributeError) as error:
        held = ", ".join(f"{name!r}"[:80] for name in sorted(variables)[:5]) or "nothing"
        raise TenchError(
            f"{where} is not the class list of an ILSVRC2012 devkit. Expected a structure 'synsets' with the fields "
            f"ILSVRC2012_ID and WNID; the file contains {held} ({type(error).__name__}: {str(error)[:200]}). Copy or "
            "download it again."
        ) from error
    by_number: dict[int, str] = {}
    number_of: dict[str, int] = {}
    for number, wnid in zip(numbers, wnids, strict=True):
        if not WNID.fullmatch(wnid):
            raise TenchError(
                f"{where}: class {number} has {wnid!r} instead of a WordNet id. Download the devkit again."
            )
        if number in by_number or wnid in number_of:
            twice = (
                f"{by_number[number]} and {wnid} both have the number {number}"
                if number in by_number
                else f"{wnid} has the numbers {number_of[wnid]} and {number}"
            )
            raise TenchError(f"{where}: {twice}. Each class must have one number. Download the devkit again.")
        by_number[number], number_of[wnid] = wnid, number
    if by_number.keys() != set(range(1, len(by_number) + 1)) or not by_number:
        raise TenchError(
            f"{where}: the {len(by_number):,} classes must have the numbers 1 to {len(by_number):,}, got "
            f"{min(by_number, default=0)} to {max(by_number, default=0)}. Download the devkit again."
        )
    return by_number, dict(zip(wnids, words, strict=False)), dict(zip(wnids, counts, strict=False))


def _whole(number: Any) -> int:
    """A field that contains one whole number, as MATLAB stores it: a matrix of one row and one column."""
    value = number.item()
    if value != int(value):
        raise ValueError(f"{value} is not a whole number")
    return int(value)


def _packed_annotations(tree: Tree, names: Sequence[str]) -> Labels:
    place = str(tree.root / names[0])
    found = packed(tree, names[0], lambda name: _VAL_XML.fullmatch(name.rpartition("/")[2]) is not None)
    return _annotated_labels(place, ((member, f"{place}/{member}", data) for member, data in found))


def _loose_annotations(tree: Tree, names: Sequence[str]) -> Labels:
    place = str(tree.root / names[0].rpartition("/")[0])
    return _annotated_labels(place, ((name, str(tree.root / name), data) for name, data in loose(tree, names)))


def _annotated_labels(place: str, found: Iterable[tuple[str, str, bytes]]) -> Labels:
    """The class of an image is the name of the objects in its annotation, which must all have the same name."""
    wnid = {}
    for name, where, data in found:
        classes = sorted({_AS_TEXT.get(thing.name, thing.name) for thing in objects(data, where)})
        if not classes:
            continue
        if len(classes) > 1 or not WNID.fullmatch(classes[0]):
            raise TenchError(
                f"{where}: all objects must have the same class, a WordNet id such as n01440764, got "
                f"{', '.join(map(repr, classes))}. So the class of the image is unknown. Restore the file, or move "
                f"the annotations away and use one of: {WOULD_DO}."
            )
        wnid[name.rpartition("/")[2].removesuffix(".xml")] = classes[0]
    if not wnid:
        raise TenchError(
            f"{place} contains no annotation of an image of val (ILSVRC2012_val_########.xml). Download it again, or "
            f"use one of: {WOULD_DO}."
        )
    return Labels(place, wnid, {}, sorted(set(wnid.values())))


def _solution(tree: Tree, names: Sequence[str]) -> Labels:
    """Kaggle's `LOC_val_solution.csv`: `ImageId,PredictionString`, the latter groups of `wnid xmin ymin xmax ymax`."""
    place = str(tree.root / names[0])
    wnid: dict[str, str] = {}
    line_of: dict[str, int] = {}
    rows = csv.reader(io.StringIO(tree.text(names[0]), newline=""))
    try:
        if (header := next(rows, [])) != ["ImageId", "PredictionString"]:
            raise TenchError(
                f"{place}, line 1 must be 'ImageId,PredictionString', got {','.join(header)[:80]!r}. Download the "
                "file again."
            )
        for row in rows:
            if not row:
                continue
            tokens = row[1].split() if len(row) == 2 else []
            classes = tokens[::5]
            has_form = len(tokens) == 1 or (tokens and not len(tokens) % 5)  # our own files have only the class
            if not has_form or len(set(classes)) > 1 or not WNID.fullmatch(classes[0]):
                raise TenchError(
                    f"{place}, line {rows.line_num:,} must be an image and for each box 'wnid xmin ymin xmax ymax', "
                    f"all with the same WordNet id, got {','.join(row)[:80]!r}. Download the file again."
                )
            image = row[0].strip()
            if wnid.setdefault(image, classes[0]) != classes[0]:
                raise TenchError(
                    f"{place}, line {rows.line_num:,}: {image} has class {classes[0]}, but {wnid[image]} in line "
                    f"{line_of[image]:,}. Download the file again."
                )
            line_of.setdefault(image, rows.line_num)
    except csv.Error as error:
        raise TenchError(f"{place}, line {rows.line_num:,}: {error}. Download the file again.") from error
    return Labels(place, wnid, line_of, sorted(set(wnid.values())))


def _synsets(tree: Tree, names: Sequence[str]) -> Labels:
    """Slim's text file: line k has the WordNet id of image k."""
    place = str(tree.root / names[0])
    wnid = {}
    for number, line in enumerate(_lines(tree.read(names[0])), start=1):
        if not WNID.fullmatch(line.strip()):
            raise TenchError(
                f"{place}, line {number:,} must be the WordNet id of {_image(number)}, such as n01440764, got "
                f"{line[:80]!r}. Download the file again."
            )
        wnid[_image(number)] = line.strip()
    line_of = {image: number for number, image in enumerate(wnid, start=1)}
    return Labels(place, wnid, line_of, sorted(set(wnid.values())), is_list=True)


def _lines(data: bytes) -> list[str]:
    """The lines of a text, without empty ones at its end."""
    return data.decode("utf-8-sig", "replace").rstrip().splitlines()


FORMS: Mapping[str, tuple[re.Pattern[str], Callable[[Tree, Sequence[str]], Labels]]] = {
    "devkit archive": (re.compile(r"ILSVRC20\d\d_devkit\w*\.(tar\.gz|tgz|tar)"), _packed_devkit),
    "devkit": (_GROUND_TRUTH, _loose_devkit),
    "annotations archive": (re.compile(r"ILSVRC2012_bbox_val\w*\.(tar\.gz|tgz|tar)"), _packed_annotations),
    "annotations": (_VAL_XML, _loose_annotations),
    "solution": (re.compile(r"LOC_val_solution\.csv"), _solution),
    "synsets": (
        re.compile(r"(imagenet_2012_validation_)?synset_labels\.txt|ILSVRC_val_labels\.txt"),
        _synsets,
    ),
}
"""The forms of the labels of val, in order of preference: the names of their files, and the reader."""
