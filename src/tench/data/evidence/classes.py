"""Decide what the folders of a source mean: splits, classes, storage, or nothing to train on.

Folders are judged by their contents and names, level by level from the top:

- masks, annotations and second copies of the sibling folders are left out, because they have no images of their own
- a folder that names a split sets the split of everything below it, above the classes or below them (`CLASS/train`)
- a folder called images, or named like the one above it, is storage; so are pieces (`images_001`, `images_002`)
- letters above folders that begin with them (`a/abbey`) are an index; the class is the path below the letter
- the outermost remaining folders that differ are the classes, unless most of them contain only folders: if those
  share their names (`art/dog`, `sketch/dog`) or may be classes themselves, an error asks the user to choose

Only names and counts are used; bytes are compared only for a bounded sample, to detect a copy. The rules expect English
names; with others the user is asked more often.
"""

import dataclasses
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from tench.data.evidence.folders import Folder
from tench.data.files.tree import Tree
from tench.data.splits import SPLITS, TRAIN, VAL, is_union, split_of, trainval_repeats_val, words_of
from tench.data.table import LeftOut
from tench.errors import TenchError, counted, some

PART, STORAGE, LETTER = "part", "storage", "letter"
"""The meanings of a folder besides a split. A part may be a class."""

_STORAGE_WORDS = frozenset(
    "image images img imgs jpg jpeg jpegs png pngs bmp tif ppm photo photos picture pictures pic pics data dataset "
    "datasets raw original originals rgb".split()
)
_PIECE_WORDS = frozenset("part parts piece batch chunk disc disk volume vol archive zip image images img imgs".split())
_MASK_WORDS = frozenset(
    "mask masks annotation annotations trimap trimaps groundtruth segmentation segmentations bbox bboxes".split()
)
_WEAK_MASK_WORDS = frozenset("gt label labels seg annots annot".split())
"""Words in the names of both masks and classes. They mean masks only if the files next to them have the same names."""
_MASK_PHRASES = (("ground", "truth"), ("segmentation", "class"), ("segmentation", "object"))
_MASK_FILE = re.compile(
    r"(?i)[ _.-](?:masks?|gt|ground_?truth|seg|segm|segmentation|trimap|annotation|annotated|label)(?:[ _-]?\d{1,2})?$"
)
_MASK_SIGNS = ("mask", "_gt", "-gt", ".gt", " gt", "truth", "_seg", "-seg", ".seg", " seg", "trimap", "annot", "label")
_FOLD_WORDS = frozenset("fold folds phase stage cv session split group set round".split())


