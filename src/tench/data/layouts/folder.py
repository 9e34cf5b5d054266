"""Folders of images: `train/CLASS/*.jpg` next to `val/CLASS/*.jpg`, class folders without splits, and variations.

`evidence.classes` decides which folders are splits and which are classes, on disk and in archives, and notes report
the decision. If it is unclear, an error asks the user to choose with --classes-at, --split-from, --label-from, --images
or --exclude. Classes are sorted by code point, as in torchvision's ImageFolder, unless a `classes.txt` in the form that
tench writes lists exactly these classes. A class folder may contain subfolders of images. A split other than train
without class folders has no labels. The layout of Tiny-ImageNet is read too: a flat `val/images/` with labels in
`val_annotations.txt` and names in `words.txt`.
"""

import contextlib
import dataclasses
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence, Set

from tench.data.evidence import classes as evidence
from tench.data.evidence import label_names
from tench.data.evidence.classes import PART, STORAGE, Place
from tench.data.evidence.folders import Folder, folders_of, outline_of, summary
from tench.data.evidence.kinds import is_noted
from tench.data.files.tree import Tree
from tench.data.formats.class_files import CLASSES_JSON, CLASSES_TXT, parse
from tench.data.formats.wordnet import names_of
from tench.data.keys import keys_of
from tench.data.options import pattern_of
from tench.data.splits import PLAIN_NAMES, SPLITS, TRAIN, split_of, splits_in, words_of
from tench.data.table import Classes, Contents, LeftOut, Rows
from tench.errors import TenchError, UsageError, counted, some

NAME = "folder"
OPTIONS = frozenset({"classes_at", "split_from", "label_from", "images", "label"})

_ANNOTATIONS = "val_annotations.txt"
_WORDS = "words.txt"
_LABEL_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".xls", ".mat", ".parquet", ".txt", ".xml", ".lst")
_NO_LABELS = re.compile(r"(?i)(readme|licen[cs]e|changelog|citation|copyright|requirements|notice|attribution)")
_FEW_FILES = 3
_PROGRAMS = frozenset(
    "ipynb cache caches thumb thumbs thumbnail thumbnails preview previews trash trashes tmp temp backup git svn hg "
    "dvc picasaoriginals picasa originals apple spotlight recycle bin venv idea vscode old deleted hidden".split()
)
"""Words in the names of hidden folders that programs create, or that people use to set files aside."""
_SHOWN_FOLDERS = 6
_MAX_CLASS_LIST_BYTES = 2**20


@dataclasses.dataclass(frozen=True, slots=True)
class _Labelled:
    """A place with its class (None: no label) and the folder names between the class folder and the images."""

    place: Place
    class_id: str | None
    rest: tuple[str, ...]

    @property
    def class_depth(self) -> int:
        """The depth of the class folder below the source, from 1."""
        return self.place.depth_of_part(len(self.place.parts) - len(self.rest) - 1)

    @property
    def class_path(self) -> str:
        return "/".join(name for name, _ in self.place.steps[: self.class_depth])


def recognise(tree: Tree) -> bool:
    return tree.source.is_dir() or not (len(tree) == 1 and tree.root / tree.names[0] == tree.source)


def read(tree: Tree) -> Contents:
    """The table of a folder. Raises TenchError, with what was found, if it is unclear which folders are the classes."""
    options = tree.options
    if not tree.source.is_dir() and tree.root == tree.source and len(top := tree.top()) == 1 and top[0].endswith("/"):
        tree = tree.under(top[0][:-1])  # the folder that an archive contains, as if it were unpacked
    if options.images is not None:
        tree = _below(tree, options.images)
    return _read(tree)


