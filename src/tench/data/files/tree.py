"""The files of a source by path, and their byte ranges: of a folder, an archive, or a single file.

A layout sees only names and bytes. This module hides whether `train/n01440764/x.JPEG` is a file on disk, a member of a
tar, or of a tar inside a tar: an opened archive is a folder with the same name in the tree. Data that cannot be
addressed in place (deflated zip members, a compressed tar) is copied once into the cache, and its size is logged first;
a gzip file too big for that gets an index. A tree has only regular files: reading a pipe or a device could block or
never end. Symbolic links are followed, but not back to a folder above them.
"""

import bisect
import concurrent.futures
import contextlib
import dataclasses
import errno
import fnmatch
import functools
import glob
import hashlib
import io
import itertools
import logging
import operator
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from tench.data.files import tar
from tench.data.files import zip as zips
from tench.data.files.code_pages import chosen_page
from tench.data.files.compressed import (
    INDEXED_BYTES,
    Forward,
    Pread,
    first_bytes,
    form_of,
    refuse_bomb,
    spool_compressed,
)
from tench.data.files.gzip_index import build_index, open_indexed
from tench.data.files.names import JUNK, composed, is_image_name, is_run, run_folders, shown
from tench.data.limits import LIMITS, Limits
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.data.table import IntArray, Rows
from tench.errors import TenchError, counted
from tench.files import complete_file, open_regular, require_space

_BEGINNING_BYTES = 2**22
"""Bytes of a compressed archive that are unpacked to identify it."""

_BRACES = re.compile(r"\{(?:(?P<first>\d{1,15})\.\.(?P<last>\d{1,15})|(?P<choices>[^{}]*,[^{}]*))\}")
_COMMON = (".jpg", ".JPEG", ".jpeg", ".png", ".JPG")
"""The suffixes of nearly all images, for a fast check before the full rule."""
_MAX_THREADS = 16
"""Threads that list archives. If an archive is not in memory, they mostly wait for small reads."""

_SHOWN_PATH = 200
"""Characters shown in a message of a path too long to open."""

_Members = list[tuple[str, int, int]]
"""(name, offset, bytes) of each member of an archive."""

_SPOOLED_CHARACTERS = 60
"""Part of an archive's name used in the name of its unpacked file: a file name has at most 255 bytes."""

