"""Locate the images that a list names: in the opened tree, or elsewhere on disk.

The paths of a list are rarely relative to the folder that contains it. They are first tried unchanged below the list's
folder or one next to it (`images`, the split's); the best folder is chosen for the whole list. A path that is not found
there is looked up in an index of all images, which finds files whose path has the same end, in any case, with or
without the suffix. If that finds nothing, the first folder of all paths is dropped, then the second, because they may
come from another machine. If a path matches several files, the folder that matches most of the list is used, unless it
is called masks or similar. If two folders match equally well, an error asks the user to choose.

The size of a file elsewhere on disk costs one system call: 1.28 million of them take a few seconds on a local disk. The
folder of such a file is part of the stamp, so that files added or removed there are noticed.
"""

import collections
import dataclasses
import functools
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tench.data import splits
from tench.data.files.names import JUNK, composed, is_image_name
from tench.data.files.tree import Tree
from tench.data.labels.tables import sample
from tench.data.splits import TEST, TRAIN, VAL
from tench.data.table import Rows
from tench.errors import TenchError, UsageError, some

MISSING = -1
_NUM_PROBES = 50
_MOST_WALKED = 2_000_000
"""Files to search for the images of a list that was opened as a single file."""
_MOST_DROPPED = 12
"""Leading folders of the paths of a list that may belong to another machine."""

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
"""The name that Label Studio gives to an uploaded image: 0f3c2a1b-cat.jpg."""
_IMAGE_WORDS = frozenset("image images img imgs jpg jpeg jpegimages photo photos picture pictures input".split())
_OTHER_WORDS = frozenset(
    "mask masks annotation annotations trimap trimaps segmentation segmentations seg gt groundtruth label labels depth "
    "thumb thumbs thumbnail thumbnails heatmap heatmaps edges superpixels contour".split()
)


