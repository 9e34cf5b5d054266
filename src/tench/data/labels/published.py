"""Published datasets with labels in several files, each read as one table.

    Oxford-IIIT Pet    annotations/{list,trainval,test}.txt: image CLASS-ID SPECIES BREED-ID
    CUB-200, NABirds   images.txt, image_class_labels.txt, train_test_split.txt, classes.txt, joined by their first word
    CelebA             list_attr_celeba.txt (or .csv) and list_eval_partition.txt
    Flowers-102        imagelabels.mat, setid.mat: the n-th label is that of image_0000n.jpg

Other sets are read by general rules, and are not listed here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tench.data.files.tree import Tree
from tench.data.formats.mat import read_mat
from tench.data.labels.mat_sheet import flat
from tench.data.labels.tables import Sheet, decoded, text_sheet
from tench.data.splits import TEST, TRAIN, VAL
from tench.errors import TenchError

_PARTITIONS = {"0": TRAIN, "1": VAL, "2": TEST}
_SPECIES = {"1": "cat", "2": "dog"}
_PET = re.compile(r"(\S+)_(\d+) (\d+) ([12]) (\d+)")


def published_sheets(tree: Tree, names: Sequence[str]) -> tuple[Sheet, list[str]] | None:
    """The table of such a set among the files of a tree, and the files it comes from; None if there is no such set.

    Raises TenchError if one of its files is damaged, or two do not match.
    """
    by_base: dict[str, list[str]] = {}
    for name in names:
        by_base.setdefault(name.rpartition("/")[2].lower(), []).append(name)
    for reader in (_pets, _joined, _celeba, _flowers):
        if (found := reader(tree, by_base)) is not None:
            return found
    return None


def _beside(by_base: Mapping[str, Sequence[str]], first: str, base: str) -> str | None:
    """The file with this name in the same folder as another."""
    folder = first.rpartition("/")[0]
    return next((name for name in by_base.get(base, ()) if name.rpartition("/")[0] == folder), None)


def _text(tree: Tree, name: str) -> str:
    return decoded(whole(tree, name), tree.place(name))


def whole(tree: Tree, name: str) -> bytes:
    """The bytes of a label file. Raises TenchError if it exceeds the limit."""
    most = tree.limits.member_bytes if name.lower().endswith(".mat") else tree.limits.text_bytes
    return tree.read(name, "a label file", most)


def _pets(tree: Tree, by_base: Mapping[str, Sequence[str]]) -> tuple[Sheet, list[str]] | None:
    first = next((name for base in ("trainval.txt", "list.txt") for name in by_base.get(base, ())), None)
    if first is None:
        return None
    trainval, test = (_beside(by_base, first, base) for base in ("trainval.txt", "test.txt"))
    lists = [(trainval, TRAIN), (test, TEST)] if trainval else [(first, TRAIN)]
    rows: list[tuple[str, str, str, str, str, int]] = []
    for name, split in lists:
        if name is None:
            continue
        for number, line in enumerate(_text(tree, name).split("\n"), 1):
            match = _PET.fullmatch(" ".join(line.split()))
            if match:
                rows.append((f"{match[1]}_{match[2]}", match[1], match[3], _SPECIES[match[4]], split, number))
            elif line.strip() and not line.startswith("#"):
                return None
    if not rows:
        return None
    columns: tuple[str, ...] = ("image", "label", "CLASS-ID", "species", "split")
    cells = [list(column) for column in zip(*rows, strict=True)]
    if not trainval:
        columns, cells = columns[:4], [*cells[:4], cells[5]]
    where = tree.place(first)
    numbers = {breed: int(number) for _, breed, number, *_ in rows}
    told = {breed: breed for breed in sorted(numbers, key=numbers.__getitem__)}
    note = f"{where}: the labels are breeds, read from the image names; for cat and dog use --label species."
    sheet = Sheet(where, columns, tuple(cells[:-1]), cells[-1], told=told, notes=(note,))
    return sheet, [name for name, _ in lists if name] + list(by_base.get("list.txt", ()))


def _joined(tree: Tree, by_base: Mapping[str, Sequence[str]]) -> tuple[Sheet, list[str]] | None:
    labels = next(iter(by_base.get("image_class_labels.txt", ())), None)
    images = labels and _beside(by_base, labels, "images.txt")
    if not labels or not images:
        return None
    used = [images, labels]
    path_of, class_of = _pairs(tree, images), _pairs(tree, labels)
    columns, cells = (
        ["path", "label"],
        [list(path_of.values()), _joined_column(tree, images, path_of, labels, class_of)],
    )
    if (name := _beside(by_base, images, "train_test_split.txt")) is not None:
        used.append(name)
        columns.append("split")
        flags = _joined_column(tree, images, path_of, name, _pairs(tree, name))
        cells.append([TRAIN if flag == "1" else TEST for flag in flags])
    told = None
    if (name := _beside(by_base, images, "classes.txt")) is not None:
        used.append(name)
        named = _pairs(tree, name)
        if unknown := sorted(set(class_of.values()) - named.keys()):
            raise TenchError(
                f"{tree.place(labels)}: the class {unknown[0]} is not in {tree.place(name)}. Download both again."
            )
        # Of NABirds' 1,011 classes in classes.txt, 456 only group others and have no images.
        told = {number: one for number, one in named.items() if number in set(class_of.values())}
        if len(set(told.values())) < len(told):
            told = {number: f"{number} {one}" for number, one in told.items()}
    where = tree.place(images)
    note = f"{where}: the labels and splits are those of {', '.join(one.rpartition('/')[2] for one in used[1:])}."
    rows = range(1, len(path_of) + 1)
    return Sheet(where, tuple(columns), tuple(cells), rows, told=told, notes=(note,)), used


def _pairs(tree: Tree, name: str) -> dict[str, str]:
    """The lines `key value` of a file; a value may contain spaces."""
    found: dict[str, str] = {}
    for number, line in enumerate(_text(tree, name).split("\n"), 1):
        key, _, value = line.strip().partition(" ")
        if not key:
            continue
        if not value.strip() or key in found:
            problem = f"repeats {key}" if key in found else "has only one word"
            raise TenchError(
                f"{tree.place(name)}, line {number} {problem}. Each line should be a number and its value."
            )
        found[key] = value.strip()
    return found


def _joined_column(
    tree: Tree, images: str, path_of: Mapping[str, str], name: str, values: Mapping[str, str]
) -> list[str]:
    if path_of.keys() != values.keys():
        differ = sorted(path_of.keys() ^ values.keys())
        raise TenchError(
            f"{tree.place(name)} has {len(values):,} images, but {tree.place(images)} has {len(path_of):,}; "
            f"{differ[0]} is in only one of them. Download both again."
        )
    return [values[key] for key in path_of]


def _celeba(tree: Tree, by_base: Mapping[str, Sequence[str]]) -> tuple[Sheet, list[str]] | None:
    bases = [f"list_attr_celeba{suffix}" for suffix in (".txt", ".csv")]
    attributes = next((name for base in bases for name in by_base.get(base, ())), None)
    if attributes is None:
        return None
    where = tree.place(attributes)
    sheet = text_sheet(_text(tree, attributes), where, lambda text: text.endswith((".jpg", ".png")))
    if sheet is None:
        return None
    used = [attributes]
    stem = attributes.rpartition("/")[2].replace("attr_celeba", "eval_partition").lower()
    partition = next(iter(by_base.get(stem, ())), None)
    if partition is not None:
        used.append(partition)
        split_of = {}
        for line in _text(tree, partition).split("\n"):
            words = re.split(r"[\s,]+", line.strip())
            if len(words) == 2 and words[1] in _PARTITIONS:
                split_of[words[0]] = _PARTITIONS[words[1]]
        paths = sheet.cells[0]
        if missing := next((path for path in paths if path not in split_of), None):
            raise TenchError(
                f"{tree.place(partition)} has no split for {missing}, which is in {where}. Download it again."
            )
        columns, cells = (*sheet.columns, "split"), (*sheet.cells, [split_of[path] for path in paths])
        sheet = Sheet(where, columns, cells, sheet.lines)
    return sheet, used


def _flowers(tree: Tree, by_base: Mapping[str, Sequence[str]]) -> tuple[Sheet, list[str]] | None:
    labels = next(iter(by_base.get("imagelabels.mat", ())), None)
    if labels is None:
        return None
    where = tree.place(labels)
    numbers: list[Any] = flat(read_mat(whole(tree, labels), where).get("labels"))
    if not numbers or not all(isinstance(number, int) for number in numbers):
        raise TenchError(f"{where} has no row of numbers called `labels`, unlike Flowers-102. Download it again.")
    columns: tuple[str, ...] = ("path", "label")
    cells: list[Sequence[Any]] = [[f"image_{number:05}.jpg" for number in range(1, len(numbers) + 1)], numbers]
    used = [labels]
    if sets := next(iter(by_base.get("setid.mat", ())), None):
        used.append(sets)
        split_of: dict[Any, str] = {}
        found = read_mat(whole(tree, sets), tree.place(sets))
        for name, split in (("trnid", TRAIN), ("valid", VAL), ("tstid", TEST)):
            split_of.update(dict.fromkeys(flat(found.get(name)), split))
        if missing := [number for number in range(1, len(numbers) + 1) if number not in split_of]:
            raise TenchError(f"{tree.place(sets)} has no split for image {missing[0]} of {where}. Download it again.")
        columns, cells = (*columns, "split"), [*cells, [split_of[number] for number in range(1, len(numbers) + 1)]]
    note = f"{where}: its n-th label is that of image_0000n.jpg"
    note += f"; the splits are those of {tree.place(used[1])}." if len(used) > 1 else "."
    rows = range(1, len(numbers) + 1)
    return Sheet(where, columns, tuple(cells), rows, unit="entry", notes=(note,)), used