_log = logging.getLogger("tench")

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Tree:
    """The files below a root, in the order of their names' code points.

    source: the folder or file that was named. root: the path to which names are relative, for messages. names: of
    files, with "/". folders: likewise, without the root itself. shards: paths on disk; shard, offset, length: each
    file's byte range. stamp: the files and folders on disk whose size and time show whether anything read so far has
    changed; it grows as files are read. spool: a cache folder for bytes that cannot be addressed in place. indexes: for
    shards that are big gzip files, their index files; offsets in them count decompressed bytes. copies: for paths in
    the cache, the files whose data they have. listings: for each index file, the members of its archive. options: how
    to read the source. excluded: number of files left out so far, by --exclude pattern. notes: for the user. hidden:
    for each folder whose name begins with a dot, the images directly in it, which are in no other field: name in the
    folder, index into shards, offset, length. limits: for everything that is read from the tree. archives: the files
    that `opened` turned into folders; enclosing: the number of archives that enclose the root itself.
    """

    source: Path
    root: Path
    spool: Path
    names: Sequence[str]
    folders: Sequence[str]
    shards: Sequence[str]
    shard: IntArray
    offset: IntArray
    length: IntArray
    stamp: dict[str, None]
    options: SourceOptions = NO_OPTIONS
    excluded: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    indexes: dict[str, str] = dataclasses.field(default_factory=dict)
    copies: dict[str, str] = dataclasses.field(default_factory=dict)
    listings: dict[str, _Members] = dataclasses.field(default_factory=dict)
    hidden: dict[str, list[tuple[str, int, int, int]]] = dataclasses.field(default_factory=dict)
    limits: Limits = LIMITS
    archives: frozenset[str] = frozenset()
    enclosing: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    @functools.cached_property
    def others(self) -> list[str]:
        """The names of files without an image suffix: few compared with the images of a large tree."""
        return [name for name in self.names if not name.endswith(_COMMON) and not is_image_name(name)]

    def index(self, name: str) -> int:
        """The position of a file in `names`. Raises KeyError if there is no file with that name."""
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found

    def top(self) -> list[str]:
        """The entries of the root itself: files, and folders with a "/" at the end."""
        files = [name for name in self.names if "/" not in name]
        return sorted([*files, *(f"{folder}/" for folder in self.folders if "/" not in folder)])

    def children(self, folder: str) -> list[str]:
        """The names of the folders directly in a folder ("" is the root), sorted."""
        start = f"{composed(folder)}/" if folder else ""
        inside = self.folders[_below(self.folders, folder)] if folder else self.folders
        return sorted(path[len(start) :] for path in inside if "/" not in path[len(start) :])

    def span(self, folder: str) -> range:
        """The positions of all files below a folder; they are contiguous in `names`."""
        below = _below(self.names, folder)
        return range(below.start, below.stop)

    def renamed(self, rename: Callable[[str], str]) -> "Tree":
        """This tree with renamed files and folders; byte ranges stay the same."""
        names = [rename(name) for name in self.names]
        order = sorted(range(len(names)), key=names.__getitem__)
        return dataclasses.replace(
            self,
            names=[names[position] for position in order],
            folders=sorted({rename(folder) for folder in self.folders}),
            shard=self.shard[order],
            offset=self.offset[order],
            length=self.length[order],
        )

    def under(self, folder: str) -> "Tree":
        """The part of this tree below a folder, with names relative to it."""
        folder = composed(folder)
        taken, cut = _below(self.names, folder), len(folder) + 1
        hidden = {path[cut:]: files for path, files in self.hidden.items() if path.startswith(f"{folder}/")}
        return dataclasses.replace(
            self,
            root=self.root / folder,
            names=[name[cut:] for name in self.names[taken]],
            folders=[path[cut:] for path in self.folders[_below(self.folders, folder)]],
            shard=self.shard[taken],
            offset=self.offset[taken],
            length=self.length[taken],
            archives=frozenset(path[cut:] for path in self.archives if path.startswith(f"{folder}/")),
            enclosing=self.enclosing + self._depth(f"{folder}/"),
            hidden=hidden,
        )

    def revealed(self, folders: Iterable[str]) -> "Tree":
        """This tree with some of its hidden folders as ordinary folders."""
        files = self._files()
        for folder in folders:
            files.folders.add(folder)
            if (path := self.root / folder).is_dir():
                self.stamp[str(path)] = None
            for name, *at in self.hidden[folder]:
                files.add(f"{folder}/{name}", *at)
        rest = {folder: found for folder, found in self.hidden.items() if folder not in files.folders}
        return dataclasses.replace(self._rebuilt(files), hidden=rest)

    def path(self, position: int) -> Path | None:
        """The path on disk of a file of the tree; None if it is part of another file."""
        shard = Path(self.shards[int(self.shard[position])])
        whole = int(self.offset[position]) == 0 and int(self.length[position]) == shard.stat().st_size
        return shard if whole else None

    def place(self, name: str) -> str:
        """The location of a file for an error message: its path, and if it is in an archive, the archive and offset."""
        position = self.index(name)
        shard = self.shards[int(self.shard[position])]
        path, shard = str(self.root / name), self.indexes.get(shard, shard)
        if composed(path) == composed(shard):
            return path
        return f"{path} (in {shard} at byte {int(self.offset[position]):,})"

    def open(self, name: str) -> BinaryIO:
        """Open a file of the tree for reading and seeking, wherever it is stored. Adds its files on disk to the
        stamp."""
        position = self.index(name)
        shard = self.shards[int(self.shard[position])]
        self.stamp[shard] = None
        offset, length = int(self.offset[position]), int(self.length[position])
        if shard in self.indexes:
            self.limits.require(length, self.limits.member_bytes, self.place(name), "a file inside a gzipped archive")
            with open_indexed(Path(self.indexes[shard]), Path(shard)) as packed:
                return io.BytesIO(packed.pread(length, offset))
        return io.BufferedReader(_Part(shard, offset, length))

    @contextlib.contextmanager
    def reading(self, shard: str) -> Iterator[Pread]:
        """A function like os.pread, (length, offset) -> bytes, on one of the shards: for many small reads."""
        if shard in self.indexes:
            with open_indexed(Path(self.indexes[shard]), Path(shard)) as packed:
                yield packed.pread
        else:
            with open_regular(shard) as file:
                yield functools.partial(os.pread, file.fileno())

    @contextlib.contextmanager
    def beginning(self, archive: str, count: int) -> Iterator[tuple[list[tuple[str, int, int]], Pread]]:
        """The first members of a tar in the tree, as from tar.members, and a function that reads them.

        Fewer than `count` if the tar ends or is damaged there; none if it is not a tar.
        """
        position = self.index(archive)
        start, length = int(self.offset[position]), int(self.length[position])
        end: int | None = start + length
        with self.reading(self.shards[int(self.shard[position])]) as pread:
            if form_of(pread(min(6, length), start)):
                with self.open(archive) as file:
                    unpacked = first_bytes(file, _BEGINNING_BYTES)
                start, end, pread = 0, None, lambda length, offset: unpacked[offset : offset + length]
            found = []
            with contextlib.suppress(TenchError):  # the members before the damage are enough
                for member in itertools.islice(tar.members(pread, start, end, archive, self.limits), count):
                    found.append(member)
            yield found, pread

    def is_archive(self, name: str) -> bool:
        """Whether a file is a tar, compressed or not, or a zip, by its content; False if it is unreadable."""
        try:
            with self.open(name) as file:
                return _is_archive(file, name)
        except (OSError, TenchError):
            return False

    def read(self, name: str, what: str = "a file that is read whole", at_most: int | None = None) -> bytes:
        """Return the content of a small file of the tree.

        what: the kind of file, for messages ("a class list"). at_most: size limit, by default `limits.member_bytes`.
        Raises TenchError if the file is larger, or shorter than expected.
        """
        length = int(self.length[self.index(name)])
        most = self.limits.member_bytes if at_most is None else at_most
        if length > most:
            self.limits.require(length, most, self.place(name), what)
        with self.open(name) as file:
            data = file.read()
        if len(data) != length:
            raise TenchError(
                f"{self.place(name)} became shorter while it was being read. Wait until it is complete, then try again."
            )
        return data

    def text(self, name: str, what: str = "a text file", at_most: int | None = None) -> str:
        """A text file of the tree: UTF-8, with or without a byte order mark; other bytes become replacement characters.

        what, at_most: as for `read`; the default limit is `limits.text_bytes`.
        """
        return self.read(name, what, self.limits.text_bytes if at_most is None else at_most).decode(
            "utf-8-sig", "replace"
        )

    def spooled(self, name: str, suffix: str) -> Path:
        """A path in the cache for data unpacked from a file of the tree; always the same for the same file."""
        position = self.index(name)
        place = f"{self.shards[int(self.shard[position])]}:{int(self.offset[position])}"
        digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]  # different archives may contain equal names
        path = self.spool.absolute() / f"{name.rpartition('/')[2][:_SPOOLED_CHARACTERS]}.{digest}.{suffix}"
        return self.record_copy(path, name)

    def record_copy(self, path: Path, name: str) -> Path:
        """Record that a path in the cache is for data from a file of the tree, for messages; returns the path."""
        self.copies[str(path)] = str(self.root / name)
        return path

    def opened(self, archives: Iterable[str]) -> "Tree":
        """This tree with some of its archives (tar, compressed tar, zip) as folders of the same names, suffix included.

        If a name occurs twice in an archive, the later file is used, as when the archive is unpacked. Raises TenchError
        if an archive is damaged or has members that an archive of images cannot have.
        """
        todo = set(archives)
        files = self._files(without=todo)
        names = sorted(todo)
        for name in names:
            if self.enclosing + self._depth(name) >= self.limits.nested_archives:
                raise TenchError(
                    f"{self.place(name)} is in {self.limits.nested_archives} nested archives. Unpack "
                    "the outer ones and pass the folder."
                )
        with concurrent.futures.ThreadPoolExecutor(_MAX_THREADS) as pool:
            for name, members in zip(names, pool.map(self._plain_members, names), strict=True):
                files.folders.add(name)
                if members is None:
                    self._add_archive(files, name)
                else:
                    self._add_members(files, name, int(self.shard[self.index(name)]), members)
        return self._rebuilt(files, todo)

    def _files(self, without: Collection[str] = ()) -> "_Files":
        """The files of this tree as a collection to which more can be added."""
        files = _Files(list(self.shards), self.limits, self.source)
        for position, name in enumerate(self.names):
            if name not in without:
                at = int(self.shard[position]), int(self.offset[position]), int(self.length[position])
                files.add(name, *at)
        files.folders.update(self.folders)
        files.hidden.update(self.hidden)
        return files

    def _rebuilt(self, files: "_Files", archives: Collection[str] = ()) -> "Tree":
        """The tree of these files. archives: those of this tree that are now folders."""
        tree = files.tree(self.source, self.root, self.spool, self.stamp, self.options, self.excluded)
        self.notes.extend(note for note in tree.notes if note not in self.notes)
        if files.repeated:
            self.notes.append(
                f"Names that occur more than once in an archive: {len(files.repeated):,}, such as "
                f"{shown(files.repeated[0])}. The last file of each name is used, as when the archive is unpacked."
            )
        more: dict[str, Any] = {"archives": self.archives.union(archives), "enclosing": self.enclosing}
        more |= {"indexes": self.indexes, "listings": self.listings, "copies": self.copies}
        return dataclasses.replace(tree, notes=self.notes, **more)

    def _depth(self, name: str) -> int:
        """The number of archives of the tree that enclose a file."""
        depth = 0
        while self.archives and "/" in name:
            name = name.rpartition("/")[0]
            depth += name in self.archives
        return depth

    def _plain_members(self, name: str) -> _Members | None:
        """The members of an archive if it is an uncompressed tar, else None."""
        position = self.index(name)
        shard, offset = self.shards[int(self.shard[position])], int(self.offset[position])
        self.stamp[shard] = None
        with self.reading(shard) as pread:
            head = pread(6, offset)
            if zips.is_zip(head[:4]) or form_of(head) is not None:
                return None
            return self._listed(pread, offset, offset + int(self.length[position]), self.place(name))

    def _listed(self, pread: Pread, start: int, end: int | None, where: str) -> _Members:
        found = tar.members(pread, start, end, where, self.limits)
        return list(itertools.islice(found, self.limits.members + 1))  # one too many, so that it is refused

    def _add_members(self, files: "_Files", name: str, shard: int, members: _Members) -> None:
        """Add the members of a tar. Names that are not UTF-8 are decoded by `code_pages`."""
        odd = {member: os.fsencode(member) for member, _, _ in members if not member.isascii() and _is_odd(member)}
        if odd:
            page = chosen_page(list(odd.values()), str(self.root / name), self.notes)
            members = [
                (odd[member].decode(page) if member in odd else member, offset, length)
                for member, offset, length in members
            ]
        files.add_members(name, shard, members)

    def _add_archive(self, files: "_Files", name: str) -> None:
        """Add the members of a zip archive or a compressed tar."""
        position, where = self.index(name), self.place(name)
        shard, offset, length = (int(column[position]) for column in (self.shard, self.offset, self.length))
        with self.reading(self.shards[shard]) as pread:
            head = pread(6, offset)
            if zips.is_zip(head[:4]):
                self._add_zip(files, name, shard, zips.Archive(pread, offset, length, where, self.limits))
            elif form_of(head) == "gzip" and length >= INDEXED_BYTES and (path := self.path(position)):
                index = str(self.spooled(name, "index"))
                if index not in self.listings:
                    self.listings[index] = build_index(
                        path, Path(index), lambda pread: self._listed(pread, 0, None, where), self.limits
                    )
                self.indexes[index] = str(path)
                self.stamp[index] = None
                files.shards.append(index)
                self._add_members(files, name, len(files.shards) - 1, self.listings[index])
            else:
                unpacked = self.spooled(name, "unpacked")
                with self.open(name) as archive:
                    size = spool_compressed(archive, where, unpacked, self.limits)
                self.stamp[str(unpacked)] = None
                files.shards.append(str(unpacked))
                with self.reading(str(unpacked)) as pread_unpacked:
                    members = self._listed(pread_unpacked, 0, size, where)
                self._add_members(files, name, len(files.shards) - 1, members)

    def _add_zip(self, files: "_Files", name: str, shard: int, archive: zips.Archive) -> None:
        """Add the members of a zip archive: stored ones in place, compressed ones copied into one file in the cache."""
        compressed = []
        for member in zips.members(archive, self.notes):
            path = f"{name}/{member.name}"
            if member.name.endswith("/"):
                files.add_member(path, shard, 0, 0)
            elif member.method == zips.STORED:
                files.add_member(path, shard, archive.base + zips.start(archive, member), member.num_bytes)
            else:
                compressed.append((path, member))
        if compressed:
            target = self.spooled(name, "inflated")
            self.stamp[str(target)] = None
            files.shards.append(str(target))
            offset = 0
            _spool_members(archive, [member for _, member in compressed], target)
            for path, member in compressed:
                files.add_member(path, len(files.shards) - 1, offset, member.num_bytes)
                offset += member.num_bytes

    def rows(
        self, positions: Sequence[int] | IntArray, label: Sequence[int] | IntArray, key: Sequence[str], **more: Any
    ) -> Rows:
        """These files as rows of a table, one image each."""
        taken = np.asarray(positions, np.int64)
        used, shard = np.unique(self.shard[taken], return_inverse=True)
        return Rows(
            shards=[self.shards[number] for number in used.tolist()],
            shard=shard.astype(np.int32),
            offset=self.offset[taken],
            length=self.length[taken],
            label=np.asarray(label, np.int32),
            key=key,
            **more,
        )

    def _find(self, name: str) -> int | None:
        name = composed(name)
        position = bisect.bisect_left(self.names, name)
        return position if position < len(self.names) and self.names[position] == name else None


