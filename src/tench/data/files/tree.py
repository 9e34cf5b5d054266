"""The files of a source by path, and where their bytes lie: of a folder, an archive, or a single file.

A layout knows only names and bytes. Whether `train/n01440764/x.JPEG` is a file on disk, a member of a tar, or of a tar
inside a tar is settled here: an archive, once opened, stands in the tree as a folder of its own name. What cannot be
addressed where it is (deflated zip members, a compressed tar) is spooled into the cache once, its size told first; a
gzip file too big for that gets an index.
"""

import bisect
import concurrent.futures
import contextlib
import dataclasses
import fnmatch
import functools
import glob
import io
import itertools
import logging
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tench.data.files import tar
from tench.data.files.compressed import INDEXED_BYTES, Pread, first_bytes, form_of, spool_compressed
from tench.data.files.gzip_index import build_index, open_indexed
from tench.data.files.names import JUNK, is_image_name
from tench.data.options import NO_OPTIONS, SourceOptions
from tench.data.table import IntArray, Rows
from tench.errors import TenchError
from tench.files import complete_file, require_space

_BEGINNING_BYTES = 2**22
"""So much of a compressed archive is unpacked to see how it begins."""

_BRACES = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<choices>[^{}]*,[^{}]*))\}")
_MAX_PATTERN = 1_000_000
_MAX_THREADS = 16
"""Of those that list archives: on a disk that is not in memory they wait, for one small read after the other."""

_MAX_INFLATION = 100
"""A zip whose deflated members would grow by more than this is no archive of images (deflate can do 1,032)."""
_SMALL_BYTES = 2**28
"""So much may be inflated whatever the ratio."""

_log = logging.getLogger("tench")