_MAX_COMPARED = 2_000
"""Files of a folder whose names and sizes are compared to detect a copy."""
_MAX_READ = 8
"""Pairs of files whose bytes are compared."""
_LARGEST = 3
_FEW = 0.1
"""Images above the class folders are left out up to this share of all; more are refused."""
_MOST = 0.8


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A folder that contains images itself. steps: the name and the meaning of each folder on the way to it.

    told: the split that the user named.
    """

    folder: Folder
    steps: tuple[tuple[str, str], ...]
    told: str | None = None

    @property
    def split(self) -> str | None:
        """The split given by the user, else by the nearest folder on the way."""
        return self.told or next((meaning for _, meaning in reversed(self.steps) if meaning in SPLITS), None)

    @property
    def parts(self) -> tuple[str, ...]:
        """The folder names that may be the class, outermost first."""
        return tuple(name for name, meaning in self.steps if meaning == PART)

    @property
    def below_letter(self) -> bool:
        return any(meaning == LETTER for _, meaning in self.steps)

    @property
    def path_below_letter(self) -> str:
        last = max(at for at, (_, meaning) in enumerate(self.steps) if meaning == LETTER)
        return "/".join(name for name, meaning in self.steps[last + 1 :] if meaning == PART)

    def depth_of_part(self, index: int) -> int:
        """The depth of a part below the source, from 1."""
        return [depth for depth, (_, meaning) in enumerate(self.steps, start=1) if meaning == PART][index]


def without_digits(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def is_storage(name: str) -> bool:
    """Whether a name only says "images", in some form."""
    words = words_of(name)
    return bool(words) and "." not in name and all(word in _STORAGE_WORDS for word in words)


def exclusion(tree: Tree, path: str) -> str:
    """The option that leaves out only this file or folder."""
    above = tree.root.relative_to(tree.source).as_posix() if tree.root.is_relative_to(tree.source) else "."
    path = path if above == "." else f"{above}/{path}"
    return f"--exclude {shlex.quote(path if '/' in path else f'/{path}')}"


# What is left out.


def leave_out_masks(tree: Tree, root: Folder, depth: int = 0) -> list[LeftOut]:
    """Remove folders and files of masks and annotations from `root`, if the images they belong to are there.

    depth: folders down to this depth stay, because the user has said what they are.
    """
    left_out = []
    for folder in list(root.walk()):
        if (folder.path.count("/") + 1 if folder.path else 0) < depth:
            continue
        filled = folder.filled()
        named = {child.name: words for child in filled if (words := _mask_words(child.name))}
        beside = [child for child in filled if child.name not in named]
        for child in filled:
            words = named.get(child.name, [])
            if words and (folder.images or beside) and _holds_masks(tree, child, words, folder, beside):
                folder.remove(child.name)
                why = "masks or annotations, by the name of their folder"
                left_out.append(LeftOut(why, child.num_images, tree.names[child.first_image()]))
    return [*merged(left_out), *_leave_out_mask_files(tree, root)]


def merged(left_out: Iterable[LeftOut]) -> list[LeftOut]:
    """Entries with the same reason as one, with the first example."""
    by_reason: dict[str, LeftOut] = {}
    for entry in left_out:
        before = by_reason.get(entry.reason)
        count = entry.count + (before.count if before else 0)
        by_reason[entry.reason] = LeftOut(entry.reason, count, before.example if before else entry.example)
    return list(by_reason.values())


def _mask_words(name: str) -> list[str]:
    """The words of a folder's name that mean mask; none if it has other words too, such as with_mask."""
    words = words_of(name)
    found = [word for word in words if word in _MASK_WORDS or word in _WEAK_MASK_WORDS]
    found += [word for pair in _MASK_PHRASES if pair == tuple(words[:2]) for word in pair]
    rest = [word for word in words if word not in found and word not in _STORAGE_WORDS and split_of(word) is None]
    return [] if rest else found


def _holds_masks(tree: Tree, child: Folder, words: Sequence[str], folder: Folder, beside: Sequence[Folder]) -> bool:
    """Whether a folder with a mask name contains masks for the images in `folder` and its siblings."""
    stems = {word.rstrip("s") for word in words}
    if any(stem in other.name.lower() for other in beside for stem in stems):
        return False  # mask next to no_mask: classes
    is_weak = all(word in _WEAK_MASK_WORDS for word in words)
    return (not is_weak and _stand_for_images(folder, beside)) or _mirrors(tree, child, folder, beside)


def _stand_for_images(folder: Folder, beside: Sequence[Folder]) -> bool:
    """Whether a folder of masks has images next to it: files, or folders named train_images, images or JPEGImages."""
    return bool(folder.images) or any(
        is_storage(other.name) or split_of(other.name) is not None or "images" in words_of(other.name)
        for other in beside
    )