def _below(sorted_names: Sequence[str], folder: str) -> slice:
    """The range of the names below a folder in sorted names."""
    folder = composed(folder)
    start = bisect.bisect_left(sorted_names, f"{folder}/")
    return slice(start, bisect.bisect_left(sorted_names, f"{folder}0", start))  # "0" follows "/"


def _is_odd(name: str) -> bool:
    """Whether a name has bytes that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def names_unreadable_files(read: Callable[[Tree], Result]) -> Callable[[Tree], Result]:
    """Wrap a layout's `read` so that it raises TenchError with the file's name if a file cannot be read."""

    @functools.wraps(read)
    def wrapped(tree: Tree) -> Result:
        try:
            return read(tree)
        except OSError as error:
            raise TenchError(f"{error.filename or tree.source}: cannot be read ({error.strerror}).") from error

    return wrapped


def open_tree(path: Path, spool: Path, options: SourceOptions = NO_OPTIONS, limits: Limits = LIMITS) -> Tree:
    """The tree of a folder, of a tar or zip archive, or of any other single file (then the only one in the tree).

    Raises TenchError if something cannot be read, is neither a file nor a folder, or exceeds the limits.
    """
    try:
        if path.is_dir():
            return _walk(path, spool, options, limits)
        single = _single(path, spool, options, limits)
        if not is_archive(path):
            return single
    except OSError as error:
        where, remedy = str(error.filename or path), ""  # errors of reading, unlike those of opening, name no file
        if error.errno == errno.ENAMETOOLONG:
            where = f"{where[:_SHOWN_PATH]}... ({len(os.fsencode(where)):,} bytes)"
            remedy = " Move its content further up, or out of the dataset."
        elif os.path.islink(where):
            remedy = " It is a link: restore its target, or remove it."
        raise TenchError(f"{where}: cannot be read ({error.strerror}).{remedy}") from error
    return single.opened([path.name]).under(path.name)


def is_pattern(text: str) -> bool:
    """Whether a path is a pattern for several: `{0000..0127}`, `{a,b}`, `*`, `?`."""
    return bool(_BRACES.search(text)) or any(sign in text for sign in "*?")


def open_pattern(pattern: Path, spool: Path, options: SourceOptions = NO_OPTIONS, limits: Limits = LIMITS) -> Tree:
    """The tree of the files that a pattern of paths matches, with names relative to their common folder.

    Raises TenchError if a file listed by the braces is missing, or if nothing matches.
    """
    paths = []
    for text in _expanded(str(pattern), limits):
        found = sorted(glob.glob(text)) if any(sign in text for sign in "*?") else [text]
        if not found or not os.path.isfile(found[0]):
            raise TenchError(f"{text}: no such file, but the pattern {pattern} includes it. Check the pattern.")
        paths += found
    root = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
    files = _Files(list(dict.fromkeys(paths)), limits, pattern)
    for number, path in enumerate(files.shards):
        name = composed(os.path.relpath(path, root))
        with open_regular(path) as file:
            files.add_folders(name.rpartition("/")[0])
            files.add(name, number, 0, os.fstat(file.fileno()).st_size)
    return files.tree(pattern, root, spool, dict.fromkeys(files.shards), options)


def _is_excluded(name: str, excluded: dict[str, int]) -> bool:
    """Whether a pattern matches a file or one of the folders above it; if so, its count is increased.

    A pattern with a "/" is matched against the path from the root, any other against each part of it.
    """
    parts = name.split("/")
    for pattern in excluded:
        found = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)] if "/" in pattern else parts
        if any(fnmatch.fnmatchcase(part, pattern.strip("/")) for part in found):
            excluded[pattern] += 1
            return True
    return False


def _expanded(text: str, limits: Limits) -> list[str]:
    """Braces as a shell expands them: numbers keep their leading zeros."""
    pending, done = [text], list[str]()
    while pending:
        whole = pending.pop()
        found = _BRACES.search(whole)
        if found is None:
            done.append(whole)
            continue
        if found["first"] is not None:
            first, last, width = int(found["first"]), int(found["last"]), len(found["first"])
            if last < first or last - first >= limits.pattern_files:
                raise TenchError(
                    f"{whole}: {found[0]} must count upwards, over at most {limits.pattern_files:,} numbers."
                )
            choices = [f"{number:0{width}}" for number in range(first, last + 1)]
        else:
            choices = found["choices"].split(",")
        if len(pending) + len(done) + len(choices) > limits.pattern_files:
            raise TenchError(f"{text} expands to more than {limits.pattern_files:,} files. Pass a folder instead.")
        pending += [f"{whole[: found.start()]}{choice}{whole[found.end() :]}" for choice in reversed(choices)]
    return done


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not, or a zip archive other than an Excel workbook, by content.

    Raises TenchError if it is compressed and cannot be unpacked.
    """
    if path.suffix.lower() == ".xlsx":
        return False
    with open_regular(path) as file:
        return _is_archive(file, str(path))