@dataclasses.dataclass(frozen=True)
class Tree:
    """The files below a root, in the order of their names' code points.

    source: what was named, a folder or a file. root: what names are relative to, for messages. names: of files, with
    "/". folders: likewise, without the root itself. shards: paths on disk; shard, offset, length: where each file's
    bytes lie. stamp: the files and folders on disk whose size and time tell whether what was read so far has changed;
    it grows as files are read. spool: a folder of ours for bytes that cannot be addressed where they are. indexes: of
    shards that are big gzip files, the file that holds their index; offsets in them count decompressed bytes. options:
    how the person wants the source read. excluded: files left out so far, by pattern of --exclude. notes: for a person.
    hidden: by folder whose name begins with a dot, the images directly in it, which are in no other field: name in the
    folder, index into shards, offset, length.
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
    hidden: dict[str, list[tuple[str, int, int, int]]] = dataclasses.field(default_factory=dict)
    listings: dict[str, list[tuple[str, int, int]]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def index(self, name: str) -> int:
        """The position of a file in `names`. Raises KeyError if there is none of that name."""
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return found

    def top(self) -> list[str]:
        """What lies in the root itself: files, and folders with a "/" at the end."""
        files = [name for name in self.names if "/" not in name]
        return sorted([*files, *(f"{folder}/" for folder in self.folders if "/" not in folder)])

    def children(self, folder: str) -> list[str]:
        """The names of the folders directly in a folder ("" is the root), sorted."""
        start = f"{folder}/" if folder else ""
        return sorted(
            path[len(start) :] for path in self.folders if path.startswith(start) and "/" not in path[len(start) :]
        )

    def span(self, folder: str) -> range:
        """The positions of all files below a folder; they are neighbours in `names`."""
        start = bisect.bisect_left(self.names, f"{folder}/")
        return range(start, bisect.bisect_left(self.names, f"{folder}0", start))  # "0" follows "/"

    def under(self, folder: str) -> "Tree":
        """The part of this tree below a folder, with names from there."""
        part, cut = self.span(folder), len(folder) + 1
        taken = slice(part.start, part.stop)
        hidden = {path[cut:]: files for path, files in self.hidden.items() if path.startswith(f"{folder}/")}
        return dataclasses.replace(
            self,
            root=self.root / folder,
            names=[name[cut:] for name in self.names[taken]],
            folders=[path[cut:] for path in self.folders if path.startswith(f"{folder}/")],
            shard=self.shard[taken],
            offset=self.offset[taken],
            length=self.length[taken],
            hidden=hidden,
        )

    def revealed(self, folders: Iterable[str]) -> "Tree":
        """This tree with some of its hidden folders as folders like any other."""
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
        """The file on disk that a file of the tree is, None where it is a part of one."""
        shard = Path(self.shards[int(self.shard[position])])
        whole = int(self.offset[position]) == 0 and int(self.length[position]) == shard.stat().st_size
        return shard if whole else None

    def place(self, name: str) -> str:
        """A file for an error message: its path, and of a part of an archive where it lies."""
        position = self.index(name)
        shard = self.shards[int(self.shard[position])]
        path, shard = str(self.root / name), self.indexes.get(shard, shard)
        return path if path == shard else f"{path} (in {shard} at byte {int(self.offset[position]):,})"

    def open(self, name: str) -> BinaryIO:
        """A file of the tree for reading and seeking, whatever holds it. What it is read from joins the stamp."""
        position = self.index(name)
        shard = self.shards[int(self.shard[position])]
        self.stamp[shard] = None
        offset, length = int(self.offset[position]), int(self.length[position])
        if shard in self.indexes:
            with open_indexed(Path(self.indexes[shard]), Path(shard)) as packed:
                return io.BytesIO(packed.pread(length, offset))
        try:
            return io.BufferedReader(_Part(shard, offset, length))
        except OSError as error:
            raise TenchError(f"{shard}: cannot be read ({error.strerror}).") from error

    @contextlib.contextmanager
    def reading(self, shard: str) -> Iterator[Pread]:
        """A function like os.pread, (length, offset) -> bytes, on one of the shards: for many small reads."""
        if shard in self.indexes:
            with open_indexed(Path(self.indexes[shard]), Path(shard)) as packed:
                yield packed.pread
        else:
            with open(shard, "rb", buffering=0) as file:
                yield functools.partial(os.pread, file.fileno())

    @contextlib.contextmanager
    def beginning(self, archive: str, count: int) -> Iterator[tuple[list[tuple[str, int, int]], Pread]]:
        """The first members of a tar in the tree, as tar.members gives them, and what reads them.

        Fewer than `count` where the tar ends or is damaged there; none where it is no tar.
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
            with contextlib.suppress(TenchError):  # what comes before the damage tells what it is
                for member in itertools.islice(tar.members(pread, start, end, archive), count):
                    found.append(member)
            yield found, pread

    def read(self, name: str) -> bytes:
        """A whole file of the tree, for small ones. Raises TenchError when it is shorter than it should be."""
        with self.open(name) as file:
            data = file.read()
        if len(data) != self.length[self.index(name)]:
            raise TenchError(f"{self.place(name)}: became shorter while it was read.")
        return data

    def text(self, name: str) -> str:
        """A text file of the tree: UTF-8 with or without a mark; other bytes are kept as question marks."""
        return self.read(name).decode("utf-8-sig", "replace")

    def opened(self, archives: Iterable[str]) -> "Tree":
        """This tree with these archives of it (tar, compressed tar, zip) as folders of the same names, suffix included.

        Raises TenchError for an archive that is damaged or holds what no archive of images does.
        """
        todo = set(archives)
        files = self._files(without=todo)
        names = sorted(todo)
        with concurrent.futures.ThreadPoolExecutor(_MAX_THREADS) as pool:
            for name, members in zip(names, pool.map(self._plain_members, names), strict=True):
                files.folders.add(name)
                if members is None:
                    self._add_archive(files, name)
                else:
                    files.add_members(name, int(self.shard[self.index(name)]), members)
        return self._rebuilt(files)

    def _files(self, without: Collection[str] = ()) -> "_Files":
        """The files of this tree, to add others to."""
        files = _Files(list(self.shards))
        for position, name in enumerate(self.names):
            if name not in without:
                at = int(self.shard[position]), int(self.offset[position]), int(self.length[position])
                files.add(name, *at)
        files.folders.update(self.folders)
        files.hidden.update(self.hidden)
        return files

    def _rebuilt(self, files: "_Files") -> "Tree":
        tree = files.tree(self.source, self.root, self.spool, self.stamp, self.options, self.excluded)
        return dataclasses.replace(tree, notes=self.notes, indexes=self.indexes, listings=self.listings)

    def _plain_members(self, name: str) -> list[tuple[str, int, int]] | None:
        """The members of an archive that is a tar and not compressed, else None."""
        position = self.index(name)
        shard, offset = self.shards[int(self.shard[position])], int(self.offset[position])
        self.stamp[shard] = None
        with self.reading(shard) as pread:
            head = pread(6, offset)
            if _is_zip(head[:4]) or form_of(head) is not None:
                return None
            return list(tar.members(pread, offset, offset + int(self.length[position]), self.place(name)))

    def _add_archive(self, files: "_Files", name: str) -> None:
        """Add what a zip archive or a compressed tar holds."""
        position, where = self.index(name), self.place(name)
        shard, offset, length = (int(column[position]) for column in (self.shard, self.offset, self.length))
        with self.reading(self.shards[shard]) as pread:
            head = pread(6, offset)
            if _is_zip(head[:4]):
                with self.open(name) as archive:
                    _add_zip(files, name, archive, shard, offset, self.spool, where)
            elif form_of(head) == "gzip" and length >= INDEXED_BYTES and (path := self.path(position)):
                index = str(self.spool / f"{name.replace('/', '%')}.index")
                if index not in self.listings:
                    self.listings[index] = build_index(
                        path, Path(index), lambda pread: list(tar.members(pread, 0, None, where))
                    )
                self.indexes[index] = str(path)
                self.stamp[index] = None
                files.shards.append(index)
                files.add_members(name, len(files.shards) - 1, self.listings[index])
            else:
                unpacked = self.spool / f"{name.replace('/', '%')}.unpacked"
                with self.open(name) as archive:
                    size = spool_compressed(archive, where, unpacked)
                self.stamp[str(unpacked)] = None
                files.shards.append(str(unpacked))
                with self.reading(str(unpacked)) as pread_unpacked:
                    members = tar.members(pread_unpacked, 0, size, where)
                    files.add_members(name, len(files.shards) - 1, members)

    def rows(
        self, positions: Sequence[int] | IntArray, label: Sequence[int] | IntArray, key: Sequence[str], **more: Any
    ) -> Rows:
        """These files as rows of a table, each an image."""
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
        position = bisect.bisect_left(self.names, name)
        return position if position < len(self.names) and self.names[position] == name else None


