"""Carry out a plan: write shards with many images each, or a tree with one file per image.

Worker threads read, encode and frame images; the calling thread appends them in order; another thread waits for the
disk. Progress is recorded in the journal of the staging folder only once the data is on disk.
"""

import contextlib
import dataclasses
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tench.data.handled import Handled, Policy
from tench.data.images.encode import Encoding
from tench.data.images.image import ImageError, header
from tench.data.prepare.produce import refuse_no_image, stored
from tench.data.prepare.staging import FLUSH_SECONDS, Sink, Staging
from tench.data.prepare.writers import ImageRecord, Shards
from tench.data.table import IntArray, Table
from tench.files import full_disk_names
from tench.parallel import in_order

Done = Callable[[int], None]
"""Called with the number of images done since the last call."""

TREE = "tree"
"""The journal's name for all the files of a tree."""

_HEADER_BYTES = 2**16
"""Bytes read from a linked file to verify that it is an image."""

_PIECE_BYTES, _PIECE_ROWS = 4 * 2**20, 64
"""Maximum number of source bytes and rows in one task of a thread."""


@dataclasses.dataclass(frozen=True)
class ShardFile:
    """One file of many images: its name, and the rows of a split in storage order."""

    name: str
    split: str
    rows: IntArray


@dataclasses.dataclass(frozen=True)
class Images:
    """The images to write: the tables by split, how to store them, and the policy for bad ones.

    outside: the rows that `outside` found, by split. They are copied, because a hard link would tie the result to a
    file that does not belong to the source.
    """

    tables: Mapping[str, Table]
    how: Encoding | None
    bad: Policy
    addressable: bool = False
    outside: Mapping[str, frozenset[int]] = dataclasses.field(default_factory=dict)

    def image(self, split: str, row: int) -> tuple[bytes | None, list[Handled]]:
        """(the bytes to store, None if the image is left out; an entry if it is bad)"""
        table = self.tables[split]
        data, reason = stored(table, row, self.how, self.bad, addressable=self.addressable)
        if not reason:
            return data, []
        done, key, file = "skipped" if data is None else "fixed", table.key(row), table.file(row)
        return data, [Handled(split=split, row=row, key=key, file=file, reason=reason, done=done)]


def write_shards(
    files: Sequence[ShardFile], images: Images, layout: Shards, staging: Staging, threads: int, advance: Done
) -> None:
    """Write all files that are not complete."""

    def framed(piece: tuple[str, IntArray]) -> tuple[list[bytes], list[Handled]]:
        split, rows = piece
        buffers, all_bad = list[bytes](), list[Handled]()
        for row in rows.tolist():
            data, bad = images.image(split, row)
            all_bad += bad
            if data is not None:
                buffers += layout.frame(_record(images, layout, split, row, data))
        return buffers, all_bad

    def pieces() -> Iterator[tuple[str, IntArray]]:
        for file, sink in zip(files, sinks, strict=True):
            if not sink.is_complete:
                lengths = images.tables[file.split].lengths
                yield from ((file.split, rows) for rows in _pieces(file.rows[sink.rows :], lengths))

    sinks = [Sink(staging, file.name) for file in files]
    with contextlib.closing(in_order(framed, pieces(), threads=threads, name="prepare")) as results:
        for file, sink in zip(files, sinks, strict=True):
            if sink.is_complete:
                continue
            with sink:
                while sink.rows < len(file.rows):
                    (_, rows), (buffers, bad) = next(results)
                    sink.add(len(rows), buffers, bad)
                    advance(len(rows))
                sink.complete(layout.end)
    staging.finish()


def _record(images: Images, layout: Shards, split: str, row: int, data: bytes) -> ImageRecord:
    table, info = images.tables[split], None
    if layout.needs_info:
        try:
            info = header(data)
        except ImageError as error:
            raise ImageError(
                f"{table.place(row)}: {error}. The layout stores the image's size, which is unknown.",
                "Leave it out with --bad skip. 'tench check SOURCE' names every bad image.",
            ) from error
    return ImageRecord(split, row, data, info, table.boxes(row) if table.has_boxes else None)


