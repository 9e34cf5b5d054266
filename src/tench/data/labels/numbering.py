"""The class that a label in a list means: decided by the lists' contents, never by the order of files.

Names are the classes themselves. The meaning of numbers is decided by the first rule that applies, for each list
separately, because two lists of one set may count differently (NNabla's old samples do):
1. If folders and numbers correspond one to one, the folders are the classes. The folder is that of the image, the one
   above, the whole path (below a letter: a/abbey), or the WordNet id at the beginning of the file's name.
2. ILSVRC2012's validation images are known: three of the first twelve identify its numbering.
3. The list uses the numbering of another list, to which 1 or 2 applies.
4. A file next to the list names the classes: `class_files`.
5. The classes stay numbers.
In 4 and 5, numbers that begin at 1 (there is no 0, and the largest is the number of classes) are shifted to begin at 0.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tench.data.formats.class_files import ClassFile, agreed, class_files
from tench.data.formats.wordnet import devkit_order, imagenet, names_of
from tench.data.labels.listing import Listed
from tench.data.limits import LIMITS
from tench.data.table import Classes
from tench.errors import TenchError, counted

_FIRST_OF_VAL = (65, 970, 230, 809, 516, 57, 334, 415, 674, 332, 109, 286)
"""The classes of ILSVRC2012_val_00000001 to 12, as positions among the sorted WordNet ids."""
_NEEDED_OF_VAL = 3
_VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+", re.ASCII)
_WNID_NAME = re.compile(r"(n\d{8})_", re.ASCII)

_Told = dict[Any, str]
"""Class id by label, in the order of the classes."""


@dataclasses.dataclass(frozen=True)
class Meaning:
    """The classes of several lists; index: by split, the class index of each label; notes: for people."""

    classes: Classes
    index: dict[str, dict[Any, int]]
    notes: list[str]


def meaning_of(lists: Mapping[str, Listed], read: Callable[[str], Mapping[str, str]], prefix: str = "") -> Meaning:
    """The meaning of the labels in lists, by split, the defining split first; each list has labels.

    read, prefix: where to find files of class names, as for `class_files`. Raises TenchError, with the line, for a
    label that is not a class.
    """
    notes: list[str] = []
    first, *others = lists
    source, told = first, _told(lists[first], None, notes)
    for split in others if told is None else ():
        more = _told(lists[split], None, notes)
        if more is not None and _labels(lists[first]) <= more.keys():
            source, told = split, more
            break
    if told is None:
        return _only_numbers(lists, read, prefix, notes)
    ids = list(told.values())
    index = {}
    for split, listed in lists.items():
        own = told if split == source else _told(listed, set(ids), notes)
        if own is None and lists[source].has_names:
            raise _names_and_numbers(lists[source], listed)
        index[split] = _index(listed, told if own is None else own, ids, lists[source].where)
        if own is not None:
            notes += _otherwise(own, listed, told, lists[source])
    return Meaning(Classes.of(ids, names_of(ids)), index, notes)


def _told(listed: Listed, ids: set[str] | None, notes: list[str]) -> _Told | None:
    """The meaning of a list's labels from the list alone; ids: the classes, if already known."""
    if listed.told is not None:
        return dict(listed.told)
    if listed.has_names:
        return {name: name for name in sorted(_labels(listed))}
    told = _by_folder(listed, notes if ids is None else [])
    if told is not None and (ids is None or ids.issuperset(told.values())):
        return told
    return _by_known_images(listed, notes)


def _by_folder(listed: Listed, notes: list[str]) -> _Told | None:
    """The folder of each number, if each has exactly one and no two share one."""
    for folder_of in (_lettered, _folder, _folder_above, whole_folder, _wnid_of_name):
        if not folder_of(listed.paths[0]):
            continue
        folders = [folder_of(path) for path in listed.paths]
        pairs = {pair for pair in zip(listed.labels, folders, strict=True) if pair[0] != -1}
        numbers, names = {number for number, _ in pairs}, {name for _, name in pairs}
        if "" in names or len(names) < 2 or len(names) != len(numbers):
            continue
        if len(pairs) == len(names):
            notes.append(f"{listed.where}: the class numbers are named after the folders of the images.")
            return dict(sorted(pairs))
        seen: dict[Any, int] = {}
        for position, number in enumerate(listed.labels):
            other = seen.setdefault(number, position)
            if folders[other] != folders[position]:
                notes.append(
                    f"{listed.where} has as many numbers as folders, but {number} is in {folders[other]!r} in "
                    f"{listed.unit} {listed.lines[other]} and in {folders[position]!r} in {listed.unit} "
                    f"{listed.lines[position]}. The folders do not define the classes."
                )
                break
    return None


def _folder(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]


def _folder_above(path: str) -> str:
    return _folder(path.rpartition("/")[0])


def whole_folder(path: str) -> str:
    """All folders of a path, without the letter that SUN397 and Places365 put above them: abbey for /a/abbey/1.jpg."""
    return _lettered(path) or path.rpartition("/")[0].strip("/")


def _lettered(path: str) -> str:
    """The folders below a folder named by their first letter; "" if the path has no such folder."""
    letter, _, rest = path.rpartition("/")[0].strip("/").partition("/")
    return rest if len(letter) == 1 and rest.startswith(letter) else ""


def _wnid_of_name(path: str) -> str:
    found = _WNID_NAME.match(path.rpartition("/")[2])
    return found[1] if found else ""