def open_tree(path: Path, spool: Path, options: SourceOptions = NO_OPTIONS) -> Tree:
    """The tree of a folder, of a tar or zip archive, or of any other file by itself (which is then its only name).

    Raises TenchError where something cannot be read.
    """
    try:
        if path.is_dir():
            return _walk(path, spool, options)
        single = _single(path, spool, options)
        if not is_archive(path):
            return single
    except OSError as error:
        link = " It is a link: restore what it leads to, or remove it." if os.path.islink(error.filename or "") else ""
        raise TenchError(f"{error.filename}: cannot be read ({error.strerror}).{link}") from error
    return single.opened([path.name]).under(path.name)


def is_pattern(text: str) -> bool:
    """Whether a path stands for several: `{0000..0127}`, `{a,b}`, `*`, `?`."""
    return bool(_BRACES.search(text)) or any(sign in text for sign in "*?")


def open_pattern(pattern: Path, spool: Path, options: SourceOptions = NO_OPTIONS) -> Tree:
    """The tree of the files that a pattern of paths stands for, with names from the folder that all are in.

    Raises TenchError where a file that the braces count is not there, or nothing matches.
    """
    paths = []
    for text in _expanded(str(pattern)):
        found = sorted(glob.glob(text)) if any(sign in text for sign in "*?") else [text]
        if not found or not os.path.isfile(found[0]):
            raise TenchError(f"{text}: there is no such file; the pattern {pattern} asks for it. Check the numbers.")
        paths += found
    root = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
    files = _Files(list(dict.fromkeys(paths)))
    for number, path in enumerate(files.shards):
        name = os.path.relpath(path, root)
        parts = name.split("/")[:-1]
        files.folders.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        files.add(name, number, 0, os.stat(path).st_size)
    return files.tree(pattern, root, spool, dict.fromkeys(files.shards), options)


def _is_excluded(name: str, excluded: dict[str, int]) -> bool:
    """Whether a pattern matches a file or one of the folders above it; the pattern's count goes up if so.

    A pattern with a "/" is matched with the path from the root, any other with each part of it.
    """
    parts = name.split("/")
    for pattern in excluded:
        found = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)] if "/" in pattern else parts
        if any(fnmatch.fnmatchcase(part, pattern.strip("/")) for part in found):
            excluded[pattern] += 1
            return True
    return False


