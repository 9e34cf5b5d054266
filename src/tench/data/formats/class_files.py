"""Files with class names, next to lists, record files and shards that contain only numbers.

    label_wordnetid.csv, *_categories.csv    0,n01440764                       NNabla; an index and the id
    imagenet_class_index.json                {"0": ["n01440764", "tench"]}     Keras
    synset.txt, synsets.txt,                 n01440764 tench, Tinca tinca      Caffe, MXNet; the line is the index
    synset_words.txt
    classes.txt, class_names.txt, labels.txt tench                             the same, or with an index before it
    label_words.csv, label_to_content.json   0,"tench, Tinca tinca"            words only: no ids

One rule for all text: a line is a WordNet id and names, or an id, a TAB and names, or only a name; an index may precede
any of these. The number of a class is its line, so an empty line between others, or an index that differs from the
line's position, is an error: it would shift labels. A name of two classes (crane) is not an id. If two files contradict
each other, neither is used, because there are many different numberings of ImageNet. The layouts decide whether the
number of classes is right.
"""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence

from tench.data.formats.wordnet import WNID, names_of
from tench.data.table import Classes
from tench.errors import TenchError
from tench.plain import distinct

FILES = (
    "label_wordnetid.csv",
    "imagenet_class_index.json",
    "synset.txt",
    "synsets.txt",
    "synset_words.txt",
    "categories.csv",
    "classes.txt",
    "classnames.txt",
    "class_names.txt",
    "labels.txt",
    "label_words.csv",
    "label_to_content.json",
)
"""Names of these files, in order of preference."""
CLASSES_TXT, CLASSES_JSON = "classes.txt", "imagenet_class_index.json"
"""The file that tench writes: text, and JSON for ids that text cannot represent."""
_WORDS_ONLY = ("label_words.csv", "label_to_content.json")