def _read(tree: Tree) -> Contents:
    options = tree.options
    root = folders_of(tree)
    outline = outline_of(root, tree.names)
    class_at = _ClassAt.parsed(options.classes_at) if options.classes_at is not None else None
    left_out = evidence.leave_out_masks(tree, root, class_at.depth if class_at else 0)
    if not root.num_images:
        raise _no_images(tree)
    is_told = any(option is not None for option in (options.classes_at, options.split_from, options.label_from))
    places, dropped = evidence.places_of(tree, root, ask=not is_told)
    left_out += dropped
    if options.split_from is not None:
        places = _told_splits(tree, places, options.split_from)
    if class_at is not None:
        places = [class_at.marked(place) for place in places]
    by_split, dropped, notes = _by_split(tree, places)
    left_out += dropped
    if options.label_from is not None:
        contents, class_paths = _by_file_names(tree, by_split, options.label_from), set[str]()
    else:
        try:
            contents, class_paths = _by_folders(tree, root, by_split, class_at)
        except TenchError:  # perhaps because some classes are hidden folders
            folders = {place.folder.path for places in by_split.values() for place in places}
            if not (hidden := _hidden_classes(tree, folders)):
                raise
            return _with_hidden(tree, hidden)
        if hidden := _hidden_classes(tree, class_paths):
            return _with_hidden(tree, hidden)
    left_out += contents.left_out
    label_files, others = _other_files(tree, root, class_paths, contents.classes)
    if list(by_split) == [TRAIN] and not is_told:
        _refuse_unread_splits(tree, root, label_files)
    left_out += others
    notes += contents.notes
    return dataclasses.replace(
        contents, stamp=list(tree.stamp), notes=notes, outline=outline, left_out=evidence.merged(left_out)
    )


def _with_hidden(tree: Tree, hidden: Sequence[str]) -> Contents:
    found = _read(tree.revealed(hidden))
    note = f"Hidden folders that contain images next to the class folders are classes too: {some(hidden)}."
    return dataclasses.replace(found, notes=[*found.notes, note])


def _below(tree: Tree, folder: str) -> Tree:
    path = folder.strip("/").removeprefix("./")
    if not tree.span(path):
        known = some(tree.children(""))
        raise UsageError(f"{tree.root} has no folder {folder!r} for --images. Its folders: {known or 'none'}.")
    return tree.under(path)


# Splits.


def _by_split(tree: Tree, places: Sequence[Place]) -> tuple[dict[str, list[Place]], list[LeftOut], list[str]]:
    """The places of each split, train first; the files that are left out because they are in no split; and notes."""
    by_split: dict[str, list[Place]] = {split: [] for split in SPLITS}
    silent = [place for place in places if place.split is None]
    if len(silent) == len(places):
        note = "No folder is named like a split, so all images are train."
        return {TRAIN: silent}, [], [note]
    for place in places:
        if place.split is not None:
            by_split[place.split].append(place)
    above = [place for place in silent if any(_is_above(place, other) for other in places if other.split is not None)]
    if partly := [place for place in silent if place not in above]:
        named = next(place for place in places if place.split is not None)
        raise TenchError(
            f"{tree.root}: {partly[0].folder.path} is in no split folder, but {named.folder.path} is; "
            f"{counted(sum(len(place.folder.images) for place in partly), 'image')} are affected. Leave them out with "
            "--exclude PATTERN, or name the split folders with --split-from."
        )
    left_out = [
        LeftOut("images next to split folders", len(place.folder.images), tree.names[place.folder.images[0]])
        for place in above
    ]
    return {split: members for split, members in by_split.items() if members}, left_out, _split_notes(by_split)


def _left_out(reason: str, tree: Tree, place: Place) -> LeftOut:
    return LeftOut(reason, len(place.folder.images), tree.names[place.folder.images[0]])


def _is_above(place: Place, other: Place) -> bool:
    return not place.folder.path or other.folder.path.startswith(f"{place.folder.path}/")


def _split_notes(by_split: Mapping[str, Sequence[Place]]) -> list[str]:
    """Notes on folders that are read as a split although they have another name, and on splits below the classes."""
    named: dict[str, dict[str, None]] = {}
    for split, places in by_split.items():
        for place in places:
            if place.told is None:
                name = next(name for name, meaning in reversed(place.steps) if meaning == split)
                if name.lower() not in PLAIN_NAMES:
                    named.setdefault(split, {})[name] = None
    notes = [f"Read as the split {split}: {some(list(names))}." for split, names in named.items()]
    first = next((place for places in by_split.values() for place in places), None)
    if first and first.told is None and first.parts and first.steps[-1][1] in SPLITS:
        notes.append(f"Splits are folders inside the class folders, such as {first.folder.path}.")
    return notes