def _is_archive(file: BinaryIO, where: str) -> bool:
    head = file.read(tar.BLOCK)
    if form_of(head):
        head = Forward(file, where).pread(tar.BLOCK, 0)
    return tar.is_tar(head) or zips.is_zip(head[:4])


class _Files:
    """The files of a tree while it is being read, in any order.

    repeated: names that occurred more than once. runs: run directories of tench, whose files are not in the tree.
    """

    def __init__(self, shards: list[str], limits: Limits, source: Path) -> None:
        self.names: list[str] = []
        self.folders: set[str] = set()
        self.shards = shards
        self.shard: list[int] = []
        self.offset: list[int] = []
        self.length: list[int] = []
        self.repeated: list[str] = []
        self._limits, self._source = limits, source
        self._folder_characters = 0
        self.runs: list[str] = []
        self.hidden: dict[str, list[tuple[str, int, int, int]]] = {}

    def add(self, name: str, shard: int, offset: int, length: int) -> None:
        """Add a file. The name must be in composed form."""
        self.names.append(name)
        self.shard.append(shard)
        self.offset.append(offset)
        self.length.append(length)

    def add_folders(self, folder: str) -> None:
        """Add a folder and the folders above it."""
        limits = self._limits
        if (depth := folder.count("/") + 1) > limits.path_depth:
            raise TenchError(
                f"{self._source}: the folder {shown(folder)} is {depth:,} levels deep; at most {limits.path_depth:,} "
                "are read. Move its content further up, or out of the dataset."
            )
        while folder and folder not in self.folders:
            self.folders.add(folder)
            self._folder_characters += len(folder)
            folder = folder.rpartition("/")[0]
        if self._folder_characters > limits.folder_name_bytes:
            raise TenchError(
                f"{self._source}: the paths of the first {len(self.folders):,} folders have more than "
                f"{limits.folder_name_bytes:,} characters in total. Pass the part of it that contains the images."
            )

    def add_member(self, name: str, shard: int, offset: int, length: int) -> None:
        """Add a member of an archive, unless it is junk; folders end in "/", and parent folders need not be members."""
        if not name.isascii():
            name = composed(name)
        folder = name.rpartition("/")[0]
        if folder not in self.folders or name[len(folder) + 1 : len(folder) + 2] == ".":
            parts = name.rstrip("/").split("/")
            if any(part.startswith(".") or part in JUNK for part in parts):
                self._add_hidden(parts, shard, offset, length)
                return
            self.add_folders("/".join(parts[:-1]))
        if name.endswith("/"):
            self.add_folders(name[:-1])
        else:
            self.add(name, shard, offset, length)

    def _add_hidden(self, parts: Sequence[str], shard: int, offset: int, length: int) -> None:
        """Record an image directly in a hidden folder, unless a folder above is hidden too."""
        *above, folder, name = ["", *parts]
        is_hidden = folder.startswith(".") and not name.startswith(".")
        if is_hidden and is_image_name(name) and not any(part.startswith(".") or part in JUNK for part in above):
            path = "/".join([*above[1:], folder])
            self.hidden.setdefault(path, []).append((name, shard, offset, length))

    def add_members(self, archive: str, shard: int, members: Iterable[tuple[str, int, int]]) -> None:
        for member, offset, length in members:
            self.add_member(f"{archive}/{member}", shard, offset, length)

    def tree(
        self,
        source: Path,
        root: Path,
        spool: Path,
        stamp: dict[str, None],
        options: SourceOptions,
        excluded: dict[str, int] | None = None,
    ) -> Tree:
        """The tree of these files without runs and without those that the options exclude; `excluded` counts them by
        pattern."""
        if len(self.names) > self._limits.members:
            raise TenchError(f"{source} has more than {self._limits.members:,} files. Pass a part of it.")
        excluded = dict.fromkeys(options.exclude, 0) if excluded is None else excluded
        kept: Sequence[int] = range(len(self.names))
        folders = sorted(self.folders)
        if runs := run_folders(self.names):
            self.runs += runs
            starts = tuple(f"{run}/" for run in runs)
            kept = [at for at in kept if not self.names[at].startswith(starts)]
            folders = [folder for folder in folders if folder not in runs and not folder.startswith(starts)]
        own = f"{source.name}/" if root == source.parent else ""  # paths in an archive are relative to its root
        if excluded:
            kept = [at for at in kept if not _is_excluded(self.names[at].removeprefix(own), excluded)]
            folders = [folder for folder in folders if not _is_excluded(folder.removeprefix(own), dict(excluded))]
        hidden = {
            folder: found
            for folder, found in self.hidden.items()
            if not _is_excluded(folder.removeprefix(own), dict(excluded))
        }
        order = sorted(kept, key=self.names.__getitem__)
        names = [self.names[position] for position in order]
        if any(map(operator.eq, names, itertools.islice(names, 1, None))):
            last = [name != following for name, following in zip(names, [*names[1:], None], strict=True)]
            self.repeated = list(itertools.compress(names, map(operator.not_, last)))
            order, names = list(itertools.compress(order, last)), list(itertools.compress(names, last))
        taken = np.array(order, np.int64)
        for folder in _emptied(self.runs, names, folders):
            folders.remove(folder)
            stamp.pop(str(root / folder), None)
        return Tree(
            source=source,
            root=root,
            spool=spool,
            names=names,
            folders=folders,
            shards=self.shards,
            shard=np.array(self.shard, np.int32)[taken],
            offset=np.array(self.offset, np.int64)[taken],
            length=np.array(self.length, np.int64)[taken],
            stamp=stamp,
            options=options,
            excluded=excluded,
            limits=self._limits,
            hidden=hidden,
            notes=_runs_note(self.runs),
        )