def _mirrors(tree: Tree, child: Folder, folder: Folder, beside: Sequence[Folder]) -> bool:
    """Whether a folder's files have the same names as those next to it, apart from words for mask."""
    positions = child.positions()[:_MAX_COMPARED]
    stems = [_stem(tree.names[position]) for position in positions[:: max(1, len(positions) // _MAX_READ)]]
    others = [position for other in beside for position in other.positions()[:_MAX_COMPARED]]
    there = {_stem(tree.names[position]) for position in (*folder.images[:_MAX_COMPARED], *others)}
    return len(stems) > 1 and all(stem in there or _MASK_FILE.sub("", stem) in there for stem in stems)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def _leave_out_mask_files(tree: Tree, root: Folder) -> list[LeftOut]:
    """Remove files such as 1_mask.png next to 1.png."""
    text = "\n".join(tree.names).lower()
    if not any(sign in text for sign in _MASK_SIGNS):  # saves 100,000 searches
        return []
    count, example = 0, ""
    for folder in root.walk():
        stems = {position: _stem(tree.names[position]) for position in folder.images}
        whole = set(stems.values())
        gone = {
            position
            for position, stem in stems.items()
            if (plain := _MASK_FILE.sub("", stem)) != stem and plain in whole
        }
        if gone:
            example = example or tree.names[min(gone)]
            count += len(gone)
            folder.images = [position for position in folder.images if position not in gone]
            above: Folder | None = folder
            while above is not None:
                above.num_images -= len(gone)
                above = above.above
    return [LeftOut("masks or annotations, by their file names", count, example)] if count else []


def leave_out_copies(tree: Tree, folder: Folder, ask: bool) -> list[LeftOut]:
    """Remove a folder that contains a second copy of the folders next to it, with the same images.

    ask: raise TenchError if the folders have the same names but other images.
    """
    names = {child.name for child in folder.filled()}
    for child in folder.filled():
        if len(child.children) < 2:
            continue
        shared = {one.name for one in child.filled()} & (names - {child.name})
        if len(shared) < max(2, _MOST * (len(names) - 1)):
            continue
        if split_of(child.name) is None and _is_copy(tree, child, folder):
            folder.remove(child.name)
            return [
                LeftOut("a second copy of the folders next to it", child.num_images, tree.names[child.first_image()])
            ]
        if ask:
            raise TenchError(
                f"{tree.root / child.path} contains folders with the same names as those next to it "
                f"({some(sorted(shared), 3)}), but not the same images. Leave one out: "
                f"{exclusion(tree, child.path)}, or pass only {tree.root / child.path}."
            )
    return []


def _is_copy(tree: Tree, copy: Folder, original: Folder) -> bool:
    """Whether every file of a folder is also in another, at the same path with the same bytes; checks a sample."""
    positions = copy.positions()
    cut, start = len(copy.path) + 1, f"{original.path}/" if original.path else ""
    pairs = []
    for position in positions[:: max(1, len(positions) // _MAX_COMPARED)]:
        name = start + tree.names[position][cut:]
        if name not in tree or tree.length[tree.index(name)] != tree.length[position]:
            return False
        pairs.append((tree.names[position], name))
    sample = pairs[:: max(1, len(pairs) // _MAX_READ)]
    return all(tree.read(one) == tree.read(other) for one, other in sample)


# What the folders on the way to the images mean.


def places_of(tree: Tree, root: Folder, ask: bool = True) -> tuple[list[Place], list[LeftOut]]:
    """The folders that contain images, with the meaning of those above them; and the files that are left out.

    ask: raise TenchError if it is not clear which folders are splits; otherwise assume the most likely meaning.
    """
    places: list[Place] = []
    left_out: list[LeftOut] = []
    todo: list[tuple[Folder, tuple[tuple[str, str], ...]]] = [(root, ())]
    while todo:
        folder, steps = todo.pop()
        if folder.images:
            places.append(Place(folder, steps))
        if not folder.children:
            continue
        left_out += leave_out_copies(tree, folder, ask)
        filled = folder.filled()
        meanings = _splits(tree, folder, filled, ask)
        if ask:
            _refuse_contradiction(tree, folder, steps, meanings)
        for child in filled if meanings else ():
            if child.name not in meanings:
                why = f"images in folders next to the split folders {some(list(meanings), 3)}"
                left_out.append(LeftOut(why, child.num_images, tree.names[child.first_image()]))
        meanings = meanings or _storage(folder, filled) or _letters(filled)
        for child in reversed(filled):
            if child.name in meanings or not any(meaning in SPLITS for meaning in meanings.values()):
                todo.append((child, (*steps, (child.name, meanings.get(child.name, PART)))))
    return places, merged(left_out)


def _splits(tree: Tree, folder: Folder, filled: Sequence[Folder], ask: bool) -> dict[str, str]:
    """The splits named by the subfolders, by folder name; empty if these are classes or anything else."""
    named = {child.name: split for child in filled if (split := split_of(child.name))}
    plain = {split for name, split in named.items() if _only_says_split(name)}
    named = {name: split for name, split in named.items() if split not in plain or _only_says_split(name)}
    rest = [child for child in filled if child.name not in named]
    if named and TRAIN not in named.values() and len(rest) == 1 and _is_train_of(rest[0].name, named):
        named[rest.pop().name] = TRAIN
    if not named or (rest and not _are_splits(tree, folder, named, rest, ask)):
        return {}
    by_split: dict[str, list[str]] = {}
    for name, split in named.items():
        by_split.setdefault(split, []).append(name)
    where, inside = tree.root / folder.path, f"{folder.path}/" if folder.path else ""
    for split, names in by_split.items() if ask else ():
        if len(set(map(without_digits, names))) > 1:
            raise TenchError(
                f"{where} has both {names[0]} and {names[1]}, and both would be the split {split!r}. Leave one "
                f"out, for example with {exclusion(tree, inside + names[1])}. If they are classes: --classes-at "
                f"{inside.count('/') + 1}."
            )
    unions = [name for name in by_split.get(TRAIN, ()) if is_union(name)]
    if ask and unions and VAL in by_split:
        raise trainval_repeats_val(where, unions[0], by_split[VAL][0], exclusion(tree, inside + unions[0]))
    return named


def _refuse_contradiction(
    tree: Tree, folder: Folder, steps: Sequence[tuple[str, str]], meanings: Mapping[str, str]
) -> None:
    """Raise TenchError for a split folder inside a folder of another split, unless train contains all splits."""
    outer = next((meaning for _, meaning in reversed(steps) if meaning in SPLITS), None)
    found = set(meanings.values())
    if outer is None or not found or found == {outer} or (outer == TRAIN and len(found) > 1):
        return
    inner = next(name for name, split in meanings.items() if split != outer)
    raise TenchError(
        f"{tree.root / folder.path} is in the split {outer}, but contains the folder {inner}, which names the split "
        f"{meanings[inner]}. Choose one with --split-from DEPTH, or leave the folder out with "
        f"{exclusion(tree, folder.children[inner].path)}."
    )


def _is_train_of(name: str, named: Iterable[str]) -> bool:
    """Whether a folder has the name of the other splits without the split word: rps next to rps-test-set."""

    def rest_of(one: str) -> list[str]:
        return [word for word in words_of(one) if not split_of(word) and word not in _STORAGE_WORDS and word != "set"]

    return bool(rest_of(name)) and all(rest_of(other) == rest_of(name) for other in named)


def _only_says_split(name: str) -> bool:
    """Whether a name is a split and nothing else: test_images, but not test-multiple_fruits or cars_test."""
    return all(split_of(word) or word in _STORAGE_WORDS or word == "set" for word in words_of(name))


def _are_splits(tree: Tree, folder: Folder, named: Mapping[str, str], rest: Sequence[Folder], ask: bool) -> bool:
    """Whether folders that are named like splits are splits, although there are others next to them."""
    train = [folder.children[name] for name, split in named.items() if split == TRAIN]
    num_rest = sum(child.num_images for child in rest)
    if any(child.filled() for child in train):
        return len(set(named.values())) > 1 or num_rest < sum(child.num_images for child in train)
    if _as_in_siblings(folder, named):
        return True
    num_splits = len(set(named.values()))
    is_class = num_splits == 1 and (len(rest) > 1 or not any(map(_only_says_split, named)))
    if is_class or len(rest) >= 3 * len(named) or not ask:
        return False
    inside = f"{folder.path}/" if folder.path else ""
    others = [child.name for child in rest]
    exclude = " ".join(exclusion(tree, inside + name) for name in others[:3])
    raise TenchError(
        f"{tree.root / folder.path}: folders named like splits ({some(list(named))}) are next to other folders "
        f"({some(others)}). If the former are splits, leave out the others: {exclude}. If all are classes: "
        f"--classes-at {inside.count('/') + 1}."
    )


def _as_in_siblings(folder: Folder, named: Mapping[str, str]) -> bool:
    """Whether the folders next to a folder contain the same split folders, as in CLASS/train, CLASS/test,
    CLASS/more."""
    if folder.above is None or len(set(named.values())) < 2:
        return False
    siblings = folder.above.filled()
    return len(siblings) > 1 and all(named.keys() <= sibling.children.keys() for sibling in siblings)


def _storage(folder: Folder, filled: Sequence[Folder]) -> dict[str, str]:
    """Folders that only store images and do not name a class."""
    if len(filled) == 1 and not folder.images:
        name = filled[0].name
        if is_storage(name) or name.lower() == folder.name.lower():
            return {name: STORAGE}
    names = [child.name for child in filled]
    if len(names) > 1 and len(set(map(without_digits, names))) == 1 and not _PIECE_WORDS.isdisjoint(words_of(names[0])):
        return dict.fromkeys(names, STORAGE)
    return {}


def _letters(filled: Sequence[Folder]) -> dict[str, str]:
    """Folders of single letters above folders whose names begin with that letter."""
    if len(filled) < 2 or any(len(child.name) > 1 or not child.name.isalpha() or child.images for child in filled):
        return {}
    below = [(child.name.lower(), inner.name.lower()) for child in filled for inner in child.filled()]
    begin = sum(name.startswith(letter) and name == without_digits(name) for letter, name in below)
    return dict.fromkeys((child.name for child in filled), LETTER) if begin >= 0.9 * len(below) else {}


# Which of them are the classes.


def class_parts(
    tree: Tree, places: Sequence[Place], others: Sequence[Place] = ()
) -> tuple[dict[int, tuple[str, int]], list[LeftOut], list[str]]:
    """The class of each place of one split with the number of parts that lead to it; files left out; and notes.

    others: the places of the other splits, which show more of the folders inside class folders. The result is keyed by
    the place's position in `places`; places that are left out are not in it. It is empty if all images are in one
    folder. Raises TenchError, with a question, if it is not clear which folders are the classes.
    """
    if places and all(place.below_letter for place in places):
        note = "The class folders are in single-letter folders; a class is the path below the letter."
        return {at: (place.path_below_letter, len(place.parts)) for at, place in enumerate(places)}, [], [note]
    lead, strays = _lead(places)
    if not any(len(place.parts) > lead for place in places):
        return {}, [], []
    left_out = []
    kept = [at for at in range(len(places)) if at not in strays]
    for at in strays:
        folder = places[at].folder
        left_out.append(LeftOut("images above the class folders", len(folder.images), tree.names[folder.images[0]]))
    beside = [places[at].folder for at in kept if len(places[at].parts) == lead]
    if beside:
        raise direct_images(tree, beside[0], sum(len(folder.images) for folder in beside))
    by_class: dict[str, list[Place]] = {}
    for at in kept:
        by_class.setdefault(places[at].parts[lead], []).append(places[at])
    for name in _copies_of_all(tree, by_class, lead):
        gone = by_class.pop(name)
        count = sum(len(place.folder.images) for place in gone)
        left_out.append(
            LeftOut("the same images as in the other class folders", count, tree.names[gone[0].folder.images[0]])
        )
    seen = {name: list(group) for name, group in by_class.items()}
    for place in others:
        if len(place.parts) > lead and place.parts[lead] in seen:
            seen[place.parts[lead]].append(place)
    notes = _check_classes(tree, seen, lead)
    return (
        {at: (name, lead + 1) for at in kept if (name := places[at].parts[lead]) in by_class},
        merged(left_out),
        notes,
    )


def _lead(places: Sequence[Place]) -> tuple[int, list[int]]:
    """The number of parts that all places share, and the few places above the folders found this way."""
    lead, strays = 0, list[int]()
    num_images = sum(len(place.folder.images) for place in places)
    while True:
        short = [at for at, place in enumerate(places) if len(place.parts) <= lead and at not in strays]
        heads = {place.parts[lead] for place in places if len(place.parts) > lead}
        if len(heads) != 1:
            return lead, strays
        num_short = sum(len(places[at].folder.images) for at in (*short, *strays))
        if short and num_short > _FEW * num_images:
            return lead, strays
        strays += short
        lead += 1


def are(count: int) -> str:
    """ "1 image is", "2 images are"."""
    return f"{counted(count, 'image')} {'is' if count == 1 else 'are'}"


def direct_images(tree: Tree, folder: Folder, count: int) -> TenchError:
    """The error for images that are next to class folders."""
    name = tree.names[folder.images[0]]
    return TenchError(
        f"{tree.root / folder.path}: {are(count)} directly in this folder, such as "
        f"{name.rpartition('/')[2]}. Their class is unknown. Put each image into a folder named after its class, or "
        f"leave them out, for example with {exclusion(tree, name)}."
    )


def _check_classes(tree: Tree, by_class: Mapping[str, Sequence[Place]], lead: int) -> list[str]:
    """Notes on the folders inside class folders. Raises TenchError, with a question, if these may be the classes."""
    names = list(by_class)
    first = next(iter(by_class.values()))[0]
    depth = first.depth_of_part(lead)
    where = tree.root / "/".join(name for name, _ in first.steps[: depth - 1])
    inner = {name: _branches(group, lead) for name, group in by_class.items()}
    storage = [name for name in names if is_storage(name) and len(names) > 1]
    if storage and not _share_names(inner, storage[0]):
        path = "/".join(name for name, _ in by_class[storage[0]][0].steps[:depth])
        others = some([name for name in names if name != storage[0]], 3)
        raise TenchError(
            f"{where}: the folder {storage[0]} is next to {others}, but does not look like a class. Leave it out "
            f"with {exclusion(tree, path)}. If it is a class, pass --classes-at {depth}."
        )
    holds_files = {name for name, group in by_class.items() if any(len(place.parts) == lead + 1 for place in group)}
    deep = [name for name in names if inner[name] and name not in holds_files]
    if not deep:
        nested = [place.folder.path for group in by_class.values() for place in group if len(place.parts) > lead + 1]
        within = [path for path in nested if path.rpartition("/")[2] not in names]
        return [f"Folders inside class folders belong to the class, such as {within[0]}."] if within else []
    counts: dict[str, int] = {}
    for name in names:
        for one in () if name in holds_files else inner[name]:
            counts[one] = counts.get(one, 0) + 1
    is_shared = any(count > 1 for count in counts.values())
    are_ids = all(len(set(map(without_digits, inner[name]))) == 1 and words_of(inner[name][0]) for name in deep)
    is_mixed = len(holds_files) * 2 >= len(names) and not any(map(split_of, names))
    if is_mixed or (are_ids and not is_shared):
        return [f"Some class folders contain only folders, whose images belong to the class: {some(deep, 3)}."]
    raise TenchError(*_question(where, by_class, is_shared, lead, depth))


def _share_names(inner: Mapping[str, Sequence[str]], name: str) -> bool:
    """Whether the folders inside `name` share names with those inside every other: photo, next to art and sketch."""
    return bool(inner[name]) and all(set(inner[name]) & set(names) for names in inner.values())


def _branches(places: Sequence[Place], lead: int) -> list[str]:
    """The folders inside a class folder, at the first level that has more than one; empty if there is no such level."""
    for level in range(lead + 1, max(len(place.parts) for place in places)):
        names = {place.parts[level] for place in places if len(place.parts) > level}
        if len(names) > 1:
            return sorted(names)
    return []


def _question(
    where: object, by_class: Mapping[str, Sequence[Place]], is_shared: bool, lead: int, depth: int
) -> list[str]:
    """The choices if class folders contain only folders: one line each, with the option that selects it."""
    names = list(by_class)
    places = [place for group in by_class.values() for place in group]
    counts = {name: sum(len(place.folder.images) for place in group) for name, group in by_class.items()}
    shown = some([f"{name} ({counted(counts[name], 'image')})" for name in names], 5)
    why = "which have the same names in each" if is_shared else "which may be classes too"
    lines = [f"{where}: the folders {shown} contain only folders, {why}. Choose which folders are the classes:"]
    levels = max(len(place.parts) for place in places) - lead
    for level in range(1, levels):
        below = sorted({place.parts[lead + level] for place in places if len(place.parts) > lead + level})
        depths = {place.depth_of_part(lead + level) for place in places if len(place.parts) > lead + level}
        together = f", each merged from all of {some(names, 3)}" if is_shared and level == 1 else ""
        if len(depths) == 1 and len(below) > 1:
            lines.append(f"  {some(below, 4)}{together}: --classes-at {depths.pop()}")
    lines.append(f"  {some(names, 4)}: --classes-at {depth}")
    if is_shared:
        first = sorted({place.parts[lead + 1] for place in by_class[names[0]] if len(place.parts) > lead + 1})
        if len(first) > 1:
            lines.append(f"  {some(first, 4)} of {names[0]} only: pass {where}/{names[0]}")
        deeper = next(place for place in by_class[names[0]] if len(place.parts) > lead + 1)
        at = {deeper.depth_of_part(lead), deeper.depth_of_part(lead + 1)}
        pattern = "/".join("CLASS" if one in at else "*" for one in range(1, max(at) + 1))
        lines.append(f"  {names[0]}/{first[0]} and so on, each path a class: --classes-at '{pattern}'")
    if all(without_digits(name) == without_digits(names[0]) and _FOLD_WORDS & set(words_of(name)) for name in names):
        lines.append(f"  {names[-1]} as val and the others as train: --split-from '(?P<val>{re.escape(names[-1])})/'")
    return lines


def _copies_of_all(tree: Tree, by_class: Mapping[str, Sequence[Place]], lead: int) -> list[str]:
    """A class folder that repeats the images of all others. Raises TenchError if two contain the same images."""
    sizes = {name: sum(len(place.folder.images) for place in group) for name, group in by_class.items()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_LARGEST]
    for large in largest:
        others = [name for name in by_class if name != large and sizes[name] >= _LARGEST]
        sample = others[:: max(1, len(others) // _MAX_READ)][:_MAX_READ]
        same = [name for name in sample if _are_in(tree, by_class[name], by_class[large])]
        if len(same) > 1 and len(same) == len(sample) and sizes[large] > max(sizes[name] for name in others):
            return [large]
        if same:
            one, other = sorted((large, same[0]))
            first = by_class[other][0]
            folder = first.folder
            path = "/".join(name for name, _ in first.steps[: first.depth_of_part(lead)])
            raise TenchError(
                f"{tree.root}: {one} and {other} contain the same images, for example "
                f"{_stem(tree.names[folder.images[0]])}, so one of them is not a class. Leave it out, for example with "
                f"{exclusion(tree, path)}."
            )
    return []


def _are_in(tree: Tree, small: Sequence[Place], large: Sequence[Place]) -> bool:
    """Whether a sample of the images of one class is in another too, by name, size and bytes."""
    positions = [position for place in small[:_MAX_READ] for position in place.folder.images[:_MAX_READ]]
    pairs = []
    for position in positions[:: max(1, len(positions) // _MAX_READ)]:
        name = tree.names[position]
        base = name.rpartition("/")[2]
        there = [f"{place.folder.path}/{base}" for place in large[:_MAX_READ]]
        length = tree.length[position]
        found = next((one for one in there if one in tree and tree.length[tree.index(one)] == length), None)
        if found is None:
            return False
        pairs.append((name, found))
    data = [(tree.read(one), tree.read(other)) for one, other in pairs]
    return len({one for one, _ in data}) >= _LARGEST and all(one == other for one, other in data)