def _told_splits(tree: Tree, places: Sequence[Place], said: str) -> list[Place]:
    """The places with the splits from --split-from, which is the depth of a folder or a pattern for the path."""
    if depth := re.fullmatch(r"(?:folder ?)?(\d+)", said):
        return [_split_at(tree, place, int(depth[1])) for place in places]
    pattern = pattern_of("split_from", said, "split")
    by_name = [name for name in pattern.groupindex if name in SPLITS]
    told: list[Place] = []
    depths: set[int] = set()  # of the folders that name the split and are therefore not classes
    for place in places:
        by_split: dict[str, list[int]] = {}
        for position in place.folder.images:
            name = tree.names[position]
            found = pattern.search(name)
            if by_name:
                split = next((one for one in by_name if found and found[one] is not None), TRAIN)
            else:
                split = (split_of(found[1] or "") if found else None) or ""
            if not split:
                what = f"finds {found[1]!r} in {name}, which is not a split" if found else f"does not match {name}"
                raise UsageError(
                    f"{tree.root}: --split-from {said!r} {what}. The first group must find train, val or test in every "
                    "path. Named groups work too: '(?P<val>fold5)/' makes fold5 val and the rest train."
                )
            if found:
                group = split if split in by_name else 1
                depths |= {name.count("/", 0, at) for at in range(*found.span(group)) if name.find("/", at) >= 0}
            by_split.setdefault(split, []).append(position)
        for split, positions in by_split.items():
            told.append(Place(dataclasses.replace(place.folder, images=positions), place.steps, split))
    return [
        dataclasses.replace(
            place,
            steps=tuple(
                (name, place.split or "" if at in depths else meaning) for at, (name, meaning) in enumerate(place.steps)
            ),
        )
        for place in told
    ]


def _split_at(tree: Tree, place: Place, depth: int) -> Place:
    name = place.steps[depth - 1][0] if 0 < depth <= len(place.steps) else None
    split = split_of(name) if name is not None else None
    if split is None:
        there = f"is {name}, which is not a split name" if name else "does not exist"
        raise UsageError(
            f"{tree.root}: --split-from {depth}: folder {depth} of {tree.names[place.folder.images[0]]} {there}. Split "
            "folders are called train, val or test, or similar. For other names, pass a pattern: '(?P<val>fold5)/' "
            "makes fold5 val and the rest train."
        )
    steps = [(name, STORAGE if meaning in SPLITS else meaning) for name, meaning in place.steps]
    steps[depth - 1] = (steps[depth - 1][0], split)
    return Place(place.folder, tuple(steps), split)


# Classes by folders.


def _by_folders(
    tree: Tree, root: Folder, by_split: Mapping[str, Sequence[Place]], class_at: "_ClassAt | None"
) -> tuple[Contents, set[str]]:
    """The table with the classes of the first split's folders, and the paths of the class folders."""
    defining = next(iter(by_split))
    if defining != TRAIN and (annotations := _annotations(tree, by_split[defining], defining)):
        folder = annotations.rpartition("/")[0]
        raise TenchError(f"{tree.root} has {folder} but no folder train, which would define the classes.")
    if class_at is not None:
        labelled, left_out = class_at.applied(tree, by_split[defining], True)
        notes = [f"Classes are the folders at --classes-at {tree.options.classes_at}."]
    else:
        others = [place for split, places in by_split.items() if split != defining for place in places]
        labelled, left_out, notes = _evident(tree, by_split[defining], others)
    parents = _class_parents(root, labelled)
    ids = {one.class_id for one in labelled if one.class_id is not None}
    if len(ids) < 2:
        raise _no_classes(tree, by_split[defining], next(iter(ids), None))
    empty = {name for folder in parents for name, child in folder.children.items() if _is_empty(child)} - ids
    classes, unused = _with_empty(tree, ids, empty, parents, by_split)
    if unused:
        are = "class folder has no images and is" if len(unused) == 1 else "class folders have no images and are"
        notes.append(f"{len(unused):,} {are} left out: {some(unused)}.")
    groups = {defining: labelled}
    annotated: dict[str, Rows] = {}
    for split, places in by_split.items():
        if split == defining:
            continue
        if annotations := _annotations(tree, places, split):
            annotated[split] = _annotated_rows(tree, places, annotations, classes)
        elif class_at is not None:
            groups[split], dropped = class_at.applied(tree, places, False)
            left_out += dropped
            _refuse_unknown(tree, groups[split], classes, defining)
        else:
            groups[split] = _of_split(tree, split, places, classes, defining)
    splits = {}
    for split in by_split:
        if split in annotated:
            splits[split] = annotated[split]
            continue
        splits[split] = _rows(tree, groups[split], classes)
        if all(one.class_id is None for one in groups[split]):
            notes.append(f"{split} has no class folders, so its images have no labels.")
        elif lacking := sorted(set(classes.ids) - {one.class_id for one in groups[split] if one.class_id}):
            notes.append(f"{split} has no images of {counted(len(lacking), 'class')}: {some(lacking)}.")
    notes += _empty_splits(root, by_split)
    class_paths = {one.class_path for group in groups.values() for one in group if one.class_id is not None}
    return Contents(classes, splits, stamp=(), notes=notes, left_out=left_out), class_paths