_WNID_LINE = re.compile(rf"({WNID.pattern})(?:\s+(.*))?", re.ASCII)
_INDEX_LINE = re.compile(r"(\d+)(?:\s*[\s,:]\s*(.+))?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class ClassFile:
    """The classes named by a file, in the order of their numbers. ids: None if it has only display names."""

    where: str
    ids: tuple[str, ...] | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_unique_names(self) -> bool:
        return len(set(self.names)) == len(self)

    @property
    def classes(self) -> Classes:
        """The classes; without ids, they are numbers with display names."""
        if self.ids is None:
            return Classes(tuple(map(str, range(len(self)))), self.names, numbered=True)
        return Classes(self.ids, self.names)


def class_files(read: Callable[[str], Mapping[str, str]], prefix: str = "") -> list[ClassFile]:
    """The files that name classes, in order of preference.

    read: the text of each file with a given name, by its path for messages. prefix: of `categories.csv`, as in
    `caltech101_categories.csv`. Raises TenchError for a damaged file.
    """
    found = []
    for name in FILES:
        for where, text in read(prefix + name if name == "categories.csv" else name).items():
            found.append(parse(text, where, name))
    return found


def parse(text: str, where: str, name: str) -> ClassFile:
    """The classes in the text of a file called `name`, one of FILES. Raises TenchError if it is damaged."""
    pairs = _entries(text.replace("\r\n", "\n").replace("\r", "\n"), where, name)
    ids = [class_id for class_id, _ in pairs]
    place_of: dict[str, int] = {}
    for place, class_id in enumerate(ids):
        first = place_of.setdefault(class_id, place)
        if first != place and WNID.fullmatch(class_id):
            if name.endswith(".txt"):
                raise TenchError(f"{where}, line {place + 1}: {class_id} is already in line {first + 1}.")
            raise TenchError(f"{where}: {class_id} is class {first} and class {place}. Correct or remove the file.")
    names = tuple(more or known for (_, more), known in zip(pairs, names_of(ids), strict=True))
    unique = len(place_of) == len(ids) and name not in _WORDS_ONLY
    return ClassFile(where, tuple(ids) if unique else None, names)


def agreed(found: Sequence[ClassFile]) -> tuple[ClassFile | None, list[str]]:
    """The file to use, preferring one with ids; and a note if none is used because two contradict each other."""
    if not found:
        return None, []
    first = next((file for file in found if file.ids is not None), found[0])
    for other in found:
        if (number := _contradiction(first, other)) is not None:
            note = (
                f"{first.where} and {other.where} contradict each other: class {number} is {first.names[number]!r} or "
                f"{other.names[number]!r}. Neither is used. Remove the one that does not belong to this list."
            )
            return None, [note]
    return first, []


def text_of(classes: Classes) -> dict[str, str]:
    """The file that names these classes in order, by its name, for layouts that contain only numbers; empty if the
    classes are only numbers themselves."""
    names = [" ".join(name.split()) for name in classes.names]
    if classes.numbered:
        return {} if names == list(classes.ids) else {"label_words.csv": words_csv(classes)}
    pairs = list(zip(classes.ids, names, strict=True))
    lines = [class_id if class_id == name else f"{class_id}\t{name}" for class_id, name in pairs]
    if any(_INDEX_LINE.fullmatch(line) for line in lines):  # they would be read as numbered lines
        lines = [f"{number}\t{line}" for number, line in enumerate(lines)]
    text = "".join(f"{line}\n" for line in lines)
    if _ids_in(text) == classes.ids:
        return {CLASSES_TXT: text}
    return {CLASSES_JSON: json.dumps({str(number): pair for number, pair in enumerate(pairs)}) + "\n"}


def _ids_in(text: str) -> tuple[str, ...] | None:
    """The ids that a text names; they differ from the written ones if those contain TABs, or begin or end with a
    space."""
    try:
        return parse(text, CLASSES_TXT, CLASSES_TXT).ids
    except TenchError:
        return None


def words_csv(classes: Classes) -> str:
    """The text of a `label_words.csv`: number and name of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows(enumerate(" ".join(name.split()) for name in classes.names))
    return text.getvalue()


def _entries(text: str, where: str, name: str) -> list[tuple[str, str]]:
    """(id, words) of each class in number order; words are "" if there are none."""
    if name.endswith(".json"):
        return _json_entries(text, where)
    return _csv_entries(text, where) if name.endswith(".csv") else _line_entries(text, where)


def _line_entries(text: str, where: str) -> list[tuple[str, str]]:
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if "" in lines:
        raise TenchError(f"{where}, line {lines.index('') + 1} is empty, but each line is a class, in order.")
    indexed = [match for line in lines if (match := _INDEX_LINE.fullmatch(line))]
    if len(indexed) == len(lines) and any(match[2] for match in indexed):
        for place, match in enumerate(indexed):
            if int(match[1]) != place:
                raise TenchError(
                    f"{where}, line {place + 1} has the number {match[1]}, but its position is {place}. Sort the "
                    "lines by their numbers, from 0, or remove the numbers."
                )
        lines = [match[2] or match[1] for match in indexed]
    wordnet = [match for line in lines if (match := _WNID_LINE.fullmatch(line))]
    if len(wordnet) == len(lines):
        return [(match[1], match[2] or "") for match in wordnet]
    split = [line.partition("\t") for line in lines]
    return [(class_id.strip(), words.strip()) for class_id, _, words in split]


def _csv_entries(text: str, where: str) -> list[tuple[str, str]]:
    try:
        rows = [row for row in csv.reader(text.split("\n")) if row]
    except csv.Error:
        rows = [[]]
    pairs = [(row[0].strip(), row[1].strip()) for row in rows if len(row) == 2]
    if len(pairs) < len(rows) or [pair[0] for pair in pairs] != [str(number) for number in range(len(pairs))]:
        raise TenchError(f"{where} must have lines `index,class` with indices 0, 1, 2, ... Correct or remove it.")
    return [(words, "") for _, words in pairs]


def _json_entries(text: str, where: str) -> list[tuple[str, str]]:
    try:
        found = json.loads(text, object_pairs_hook=distinct)
        entries = [found[str(number)] for number in range(len(found))]
        if all(isinstance(entry, str) for entry in entries):
            return [(entry, "") for entry in entries]
        if any(isinstance(entry, str) for entry in entries):
            raise ValueError("text and lists are mixed")
        return [(str(class_id), str(words)) for class_id, words in entries]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TenchError(
            f'{where} must be JSON such as {{"0": "tench", "1": "goldfish"}} with numbers from 0 upwards. '
            "Correct or remove it."
        ) from None


def _contradiction(one: ClassFile, other: ClassFile) -> int | None:
    """The first class for which two files have different words, if more than half of the words differ."""
    differ = [
        number for number, (a, b) in enumerate(zip(one.names, other.names, strict=False)) if _plain(a) != _plain(b)
    ]
    return differ[0] if 2 * len(differ) > min(len(one), len(other)) else None


def _plain(names: str) -> str:
    return names.partition(",")[0].replace("_", " ").strip().lower()