def write_tree(
    paths: Mapping[str, Sequence[str]],
    images: Images,
    link: str,
    staging: Staging,
    threads: int,
    advance: Done,
) -> None:
    """Write a file for each row. paths: of all rows by split, below the destination. link: hard, symbolic or copy."""
    order = [(split, row) for split, of_split in paths.items() for row in range(len(of_split))]
    done, _ = staging.done(TREE)
    dest = staging.dest
    if not done:  # from here on, files with their final names belong to this plan
        staging.note(TREE, 0, 0, [])
    for folder in sorted({os.path.dirname(paths[split][row]) for split, row in order}):
        (dest / folder).mkdir(parents=True, exist_ok=True)

    def place(piece: Sequence[tuple[str, int]]) -> list[Handled]:
        all_bad = list[Handled]()
        for split, row in piece:
            table, path = images.tables[split], dest / paths[split][row]
            if link != "copy" and can_link(images, split) and row not in images.outside.get(split, ()):
                refuse_no_image(table, row, table.start(row, _HEADER_BYTES))
                if _linked(table, row, path, link):
                    continue
            data, bad = images.image(split, row)
            all_bad += bad
            if data is not None:
                _write(staging.folder / f"{threading.get_ident()}.part", path, data)
        return all_bad

    def pieces() -> Iterator[Sequence[tuple[str, int]]]:
        for start in range(done, len(order), _PIECE_ROWS):
            yield order[start : start + _PIECE_ROWS]

    bad, flushed_at = list[Handled](), time.monotonic()
    with contextlib.closing(in_order(place, pieces(), threads=threads, name="prepare")) as results:
        for piece, piece_bad in results:
            done += len(piece)
            bad += piece_bad
            advance(len(piece))
            if time.monotonic() - flushed_at > FLUSH_SECONDS or done == len(order):
                staging.later(_synced(staging, done, bad))
                bad, flushed_at = [], time.monotonic()
    staging.finish()


def _synced(staging: Staging, done: int, bad: Sequence[Handled]) -> Callable[[], None]:
    """Work that flushes all files to disk and records it in the journal."""

    def work() -> None:
        os.sync()  # fsync for each of a million files would take hours
        staging.note(TREE, done, 0, bad)

    return work


def can_link(images: Images, split: str) -> bool:
    """Whether the images of a split are separate files that keep their bytes."""
    table = images.tables[split]
    untouched = images.how is None and images.bad == "fail" and not images.addressable
    return untouched and table.file_per_row and not table.indexes


def outside(table: Table, roots: Sequence[str]) -> frozenset[int]:
    """The rows whose files are outside the source, reached through symbolic links in it.

    table: each row is a whole file. roots: the folders of the source, as real paths.
    """
    starts, folders = tuple(f"{root.rstrip('/')}/" for root in roots), dict[str, str]()
    found = []
    for row in range(len(table)):
        path = table.shard(row)
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        real = os.path.realpath(path) if os.path.islink(path) else os.path.join(folders[folder], name)
        if not real.startswith(starts):
            found.append(row)
    return frozenset(found)


def _linked(table: Table, row: int, path: Path, link: str) -> bool:
    """Link to the row's file; False if the file system does not support it."""
    shard = os.path.realpath(table.shard(row))
    table.check_size(row)
    make = os.link if link == "hard" else os.symlink
    try:
        try:
            make(shard, path)
        except FileExistsError:  # left over from a killed process
            path.unlink()
            make(shard, path)
    except OSError as error:
        if link == "hard" and error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            return False
        raise
    return True


def _write(part: Path, path: Path, data: bytes) -> None:
    with full_disk_names(path):
        try:
            part.write_bytes(data)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _pieces(rows: IntArray, lengths: IntArray) -> Iterator[IntArray]:
    """Split rows into tasks of at most _PIECE_ROWS rows and about _PIECE_BYTES bytes."""
    start = num_bytes = 0
    for position, length in enumerate(lengths[rows].tolist()):
        if position > start and (num_bytes + length > _PIECE_BYTES or position - start == _PIECE_ROWS):
            yield rows[start:position]
            start, num_bytes = position, 0
        num_bytes += length
    if start < len(rows):
        yield rows[start:]