def _evident(
    tree: Tree, places: Sequence[Place], others: Sequence[Place]
) -> tuple[list[_Labelled], list[LeftOut], list[str]]:
    """The places of the split that defines the classes, each with its class according to the evidence."""
    found, left_out, notes = evidence.class_parts(tree, places, others)
    labelled = [_Labelled(places[at], name, places[at].parts[cut:]) for at, (name, cut) in found.items()]
    if labelled and (above := _folders_above(labelled[0])):
        notes = [f"Classes are the folders in {above}.", *notes]
    return labelled, left_out, notes


def _folders_above(one: _Labelled) -> str:
    """The path above a class folder, if it is more than a split folder."""
    steps = one.place.steps[: one.class_depth - 1]
    is_plain = not steps or (len(steps) == 1 and steps[0][1] in SPLITS) or one.place.below_letter
    return "" if is_plain else "/".join(name for name, _ in steps)


def _hidden_classes(tree: Tree, class_paths: Iterable[str]) -> list[str]:
    """The hidden folders with images next to class folders, such as `.net`, except those that programs create."""
    parents = {path.rpartition("/")[0] for path in class_paths}
    return [
        path
        for path in sorted(tree.hidden)
        if path.rpartition("/")[0] in parents and _PROGRAMS.isdisjoint(words_of(path.rpartition("/")[2]))
    ]


def _is_empty(folder: Folder) -> bool:
    """Whether an empty folder may be a class whose images are missing."""
    name = folder.name
    return not (folder.num_images or folder.num_others or evidence.is_storage(name) or split_of(name))


def _class_parents(root: Folder, labelled: Iterable[_Labelled]) -> list[Folder]:
    """The folders directly above the class folders."""
    found = []
    for path in dict.fromkeys(one.class_path.rpartition("/")[0] for one in labelled if not one.place.below_letter):
        folder = root
        for name in path.split("/") if path else ():
            folder = folder.children[name]
        found.append(folder)
    return found


def _of_split(tree: Tree, split: str, places: Sequence[Place], classes: Classes, defining: str) -> list[_Labelled]:
    """The places of a split, labelled with the classes of the defining split; unlabelled if it has no class folders."""
    known = set(classes.ids)
    if all(place.below_letter for place in places):
        labelled = [_Labelled(place, place.path_below_letter, ()) for place in places]
        _refuse_unknown(tree, labelled, classes, defining)
        return labelled
    lead = 0
    while True:
        heads = {place.parts[lead] for place in places if len(place.parts) > lead}
        is_flat = any(len(place.parts) <= lead for place in places)
        if len(heads) != 1 or heads & known or is_flat:
            break
        lead += 1
    if not heads:
        return [_Labelled(place, None, place.parts[lead:]) for place in places]
    if beside := [place.folder for place in places if len(place.parts) <= lead]:
        raise evidence.direct_images(tree, beside[0], sum(len(folder.images) for folder in beside))
    labelled = [_Labelled(place, place.parts[lead], place.parts[lead + 1 :]) for place in places]
    _refuse_unknown(tree, labelled, classes, defining)
    return labelled


def _refuse_unknown(tree: Tree, labelled: Iterable[_Labelled], classes: Classes, defining: str) -> None:
    known, found = set(classes.ids), {one.class_id: one.place for one in labelled if one.class_id is not None}
    if unknown := sorted(found.keys() - known):
        first = found[unknown[0]]
        raise TenchError(
            f"{tree.root}: {len(unknown)} of the {len(found)} class folders of {first.split} are not in {defining}: "
            f"{some([repr(name) for name in unknown])} (in {first.folder.path}). Every class must be in {defining}. "
            f"Rename the folders, or leave them out, for example with {evidence.exclusion(tree, first.folder.path)}."
        )