def _by_known_images(listed: Listed, notes: list[str]) -> _Told | None:
    """The numbering that a list of ILSVRC2012's validation images uses."""
    known: list[tuple[Any, str]] = []  # label in the list, true class
    for path, label in zip(listed.paths, listed.labels, strict=True):
        if "ILSVRC2012_val_000000" in path and (found := _VAL_NAME.fullmatch(path.rpartition("/")[2])):
            number = int(found[1])
            if 0 < number <= len(_FIRST_OF_VAL):
                known.append((label, imagenet()[_FIRST_OF_VAL[number - 1]]))
    if len(known) < _NEEDED_OF_VAL:
        return None
    for title, ids, start in (
        ("the positions of the sorted WordNet ids, counted from 0", imagenet(), 0),
        ("the positions of the sorted WordNet ids, counted from 1", imagenet(), 1),
        ("ILSVRC2012_ID, the order of the development kit", devkit_order(), 1),
        ("ILSVRC2012_ID - 1, the order of the development kit counted from 0", devkit_order(), 0),
    ):
        told = dict(enumerate(ids, start))
        if all(told.get(label) == class_id for label, class_id in known):
            notes.append(f"{listed.where}: its numbers are {title}, judging by the first validation images.")
            return told
    notes.append(f"{listed.where}: its numbers match no known numbering of ILSVRC2012's validation images.")
    return None


def _only_numbers(
    lists: Mapping[str, Listed], read: Callable[[str], Mapping[str, str]], prefix: str, notes: list[str]
) -> Meaning:
    """Classes from a file next to the lists, else numbers."""
    named = next((listed for listed in lists.values() if listed.has_names), None)
    if named is not None:
        raise _names_and_numbers(named, next(listed for listed in lists.values() if not listed.has_names))
    numbers = set[int]().union(*(_labels(listed) for listed in lists.values()))
    found = class_files(read, prefix)
    unused = [file.where for file in found if not _lists_classes(file)]
    notes += [f"{where} is not used, because it is not a list of different classes." for where in unused]
    beside, more = agreed([file for file in found if _lists_classes(file)])
    notes += more
    most = LIMITS.classes if beside is None else len(beside)
    start = int(0 not in numbers and max(numbers) == (len(numbers) if beside is None else most))
    for listed in lists.values():
        if wrong := {number for number in _labels(listed) if number - start >= most}:
            position = _first(listed, wrong)
            reason = "too large for a class" if beside is None else f"not among the {most:,} classes of {beside.where}"
            raise TenchError(
                f"{listed.place(position)}: the label {min(wrong)} is {reason}. Correct the list"
                f"{'' if beside is None else ', or remove that file to use numbers without names'}."
            )
    if start:
        notes.append("The labels start at 1, so 1 was subtracted from each.")
    if beside is None:
        classes = Classes.numbered_to(max(numbers) + 1 - start)
        notes.append("The classes of the lists are only numbers.")
    else:
        classes = beside.classes
        notes.append(f"The classes are those of {beside.where}.")
    index = {number: number - start for number in numbers}
    return Meaning(classes, dict.fromkeys(lists, index), notes)


def _lists_classes(file: ClassFile) -> bool:
    """Whether a file can be a class list: unlike a list of image labels, it does not repeat most entries."""
    return len(file) > 1 and 2 * len(set(file.names)) > len(file)


def _index(listed: Listed, told: _Told, ids: list[str], whose: str) -> dict[Any, int]:
    position = {class_id: number for number, class_id in enumerate(ids)}
    labels = _labels(listed)
    if wrong := {label for label in labels if told.get(label) not in position}:
        place = _first(listed, wrong)
        label = next(label for label in _counted(listed, place) if label in wrong)
        meant = f" ({told[label]})" if told.get(label, label) != label else ""
        raise TenchError(
            f"{listed.place(place)}: the label {label}{meant} is not one of the {len(ids)} classes of {whose}. "
            f"This affects {counted(len(wrong), 'label')}. Both must have the same classes."
        )
    return {label: position[told[label]] for label in labels}


def _otherwise(own: _Told, listed: Listed, told: _Told, source: Listed) -> list[str]:
    """A note if two lists number the classes differently."""
    number = next((label for label in _labels(listed) if told.get(label, own[label]) != own[label]), None)
    if number is None:
        return []
    return [
        f"{listed.where} numbers the classes differently from {source.where}: {number} is {own[number]} in the first "
        f"and {told[number]} in the second. Each is read by its own numbering."
    ]


def _labels(listed: Listed) -> set[Any]:
    """All distinct labels, including those that are not the first of any image."""
    further = [] if listed.raw else listed.several.values()
    return set(listed.labels).union(*further) - {-1, ""}


def _first(listed: Listed, labels: set[Any]) -> int:
    """The first image with one of these labels."""
    return next(position for position in range(len(listed)) if not labels.isdisjoint(_counted(listed, position)))


def _counted(listed: Listed, position: int) -> Sequence[Any]:
    """The labels of an image that must be classes."""
    return listed.labels[position : position + 1] if listed.raw else listed.every(position)


def _names_and_numbers(named: Listed, numbered: Listed) -> TenchError:
    return TenchError(
        f"The labels of {named.where} are names ({named.labels[0]!r}), but those of {numbered.where} are numbers "
        f"({numbered.labels[0]}), and nothing links the numbers to classes. Write both with the same kind of label."
    )