def _emptied(runs: Sequence[str], names: Sequence[str], folders: Sequence[str]) -> list[str]:
    """The folders above runs in which nothing else is, the innermost first. names, folders: of the rest, sorted."""
    above = {"/".join(parts[:depth]) for run in runs for parts in [run.split("/")] for depth in range(1, len(parts))}
    return [
        folder
        for folder in sorted(above, key=len, reverse=True)
        if folder in folders
        and not names[_below(names, folder)]
        and all(inner in above for inner in folders[_below(folders, folder)])
    ]


def _runs_note(runs: Sequence[str]) -> list[str]:
    # Their number is left out: later runs would change it, but do not make a cached table stale.
    return [f"Left out: run directories of tench, such as {shown(min(runs))}."] if runs else []


def _single(path: Path, spool: Path, options: SourceOptions, limits: Limits) -> Tree:
    files = _Files([str(path)], limits, path)
    with open_regular(path) as file:
        files.add(composed(path.name), 0, 0, os.fstat(file.fileno()).st_size)
    return files.tree(path, path.parent, spool, {str(path): None}, options)


def _walk(path: Path, spool: Path, options: SourceOptions, limits: Limits) -> Tree:
    """All regular files below a folder. Links are followed, but not back to a folder that the link is in.

    Links between folders can create a path for every order of the folders, so the paths to a folder are limited.
    """
    files, stamp = _Files([], limits, path), dict[str, None]()
    back, others, times = list[str](), list[str](), dict[tuple[int, int], int]()
    above = os.stat(path.parent)  # a link to it would add the source's neighbours to this tree
    pending = [(str(path), "", frozenset({(above.st_dev, above.st_ino)}))]
    while pending:
        folder, prefix, inside = pending.pop()
        status = os.stat(folder)
        this = status.st_dev, status.st_ino
        if this in inside:
            back.append(prefix[:-1])
            continue
        times[this] = times.get(this, 0) + 1
        if times[this] > limits.links_to_folder:
            raise TenchError(
                f"{folder}: {os.path.realpath(folder)} is reached by more than {limits.links_to_folder} paths, through "
                "links between folders. Remove the links, or pass a folder without them."
            )
        inside |= {this}
        with os.scandir(folder) as scanned:
            entries = list(scanned)
            if is_run({entry.name for entry in entries}):
                if not prefix:
                    raise TenchError(
                        f"{path} is a run directory, not a dataset. To use its model: tench evaluate {path}, or "
                        f"tench predict {path} IMAGE"
                    )
                files.runs.append(composed(prefix[:-1]))
                continue
            stamp[folder] = None
            files.add_folders(prefix[:-1])
            for entry in entries:
                part = entry.name
                if part.startswith(".") or part in JUNK:
                    _note_hidden(files, entry, prefix)
                    continue
                name = prefix + part
                if not name.isascii():
                    name = composed(name)
                if entry.is_dir():
                    pending.append((entry.path, f"{name}/", inside))
                elif stat.S_ISREG((status := entry.stat()).st_mode):
                    files.add(name, len(files.shards), 0, status.st_size)
                    files.shards.append(entry.path)
                else:
                    others.append(name)
        if len(files.names) > limits.members:
            break  # refused below
    tree = files.tree(path, path, spool, stamp, options)
    if files.repeated:
        raise TenchError(
            f"{path}: two files are called {shown(files.repeated[0])}, one with composed and one with decomposed "
            "accents (Unicode NFC and NFD). Rename or remove one of them."
        )
    if back:
        tree.notes.append(f"Links to a folder above them are not followed: {shown(min(back))} ({len(back):,} in all).")
    if others:
        tree.notes.append(f"Left out named pipes, sockets and devices: {shown(min(others))} ({len(others):,} in all).")
    return tree