def _empty_splits(root: Folder, by_split: Mapping[str, Sequence[Place]]) -> list[str]:
    """Notes on folders that are named like a split but contain no images."""
    notes = []
    for folder in root.walk():
        for name, child in folder.children.items():
            split = split_of(name)
            if split and split not in by_split and not child.num_images and folder.num_images:
                notes.append(f"{child.path} contains no images, so there is no split {split}.")
        if folder.path.count("/") > 1:
            break
    return notes


@dataclasses.dataclass(frozen=True, slots=True)
class _ClassAt:
    """The class folders that --classes-at selects: those at a depth, or those in place of CLASS in a pattern."""

    said: str
    depth: int
    pattern: tuple[str, ...] = ()

    @classmethod
    def parsed(cls, said: str) -> "_ClassAt":
        if said.strip().isdecimal() and int(said) > 0:
            return cls(said, int(said))
        parts = tuple(said.strip("/").split("/"))
        if "CLASS" not in parts:
            raise UsageError(
                "--classes-at must be the depth of the class folders (1: directly in the source) or a pattern with "
                f"CLASS in place of the class folder, such as '*/images/CLASS', got {said!r}."
            )
        return cls(said, len(parts), parts)

    def marked(self, place: Place) -> Place:
        """The place with its class folders as parts, whatever their names."""
        at = self._classes(place)
        steps = [(name, PART if index in at else meaning) for index, (name, meaning) in enumerate(place.steps)]
        return dataclasses.replace(place, steps=tuple(steps))

    def applied(self, tree: Tree, places: Sequence[Place], is_defining: bool) -> tuple[list[_Labelled], list[LeftOut]]:
        """The marked places of a split with their classes, and the files that are elsewhere.

        A split without such folders has no labels. Raises UsageError if that split defines the classes.
        """
        labelled, outside = [], []
        for place in places:
            if not (at := self._classes(place)):
                outside.append(place)
                continue
            names = [name for name, _ in place.steps]
            rest = tuple(name for name, meaning in place.steps[at[-1] + 1 :] if meaning == PART)
            labelled.append(_Labelled(place, "/".join(names[index] for index in at), rest))
        if not labelled and not is_defining:
            return [_Labelled(place, None, place.parts) for place in places], []
        if not labelled:
            raise UsageError(
                f"{tree.root}: --classes-at {self.said} selects no folder that contains images. The first image is "
                f"{tree.names[places[0].folder.images[0]]}."
            )
        why = f"images outside the folders of --classes-at {self.said}"
        return labelled, [_left_out(why, tree, place) for place in outside]

    def _classes(self, place: Place) -> list[int]:
        """The indices of the folders on the way to a place that form its class; empty if it is in no class folder."""
        names = [name for name, _ in place.steps]
        if len(names) < self.depth:
            return []
        if not self.pattern:
            return [self.depth - 1]
        pairs = zip(self.pattern, names, strict=False)
        if not all(part == "CLASS" or fnmatch.fnmatchcase(name, part) for part, name in pairs):
            return []
        return [index for index, part in enumerate(self.pattern) if part == "CLASS"]


# Classes by file names.


