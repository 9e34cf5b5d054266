"""Files that name classes which are otherwise only numbers, as they lie beside lists.

    label_wordnetid.csv, *_categories.csv    0,n01440764                       NNabla; an index and the id
    imagenet_class_index.json                {"0": ["n01440764", "tench"]}     Keras
    synsets.txt, synset_words.txt            n01440764 tench, Tinca tinca      Caffe; the line is the index
    classes.txt, labels.txt                  tench                             the same, or with an index before it
    label_words.csv, label_to_content.json   0,"tench, Tinca tinca"            words only: no ids

A name that is given out for two classes (crane) is no id. Two files that contradict each other are both refused, for
the numberings of ImageNet agree nowhere.
"""

import csv
import dataclasses
import json
import re
from collections.abc import Callable, Sequence

from tench.data.table import Classes
from tench.data.wordnet import WNID, names_of
from tench.errors import TenchError

_FILES = (
    "label_wordnetid.csv",
    "imagenet_class_index.json",
    "synsets.txt",
    "synset_words.txt",
    "categories.csv",
    "classes.txt",
    "labels.txt",
    "label_words.csv",
    "label_to_content.json",
)
"""In the order in which they are preferred."""
_WORDS_ONLY = ("label_words.csv", "label_to_content.json")

_WNID_LINE = re.compile(rf"({WNID.pattern})(?:\s+(.*))?", re.ASCII)
_INDEX_LINE = re.compile(r"(\d+)\s*[\s,:]\s*(.+)", re.ASCII)


@dataclasses.dataclass(frozen=True)
class ClassFile:
    """The classes that a file names, by number. ids: None where the file has only words for people."""

    where: str
    ids: tuple[str, ...] | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> Classes:
        """Where there are no ids, the classes stay numbers, with names for people."""
        if self.ids is None:
            return Classes(tuple(map(str, range(len(self)))), self.names, numbered=True)
        return Classes(self.ids, self.names)


def class_file(read: Callable[[str], tuple[str, str] | None], prefix: str = "") -> tuple[ClassFile | None, list[str]]:
    """The file that names the classes, if there is one, and what to tell a person.

    read: gives a file's text and what to call it by its name, None where there is none. prefix: of `categories.csv`,
    as in `caltech101_categories.csv`. Raises TenchError for a file of a known name that is damaged.
    """
    found, notes = [], []
    for name in _FILES:
        opened = read(prefix + name if name == "categories.csv" else name)
        if opened is None:
            continue
        text, where = opened
        names = _entries(text, where, name)
        ids = [entry[0] for entry in names]
        if len(set(ids)) == len(ids) and name not in _WORDS_ONLY and len(ids) > 1:
            words = [more or known for (_, more), known in zip(names, names_of(ids), strict=True)]
            found.append(ClassFile(where, tuple(ids), tuple(words)))
        elif name.endswith((".csv", ".json")):
            found.append(ClassFile(where, None, tuple(more or class_id for class_id, more in names)))
        else:
            notes.append(f"{where} is no list of different classes: it is not used.")
    for other in found[1:]:
        if (number := _contradiction(found[0], other)) is not None:
            one, two = found[0].names[number], other.names[number]
            notes.append(
                f"{found[0].where} and {other.where} contradict each other: class {number} is {one!r} or {two!r}. "
                "Neither is used; take away the one that is not of this list."
            )
            return None, notes
    return (found[0] if found else None), notes


def _entries(text: str, where: str, name: str) -> list[tuple[str, str]]:
    """(id, words) of each class in the order of numbers; words are "" where there are none."""
    if name.endswith(".json"):
        return _json_entries(text, where)
    if name.endswith(".csv"):
        rows = [row for row in csv.reader(text.splitlines()) if row]
        pairs = [(row[0].strip(), row[1].strip()) for row in rows if len(row) == 2]
        if len(pairs) < len(rows) or [pair[0] for pair in pairs] != [str(number) for number in range(len(pairs))]:
            raise TenchError(
                f"{where}: should have lines `index,class` with indices 0, 1, 2, ... Correct or remove it."
            )
        return [(words, "") for _, words in pairs]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    indexed = [_INDEX_LINE.fullmatch(line) for line in lines]
    numbers = [int(match[1]) for match in indexed if match]
    if lines and len(numbers) == len(lines) and numbers in (_count_from(0, numbers), _count_from(1, numbers)):
        lines = [match[2] for match in indexed if match]
    wordnet = [match for line in lines if (match := _WNID_LINE.fullmatch(line))]
    if len(wordnet) == len(lines):
        return [(match[1], match[2] or "") for match in wordnet]
    return [(line, "") for line in lines]


def _json_entries(text: str, where: str) -> list[tuple[str, str]]:
    try:
        found = json.loads(text)
        entries = [found[str(number)] for number in range(len(found))]
        if all(isinstance(entry, str) for entry in entries):
            return [(entry, "") for entry in entries]
        return [(str(class_id), str(words)) for class_id, words in entries]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TenchError(
            f'{where}: should be JSON such as {{"0": "tench", "1": "goldfish"}} with numbers counting from 0. '
            "Correct or remove it."
        ) from None


def _count_from(start: int, numbers: Sequence[int]) -> list[int]:
    return list(range(start, start + len(numbers)))


def _contradiction(one: ClassFile, other: ClassFile) -> int | None:
    """The first class for which two files have different words, if they differ on more than half."""
    differ = [
        number for number, (a, b) in enumerate(zip(one.names, other.names, strict=False)) if _plain(a) != _plain(b)
    ]
    return differ[0] if 2 * len(differ) > min(len(one), len(other)) else None


def _plain(names: str) -> str:
    return names.partition(",")[0].replace("_", " ").strip().lower()