def _note_hidden(files: _Files, entry: os.DirEntry[str], prefix: str) -> None:
    """Record the images directly in a hidden folder; an unreadable folder has none."""
    if entry.name.startswith(".") and entry.is_dir():
        with contextlib.suppress(OSError), os.scandir(entry.path) as inner:
            for file in inner:
                if is_image_name(file.name) and not file.name.startswith(".") and file.is_file():
                    found = file.name, len(files.shards), 0, file.stat().st_size
                    files.hidden.setdefault(prefix + entry.name, []).append(found)
                    files.shards.append(file.path)


class _Part(io.RawIOBase):
    """A range of a file on disk as a file object."""

    def __init__(self, path: str, offset: int, length: int) -> None:
        self._file = open_regular(path)
        self._offset, self._length, self._position = offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, begin + position)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        count = max(0, min(len(view), self._length - self._position))
        data = os.pread(self._file.fileno(), count, self._offset + self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _spool_members(archive: zips.Archive, members: Sequence[zips.Member], spooled: Path) -> None:
    """Unpack members one after the other into one file in the cache."""
    num_bytes = sum(member.num_bytes for member in members)
    # Members of a bomb may share their compressed bytes, so the limit depends on the size of the archive.
    refuse_bomb(
        min(archive.size, sum(member.packed_bytes for member in members)), num_bytes, archive.where, archive.limits
    )
    require_space(spooled, num_bytes, archive.where)
    _log.info(
        "%s: %s compressed. Copying %.1f MB once to %s.",
        *(
            archive.where,
            f"{counted(len(members), 'member')} {'is' if len(members) == 1 else 'are'}",
            num_bytes / 1e6,
            spooled,
        ),
    )
    with complete_file(spooled) as part, part.open("wb") as sink:
        for member in members:
            for piece in zips.unpacked(archive, member):
                sink.write(piece)