def _by_file_names(tree: Tree, by_split: Mapping[str, Sequence[Place]], said: str) -> Contents:
    """The table, without stamp and outline, with the classes that --label-from finds in file names."""
    pattern = pattern_of("label_from", said, "class")
    found: dict[str, tuple[list[int], list[str | None]]] = {}
    for split, places in by_split.items():
        positions = [position for place in places for position in place.folder.images]
        labels = [label_names.label_of(pattern, tree.names[position].rpartition("/")[2]) for position in positions]
        found[split] = positions, labels
    defining = next(iter(found))
    notes = [f"Classes are read from file names, by --label-from '{said}'."]
    for split, (positions, labels) in found.items():
        if split != defining and not any(labels):
            notes.append(f"{split} has no labels, because --label-from matches none of its file names.")
        elif None in labels:
            raise UsageError(
                f"{tree.root}: --label-from '{said}' does not match {labels.count(None):,} of the {len(labels):,} file "
                f"names of {split}, such as {tree.names[positions[labels.index(None)]]}. Change the pattern, or leave "
                "these files out with --exclude."
            )
    ids = sorted({str(label) for label in found[defining][1]})
    if len(ids) < 2:
        raise UsageError(
            f"{tree.root}: --label-from '{said}' finds the same class {ids[0]!r} in all {len(found[defining][1]):,} "
            "file names. A classifier needs at least two classes. Change the pattern."
        )
    index = {name: label for label, name in enumerate(ids)}
    for split, (_, labels) in found.items():
        if unknown := sorted({label for label in labels if label is not None} - index.keys()):
            raise TenchError(
                f"{tree.root}: --label-from '{said}' finds {counted(len(unknown), 'class')} in {split} that {defining} "
                f"does not have: {some(unknown)}. Every class must be in {defining}."
            )
    splits = {}
    for split, (positions, labels) in found.items():
        keys = keys_of([tree.names[position] for position in positions], labels)
        splits[split] = tree.rows(positions, [-1 if label is None else index[label] for label in labels], keys)
    return Contents(Classes.of(ids, names_of(ids)), splits, stamp=(), notes=notes)


# Rows.


def _rows(tree: Tree, labelled: Sequence[_Labelled], classes: Classes) -> Rows:
    index = {name: label for label, name in enumerate(classes.ids)}
    positions: list[int] = []
    labels: list[int] = []
    keys: list[str] = []
    starts: list[str] = []
    for one in labelled:
        images, cut = one.place.folder.images, len(one.place.folder.path) + 1 if one.place.folder.path else 0
        start = "".join(f"{name}/" for name in (one.class_id, *one.rest) if name is not None)
        starts.append(start)
        positions += images
        labels += [-1 if one.class_id is None else index[one.class_id]] * len(images)
        keys += [start + tree.names[position][cut:] for position in images]
    if len(set(starts)) < len(starts) and len(set(keys)) < len(keys):  # a class has folders in several places
        keys = [tree.names[position] for position in positions]
    return tree.rows(positions, labels, keys)


def _annotations(tree: Tree, places: Sequence[Place], split: str) -> str | None:
    """The val_annotations.txt of a split, as in Tiny-ImageNet."""
    for place in places:
        names = [name for name, _ in place.steps]
        for at, (_, meaning) in enumerate(place.steps):
            if meaning == split and (path := "/".join((*names[: at + 1], _ANNOTATIONS))) in tree:
                return path
    return None