class Files:
    """The files of a tree (none if `inside` is False), and those around it if the tree is on disk.

    images: the folder with the images, below the root of the tree; None: anywhere.
    """

    def __init__(self, tree: Tree, *, inside: bool, on_disk: bool, images: str | None = None) -> None:
        self._tree, self._inside, self._on_disk = tree, inside, on_disk
        self._folder = None if images is None else _folder_of(tree, images, inside, on_disk)
        self._used = np.zeros(len(tree), np.bool_)
        self._paths: list[str] = []
        self._sizes: list[int] = []
        self._index: dict[str, list[str]] | None = None
        self._by_number: dict[str, list[str]] | None = None

    @functools.cached_property
    def _position(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self._tree.names)} if self._inside else {}

    def has(self, name: str) -> bool:
        """Whether a file exists, by its name from the tree's root or its absolute path."""
        return (self._inside and composed(name) in self._tree) or self._outside(name) is not None

    def knows(self, path: str) -> bool:
        """Whether an image has this name, with or without its suffix, below any folder."""
        if not path or len(path) > 4096 or path.endswith("/"):
            return False
        parts = _parts(path)
        return bool(self._candidates(parts) or self._numbered(parts))

    def names(self, folders: Sequence[str], paths: Sequence[str], split: str | None = None) -> list[str | None]:
        """The names of images from the tree's root, for their paths in a list; None for each image that is not found.

        folders: folders to search, "" or with a "/" at the end, the first being preferred. split: of the list, if
        known. Raises TenchError if two folders match equally well.
        """
        if self._folder is not None:
            folders = [self._folder]
        base = self._base(folders, paths)
        below = [path if path.startswith("/") else base + path for path in paths]
        if len(below) > _NUM_PROBES and None not in map(self._position.get, below):  # the common case
            return list(below)
        found: list[str | None] = [name if self.has(name) else None for name in below]
        missing = [row for row, name in enumerate(found) if name is None]
        if missing:
            for row, name in zip(missing, self._searched(paths, missing, found, split), strict=True):
                found[row] = name
        return found

    def find(self, names: Sequence[str]) -> list[int]:
        """A number for each file (named as for `has`), to pass to `rows`; MISSING if it does not exist."""
        found = list(map(self._position.get, names))
        return [self._find(name) if at is None else at for name, at in zip(names, found, strict=True)]

    def rows(self, found: Sequence[int], label: Sequence[int], key: Sequence[str], **more: Any) -> Rows:
        """Rows of a table for files that were found, one image each; none may be MISSING."""
        tree, numbers = self._tree, np.array(found, np.int64)
        self._used[numbers[numbers < len(tree)]] = True
        tree.stamp.update(dict.fromkeys(sorted({os.path.dirname(path) for path in self._paths})))
        both = dataclasses.replace(  # used only for rows: it has no names for the files elsewhere
            tree,
            shards=[*tree.shards, *self._paths],
            shard=np.concatenate([tree.shard, np.arange(len(self._paths)) + len(tree.shards)]),
            offset=np.concatenate([tree.offset, np.zeros(len(self._paths), np.int64)]),
            length=np.concatenate([tree.length, np.array(self._sizes, np.int64)]),
        )
        return both.rows(numbers, label, key, **more)

    def unused(self) -> list[str]:
        """The files of the tree that are in no rows."""
        return [name for name, position in self._position.items() if not self._used[position]]

    def _base(self, folders: Sequence[str], paths: Sequence[str]) -> str:
        """The folder that contains most of a sample of the paths."""
        probes = paths[:: max(1, len(paths) // _NUM_PROBES)]
        best, most = folders[0], -1
        for folder in folders:
            count = sum(self.has(path if path.startswith("/") else folder + path) for path in probes)
            if count > most:
                best, most = folder, count
            if most == len(probes):
                break
        return best

    def _searched(
        self, paths: Sequence[str], rows: Sequence[int], found: Sequence[str | None], split: str | None
    ) -> list[str | None]:
        """Look up these rows of the list in the index, ignoring images that were already found."""
        parts = [_parts(paths[row]) for row in rows]
        probes = [parts[at] for at in sample(len(parts))]
        dropped = 0
        if len(rows) == len(paths):  # otherwise some paths are correct, so no folder of them may be dropped
            hits = [sum(bool(self._candidates(one[drop:])) for one in probes) for drop in range(_MOST_DROPPED)]
            dropped = hits.index(max(hits))
        fits = [self._candidates(one[dropped:]) for one in parts]
        if not any(fits) and len(rows) == len(paths):
            fits = [self._numbered(one) for one in parts]
        served: collections.Counter[str] = collections.Counter()
        for one, names in zip(parts, fits, strict=True):
            served.update({_base_of(name, len(one) - min(dropped, len(one) - 1)) for name in names})

        def rank(base: str) -> tuple[int, int]:
            return _merit(base, split), served[base]

        settled: list[str | None] = []
        for row, one, names in zip(rows, parts, fits, strict=True):
            if len(names) < 2:
                settled.append(names[0] if names else None)
                continue
            depth = len(one) - min(dropped, len(one) - 1)
            ranked = sorted(names, key=lambda name: rank(_base_of(name, depth)), reverse=True)
            first, second = (_base_of(name, depth) for name in ranked[:2])
            if rank(first) == rank(second):
                raise TenchError(
                    f"{self._tree.root}: {paths[row]!r} of the list matches several files: {some(sorted(names), 3)}. "
                    f"Pass the folder that contains the images: --images {min(first, second) or '.'}"
                )
            settled.append(ranked[0])
        return settled

    def _candidates(self, parts: Sequence[str]) -> list[str]:
        """The images whose paths end with these parts; the file suffix may be missing or different."""
        if not parts:
            return []
        names = self._indexed().get(_stem(parts[-1]), [])
        if not names and (uploaded := _UPLOADED.fullmatch(parts[-1])):
            parts = [*parts[:-1], uploaded[1]]
            names = self._indexed().get(_stem(parts[-1]), [])
        if names and len(parts) > 1:
            tail = "/" + "/".join(parts[:-1])
            names = [name for name in names if ("/" + _plain(name).rpartition("/")[0]).endswith(tail)]
        if len(names) > 1 and is_image_name(parts[-1]):
            exact = [name for name in names if _plain(name).rpartition("/")[2] == parts[-1]]
            names = exact or names
        return names

    def _numbered(self, parts: Sequence[str]) -> list[str]:
        """The images whose names are this number with more or fewer leading zeros: 00007.jpg for 7."""
        if len(parts) != 1 or not parts[0].isdecimal():
            return []
        if self._by_number is None:
            self._by_number = collections.defaultdict(list)
            for stem, names in self._indexed().items():
                if stem.isdecimal():
                    self._by_number[stem.lstrip("0")] += names
        return self._by_number.get(parts[0].lstrip("0"), [])

    def _indexed(self) -> dict[str, list[str]]:
        if self._index is None:
            self._index = {}
            names: Iterable[str] = self._tree.names if self._inside else self._around()
            for name in names:
                if is_image_name(name) and (self._folder is None or name.startswith(self._folder)):
                    self._index.setdefault(_stem(_plain(name.rpartition("/")[2])), []).append(name)
        return self._index

    def _around(self) -> Iterator[str]:
        """The files below the folder of lists that were opened as single files, by relative name."""
        if not self._on_disk:
            return
        folders = [self._folder or ""]
        count = 0
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(os.path.join(self._tree.root, folder)) as entries:
                    for entry in entries:
                        if entry.name.startswith(".") or entry.name in JUNK:
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(f"{folder}{entry.name}/")
                        else:
                            count += 1
                            yield folder + entry.name
                        if count > _MOST_WALKED:
                            return
            except OSError:
                continue

    def _find(self, name: str) -> int:
        position = self._position.get(composed(name))
        if position is not None:
            return position
        found = self._outside(name)
        if found is None:
            return MISSING
        path, size = found
        self._paths.append(path)
        self._sizes.append(size)
        return len(self._tree) + len(self._paths) - 1

    def _outside(self, name: str) -> tuple[str, int] | None:
        """Path and size of a file on disk, whose name may be in either Unicode form; None if it does not exist."""
        if not self._on_disk:
            return None
        for form in [name] if name.isascii() else [name, composed(name), unicodedata.normalize("NFD", name)]:
            path = os.path.join(self._tree.root, form)
            try:
                status = os.stat(path)
            except (OSError, ValueError):  # ValueError: a zero byte in the path
                continue
            if stat.S_ISREG(status.st_mode):
                return path, status.st_size
        return None


def bases_of(list_name: str, split: str | None) -> list[str]:
    """The folders, relative to the root, to which the paths of a list may be relative."""
    own = list_name[: list_name.rfind("/") + 1]
    above = own[: own[:-1].rfind("/") + 1] if own else None
    folders = {TRAIN: ("train", "training"), VAL: ("val", "validation", "valid"), TEST: ("test", "testing")}
    named = folders[split or TRAIN]
    around = [own] if above is None else [own, above, f"{above}images/"]
    return [*around, *(f"{own}{folder}/" for folder in (*named, "images", f"../../Data/CLS-LOC/{named[0]}"))]


def _folder_of(tree: Tree, images: str, inside: bool, on_disk: bool) -> str:
    folder = os.path.normpath(images).replace(os.sep, "/")
    if folder == ".":
        return ""
    if (inside and folder in tree.folders) or (on_disk and os.path.isdir(os.path.join(tree.root, folder))):
        return f"{folder}/"
    raise UsageError(
        f"{tree.root} has no folder {images} for --images. Pass a path relative to {tree.root}. Its folders: "
        f"{some([name for name in tree.top() if name.endswith('/')])}."
    )


def _parts(path: str) -> list[str]:
    """The parts of a path in a list, in the form that the index compares."""
    return [part for part in _plain(path.strip()).split("/") if part not in ("", ".")]


def _plain(name: str) -> str:
    """A name for comparison: composed characters, lower case, "/" between its parts."""
    return composed(name.replace("\\", "/").lower())


def _stem(name: str) -> str:
    return name[: name.rfind(".")] if is_image_name(name) else name


def _base_of(name: str, depth: int) -> str:
    """The folder of an image without the last `depth` names of its path, which the list has too."""
    return "/".join(name.split("/")[:-depth])


def _merit(base: str, split: str | None) -> int:
    """A score for how well a folder's name suits the images of a split."""
    words = set(re.findall("[a-z]+", base.lower()))
    told = splits.split_of_path(base)
    fits = 0 if told is None or split is None else 2 if told == split else -2
    return fits + (1 if words & _IMAGE_WORDS else 0) - (4 if words & _OTHER_WORDS else 0)