def _expanded(text: str) -> list[str]:
    """Braces as a shell expands them: numbers keep their leading zeros."""
    found = _BRACES.search(text)
    if found is None:
        return [text]
    before, after = text[: found.start()], text[found.end() :]
    if found["first"] is not None:
        first, last, width = int(found["first"]), int(found["last"]), len(found["first"])
        if last < first or last - first >= _MAX_PATTERN:
            raise TenchError(f"{text}: {found[0]} should count from a number up, over at most {_MAX_PATTERN:,}.")
        choices = [f"{number:0{width}}" for number in range(first, last + 1)]
    else:
        choices = found["choices"].split(",")
    return [whole for choice in choices for whole in _expanded(f"{before}{choice}{after}")]


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not, or a zip archive, by its content."""
    with path.open("rb") as file:
        head = file.read(tar.BLOCK)
        if form_of(head):
            head = first_bytes(file, tar.BLOCK)
    return tar.is_tar(head) or _is_zip(head[:4])


def _is_zip(head: bytes) -> bool:
    return head in (b"PK\x03\x04", b"PK\x05\x06")  # the first member, or the end of one that has none


class _Files:
    """Files of a tree while they are being found, in any order."""

    def __init__(self, shards: list[str]) -> None:
        self.names: list[str] = []
        self.folders: set[str] = set()
        self.shards = shards
        self.shard: list[int] = []
        self.offset: list[int] = []
        self.length: list[int] = []
        self.hidden: dict[str, list[tuple[str, int, int, int]]] = {}

    def add(self, name: str, shard: int, offset: int, length: int) -> None:
        self.names.append(name)
        self.shard.append(shard)
        self.offset.append(offset)
        self.length.append(length)

    def add_member(self, name: str, shard: int, offset: int, length: int) -> None:
        """A member of an archive, unless it is junk; folders end in "/", and those above need not be members."""
        folder = name.rpartition("/")[0]
        if folder not in self.folders or name[len(folder) + 1 : len(folder) + 2] == ".":
            parts = name.rstrip("/").split("/")
            if any(part.startswith(".") or part in JUNK for part in parts):
                self._add_hidden(parts, shard, offset, length)
                return
            self.folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if name.endswith("/"):
            self.folders.add(name[:-1])
        else:
            self.add(name, shard, offset, length)

    def _add_hidden(self, parts: Sequence[str], shard: int, offset: int, length: int) -> None:
        """Note an image directly in a hidden folder, if what lies above that is not hidden."""
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
        """The tree of these files, without those that the options exclude; `excluded` counts them by pattern."""
        excluded = dict.fromkeys(options.exclude, 0) if excluded is None else excluded
        kept: Sequence[int] = range(len(self.names))
        folders = sorted(self.folders)
        own = f"{source.name}/" if root == source.parent else ""  # an archive's paths count from inside of it
        if excluded:
            kept = [at for at in kept if not _is_excluded(self.names[at].removeprefix(own), excluded)]
            folders = [folder for folder in folders if not _is_excluded(folder.removeprefix(own), dict(excluded))]
        hidden = {
            folder: found
            for folder, found in self.hidden.items()
            if not _is_excluded(folder.removeprefix(own), dict(excluded))
        }
        order = sorted(kept, key=self.names.__getitem__)
        return Tree(
            source=source,
            root=root,
            spool=spool,
            names=[self.names[position] for position in order],
            folders=folders,
            shards=self.shards,
            shard=np.array(self.shard, np.int32)[order],
            offset=np.array(self.offset, np.int64)[order],
            length=np.array(self.length, np.int64)[order],
            stamp=stamp,
            options=options,
            excluded=excluded,
            hidden=hidden,
        )


def _single(path: Path, spool: Path, options: SourceOptions) -> Tree:
    files = _Files([str(path)])
    files.add(path.name, 0, 0, path.stat().st_size)
    return files.tree(path, path.parent, spool, {str(path): None}, options)


def _walk(path: Path, spool: Path, options: SourceOptions) -> Tree:
    """All files below a folder, links followed (once: a folder inside itself is not entered again)."""
    files, stamp = _Files([]), dict[str, None]()

    def enter(folder: str, prefix: str, inside: frozenset[tuple[int, int]]) -> None:
        this = os.stat(folder)
        if (this.st_dev, this.st_ino) in inside:
            return
        inside = inside | {(this.st_dev, this.st_ino)}
        stamp[folder] = None
        if prefix:
            files.folders.add(prefix[:-1])
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in JUNK:
                    _note_hidden(files, entry, prefix)
                    continue
                if entry.is_dir():
                    enter(entry.path, f"{prefix}{entry.name}/", inside)
                elif stat.S_ISREG((status := entry.stat()).st_mode):
                    files.add(prefix + entry.name, len(files.shards), 0, status.st_size)
                    files.shards.append(entry.path)

    above = os.stat(path.parent)  # a link to there would bring its neighbours into this tree
    enter(str(path), "", frozenset({(above.st_dev, above.st_ino)}))
    return files.tree(path, path, spool, stamp, options)


def _note_hidden(files: _Files, entry: os.DirEntry[str], prefix: str) -> None:
    """Note the images directly in a hidden folder; without rights to it there are none to know of."""
    if entry.name.startswith(".") and entry.is_dir():
        with contextlib.suppress(OSError), os.scandir(entry.path) as inner:
            for file in inner:
                if is_image_name(file.name) and not file.name.startswith(".") and file.is_file():
                    found = file.name, len(files.shards), 0, file.stat().st_size
                    files.hidden.setdefault(prefix + entry.name, []).append(found)
                    files.shards.append(file.path)


class _Part(io.RawIOBase):
    """A range of bytes of a file on disk, as a file."""

    def __init__(self, path: str, offset: int, length: int) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._offset, self._length, self._position = offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, begin + position)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        count = max(0, min(len(view), self._length - self._position))
        data = os.pread(self._descriptor, count, self._offset + self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def _add_zip(files: _Files, name: str, archive: BinaryIO, shard: int, base: int, spool: Path, where: str) -> None:
    """The members of a zip archive: stored ones where they lie, deflated ones spooled once, together."""
    deflated = []
    try:
        listing = zipfile.ZipFile(archive)
        archive_bytes = archive.seek(0, os.SEEK_END)
        for info in listing.infolist():
            member = tar.inside(info.filename, where)
            if info.flag_bits & 1:
                raise TenchError(f"{where}: {info.filename!r} is encrypted. Unpack the archive, and give the folder.")
            if stat.S_ISLNK(info.external_attr >> 16):
                raise TenchError(
                    f"{where}: {info.filename!r} is a symbolic link. Only files and folders are read from archives: "
                    "unpack this one where you trust it, and give the folder."
                )
            if info.is_dir():
                files.add_member(f"{name}/{member}/", shard, 0, 0)
            elif info.compress_type == zipfile.ZIP_STORED:
                archive.seek(info.header_offset)
                local = archive.read(30)
                start = info.header_offset + 30 + sum(struct.unpack_from("<HH", local, 26))
                if local[:4] != b"PK\x03\x04" or start + info.file_size > archive_bytes:
                    raise zipfile.BadZipFile(f"the header of {info.filename!r} is damaged")
                files.add_member(f"{name}/{member}", shard, base + start, info.file_size)
            else:
                deflated.append((f"{name}/{member}", info))
        if deflated:
            _spool_members(files, listing, deflated, spool / f"{name.replace('/', '%')}.inflated", where)
    except (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, EOFError) as error:
        raise TenchError(
            f"{where}: the zip archive is damaged or cut off ({error}). Copy or download it again."
        ) from error


def _spool_members(
    files: _Files, listing: zipfile.ZipFile, deflated: list[tuple[str, zipfile.ZipInfo]], spooled: Path, where: str
) -> None:
    """Inflate members into one file in the cache, one after the other."""
    num_bytes = sum(info.file_size for _, info in deflated)
    packed_bytes = sum(info.compress_size for _, info in deflated)
    if num_bytes > max(_SMALL_BYTES, _MAX_INFLATION * packed_bytes):
        raise TenchError(
            f"{where}: {packed_bytes:,} bytes of it claim to become {num_bytes:,} when inflated, more than "
            f"{_MAX_INFLATION} times as many. This is no archive of images; it is not unpacked."
        )
    require_space(spooled, num_bytes, where)
    _log.info(
        "%s: %d members are compressed: copying %.1f MB once to %s.", where, len(deflated), num_bytes / 1e6, spooled
    )
    number, offset = len(files.shards), 0
    files.shards.append(str(spooled))
    with complete_file(spooled) as part, part.open("wb") as sink:
        for member, info in deflated:
            with listing.open(info) as source:
                shutil.copyfileobj(source, sink)
            files.add_member(member, number, offset, info.file_size)
            offset += info.file_size