def _annotated_rows(tree: Tree, places: Sequence[Place], annotations: str, classes: Classes) -> Rows:
    """Rows of Tiny-ImageNet's val: `val_annotations.txt` has `file<TAB>wnid<TAB>box` lines."""
    index = {name: label for label, name in enumerate(classes.ids)}
    where = tree.place(annotations)
    line_of: dict[str, tuple[int, str]] = {}  # by file name: the line's number and its class
    for number, line in enumerate(tree.text(annotations).splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in index:
            there = repr(fields[1]) if len(fields) > 1 else "no second column"
            raise TenchError(
                f"{where}, line {number}: the second column should be one of the {len(classes)} classes of "
                f"train, found {there}."
            )
        first, wnid = line_of.setdefault(fields[0], (number, fields[1]))
        if wnid != fields[1]:
            raise TenchError(
                f"{where}, line {number}: {fields[0]} has class {fields[1]!r}, but {wnid!r} in line {first}."
            )
    positions = [position for place in places for position in place.folder.images]
    names = [tree.names[position].rpartition("/")[2] for position in positions]
    for position, name in zip(positions, names, strict=True):
        if name not in line_of:
            raise TenchError(f"{tree.place(tree.names[position])} has no line in {where}, so its class is unknown.")
    if missing := line_of.keys() - set(names):
        number, name = min((line_of[name][0], name) for name in missing)
        raise TenchError(
            f"{where}, line {number}: there is no image {name}; {len(missing)} of the {len(line_of)} images that the "
            "file names are missing. The archive may not be fully unpacked."
        )
    wnids = [line_of[name][1] for name in names]
    keys = [f"{wnid}/{name}" for wnid, name in zip(wnids, names, strict=True)]
    return tree.rows(positions, [index[wnid] for wnid in wnids], keys)


# Names of classes, and files that are not images.


def _with_empty(
    tree: Tree, ids: Set[str], empty: Set[str], parents: Sequence[Folder], by_split: Mapping[str, Sequence[Place]]
) -> tuple[Classes, list[str]]:
    """The classes, and the empty class folders that are not among them, sorted.

    ids: the classes that have images. empty: the empty folders next to theirs. These are classes only if another split
    has images of them, or if a class list names all of them.
    """
    elsewhere = {part for places in by_split.values() for place in places for part in place.parts}
    used = ids | (empty & elsewhere)
    if empty - used and (listed := _class_list(tree, sorted(ids | empty), parents)):
        return listed, []
    return _named_classes(tree, sorted(used), parents), sorted(empty - used)


def _named_classes(tree: Tree, ids: Sequence[str], parents: Sequence[Folder]) -> Classes:
    """The classes, with order and names from a file next to or above their folders if there is one."""
    if in_order := _class_list(tree, ids, parents):
        return in_order
    words: dict[str, str] = {}
    for place in _places_of_lists(parents):
        words |= _words(tree, place + _WORDS)
    return Classes.of(ids, [words.get(one, name) for one, name in zip(ids, names_of(ids), strict=True)])


def _class_list(tree: Tree, ids: Sequence[str], parents: Sequence[Folder]) -> Classes | None:
    """The classes in the order of the first list next to or above their folders that has exactly these; else None."""
    names = (place + name for place in _places_of_lists(parents) for name in (CLASSES_TXT, CLASSES_JSON))
    return next((found for name in names if (found := _listed_classes(tree, name, ids))), None)


def _places_of_lists(parents: Sequence[Folder]) -> list[str]:
    """The folders that contain class folders and all folders above, each with a "/" at the end; "" is the root."""
    places = {""}
    for folder in parents:
        parts = folder.path.split("/")
        places |= {"/".join(parts[:depth]) + "/" for depth in range(1, len(parts) + 1) if folder.path}
    return sorted(places)


def _listed_classes(tree: Tree, name: str, ids: Sequence[str]) -> Classes | None:
    """The classes of a file that lists exactly these ids; None for another file of that name, which may contain
    anything."""
    if name in tree:
        text = tree.text(name, "a class list", tree.limits.classes_bytes)
        with contextlib.suppress(TenchError):
            named = parse(text, tree.place(name), name.rpartition("/")[2])
            if set(named.ids or ()) == set(ids):
                return named.classes
    return None


def _words(tree: Tree, name: str) -> dict[str, str]:
    """Names by WordNet id from a words.txt (`wnid<TAB>names`), empty if there is none."""
    if name not in tree:
        return {}
    text = tree.text(name, "a list of words", tree.limits.classes_bytes)
    pairs = (line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    return {wnid.strip(): names.strip() for wnid, names in pairs}


def _is_label_file(name: str) -> bool:
    """Whether a file may contain labels, by its name."""
    base = name.rpartition("/")[2]
    return (
        base.lower().endswith(_LABEL_SUFFIXES)
        and not _NO_LABELS.match(base)
        and base not in (_WORDS, _ANNOTATIONS, CLASSES_TXT, CLASSES_JSON)
    )


def _label_files(tree: Tree, root: Folder) -> list[str]:
    """All files that may contain labels. Many files of one kind in a folder are one entry."""
    found = []
    for folder in root.walk():
        by_suffix: dict[str, list[str]] = {}
        for name in map(tree.names.__getitem__, folder.others):
            if _is_label_file(name):
                by_suffix.setdefault(name.rpartition(".")[2].lower(), []).append(name)
        for suffix, names in by_suffix.items():
            start = f"{folder.path}/" if folder.path else ""
            found += names if len(names) <= _FEW_FILES else [f"{start}*.{suffix} ({len(names):,} files)"]
    return found


def _other_files(
    tree: Tree, root: Folder, class_paths: Iterable[str], classes: Classes
) -> tuple[list[str], list[LeftOut]]:
    """The files that may contain labels, outside the class folders; and all files left out because they are not
    images."""
    paths = set(class_paths)
    within: list[str] = []
    labels: list[str] = []
    for folder in root.walk():
        if not folder.others:
            continue
        names = [tree.names[position] for position in folder.others]
        if paths.isdisjoint((folder.path, *(folder.path[:cut] for cut in _slashes(folder.path)))):
            labels += [name for name in names if _is_label_file(name) and not _is_class_list(tree, name, classes)]
        else:
            within += [name for name in names if not is_noted(name)]
    left_out = []
    if labels:
        left_out.append(LeftOut("files that may contain labels and were not read", len(labels), labels[0]))
    if within:
        left_out.append(LeftOut("files that are not images, by their suffix", len(within), within[0]))
    return labels, left_out


def _refuse_unread_splits(tree: Tree, root: Folder, label_files: Sequence[str]) -> None:
    """Raise TenchError if unread files such as train.txt and test.txt seem to define the splits."""
    naming = {name: splits_in(name.rpartition("/")[2].partition(".")[0]) for name in label_files}
    naming = {name: splits for name, splits in naming.items() if splits}
    if len(frozenset().union(*naming.values())) > 1:
        without_images = {folder.path for folder in root.walk() if not folder.num_images}
        folders = {name: name.rpartition("/")[0] for name in naming}
        outer = dict.fromkeys(folder if folder in without_images else name for name, folder in folders.items())
        exclude = " ".join(evidence.exclusion(tree, name) for name in outer)
        raise TenchError(
            f"{tree.root}: the folders contain classes and no splits. {some(list(naming), 3)} may define the splits, "
            f"but {'was' if len(naming) == 1 else 'were'} not read. To read all images as train: {exclude}"
        )


def _slashes(path: str) -> list[int]:
    return [at for at, sign in enumerate(path) if sign == "/"]


def _is_class_list(tree: Tree, name: str, classes: Classes) -> bool:
    """Whether every line of a small text file begins with a class, as in wnids.txt."""
    if not name.endswith(".txt") or tree.length[tree.index(name)] > _MAX_CLASS_LIST_BYTES:
        return False
    with tree.open(name) as file:
        lines = file.read().decode("utf-8", "replace").splitlines()
    ids = set(classes.ids)
    return bool(lines) and all(line in ids or re.split(r"[\t ,]", line, maxsplit=1)[0] in ids for line in lines)


# Errors.


def _no_images(tree: Tree) -> TenchError:
    text = f"{tree.root} contains no images. Expected a folder of class folders with images in them."
    return TenchError(text, *_found(tree))


def _no_classes(tree: Tree, places: Sequence[Place], only: str | None) -> TenchError:
    """The error for images that are not in class folders."""
    positions = [position for place in places for position in place.folder.images]
    first = tree.names[positions[0]]
    folder, _, base = first.rpartition("/")
    if len(places) == 1 and not folder:
        text = (
            f"{tree.root}: {evidence.are(len(positions))} directly in this folder, such as {base}. Their class is "
            "unknown. Put each image into a folder named after its class, or add a CSV file of file names and labels."
        )
    else:
        where = f"the folder {folder}" if len(places) == 1 else f"{len(places)} folders that name no class"
        one = f", the class {only!r}" if only else ""
        all_are = f"{'' if len(positions) == 1 else 'all '}{evidence.are(len(positions))}"
        text = (
            f"{tree.root}: {all_are} in {where}{one}. A classifier needs at least two classes. Put the images of each "
            "class into a separate folder, or add a CSV file of file names and labels."
        )
    names = [tree.names[position].rpartition("/")[2] for position in positions]
    hint = []
    if suggested := label_names.suggestion(names):
        pattern, labels = suggested
        shown = some([f"{label} ({count:,})" for label, count in labels.most_common()], 4)
        hint = [f"If the file names contain the class (found: {shown}): --label-from '{pattern}'"]
    return TenchError(text, *hint, *_found(tree), "To classify them with a trained model: tench predict RUN FOLDER.")


def _found(tree: Tree) -> list[str]:
    """The contents as lines for an error: the folders with counts and an example, and files that may contain labels."""
    root = folders_of(tree)  # includes files that were left out
    folders = [folder for folder in root.walk() if folder.images or folder.others]
    lines = [f"  {folder.path or '.'}/  {summary(folder, tree.names)}" for folder in folders[:_SHOWN_FOLDERS]]
    if len(folders) > _SHOWN_FOLDERS:
        lines.append(f"  ... {len(folders) - _SHOWN_FOLDERS:,} more folders")
    if lines:
        lines.insert(0, "Found:")
    if labels := _label_files(tree, root):
        lines.append(f"Files that may contain labels and were not read: {some(labels)}")
    return lines
