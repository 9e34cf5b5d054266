"""Check the files of a dataset: published checksums, CRCs of TFRecords and of zip members.

The images of a folder are not checked here, nor is data that is verified whenever it is unpacked (gzip, deflate). A
published file with a different checksum is not necessarily damaged, because many people repack files: the difference is
only reported. A record or member whose own checksum does not match is damaged.
"""

import dataclasses
import functools
import hashlib
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tench.data.check.known import KNOWN_FILES, Published
from tench.data.formats import tfrecord
from tench.data.table import Stamp
from tench.errors import TenchError
from tench.progress import progress

_BLOCK_BYTES = 2**20
_ZIP_START = b"PK\x03\x04"


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A file with a part that has changed since it was written. reason: which part."""

    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Containers:
    """The findings, in the order of the files. checksums: a sentence for each published file, matching or not.

    unreadable: files that could not be read this time, which says nothing about their content.
    """

    checksums: tuple[str, ...]
    damaged: tuple[Damaged, ...]
    unreadable: tuple[Damaged, ...] = ()


@dataclasses.dataclass(frozen=True)
class _NotRead:
    file: str
    reason: str


_Found = str | Damaged | _NotRead
_Advance = Callable[[int], None]
"""Called with the number of bytes verified since the last call."""


def verify(stamp: Stamp, *, threads: int) -> Containers:
    """Verify the files of a dataset's stamp that have a checksum or CRCs, several at a time."""
    jobs = [job for path, size, _ in stamp if os.path.isfile(path) for job in _jobs(path, size)]
    lock, stopped, done = threading.Lock(), threading.Event(), 0
    total = sum(job.num_bytes for job in jobs)
    with progress("verify files", total // _BLOCK_BYTES, "MiB") as show, ThreadPoolExecutor(threads) as pool:

        def advance(num_bytes: int) -> None:
            nonlocal done
            if stopped.is_set():
                raise TenchError("stopped")
            with lock:
                done, before = done + num_bytes, done
                show(done // _BLOCK_BYTES - before // _BLOCK_BYTES, "")

        try:
            found = [one for part in pool.map(lambda job: job.run(advance), jobs) for one in part]
        finally:  # after Ctrl-C or an error: stop reading
            stopped.set()
    return Containers(
        tuple(one for one in found if isinstance(one, str)),
        tuple(one for one in found if isinstance(one, Damaged)),
        tuple(Damaged(one.file, one.reason) for one in found if isinstance(one, _NotRead)),
    )


@dataclasses.dataclass(frozen=True)
class _Job:
    """The verification of one file. num_bytes: the bytes it reads."""

    path: str
    num_bytes: int
    look: Callable[[str, _Advance], Iterator[_Found]]

    def run(self, advance: _Advance) -> list[_Found]:
        try:
            return list(self.look(self.path, advance))
        except OSError as error:
            return [_NotRead(self.path, f"cannot be read ({error.strerror}).")]
        except zipfile.BadZipFile as error:
            return [Damaged(self.path, f"the zip archive is damaged ({error}). Copy or download it again.")]


def _jobs(path: str, size: int) -> Iterator[_Job]:
    namesakes = [known for known in KNOWN_FILES if f"/{path}".endswith(f"/{known.name}")]
    fitting = [known for known in namesakes if known.num_bytes in (None, size)]
    if namesakes and not fitting:
        yield _Job(path, 0, functools.partial(_other_size, size, namesakes))
    if fitting or any(known.num_bytes == size for known in KNOWN_FILES):
        yield _Job(path, size, functools.partial(_checksum, fitting))
    try:
        with open(path, "rb") as file:
            head = file.read(tfrecord.HEADER_BYTES)
    except OSError as error:
        yield _Job(path, 0, functools.partial(_not_read, error))
        return
    if tfrecord.is_record(head):
        yield _Job(path, size, _records)
    elif head.startswith(_ZIP_START):
        yield _Job(path, size, _members)


def _not_read(error: OSError, path: str, advance: _Advance) -> Iterator[_Found]:
    yield _NotRead(path, f"cannot be read ({error.strerror}).")


def _other_size(size: int, namesakes: list[Published], path: str, advance: _Advance) -> Iterator[_Found]:
    sizes = " or ".join(f"{known.num_bytes:,}" for known in namesakes)
    yield (
        f"{path} is not the published file of this name: it has {size:,} bytes, the published file has {sizes}. It was "
        "truncated or repacked."
    )


def _checksum(namesakes: list[Published], path: str, advance: _Advance) -> Iterator[_Found]:
    """Compare with the checksums of the published files of this name, then look up the checksum among all others."""
    hashes = {"MD5": hashlib.md5(usedforsecurity=False)}
    if any(known.algorithm != "MD5" for known in namesakes):
        hashes["SHA-256"] = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            for one in hashes.values():
                one.update(block)
            advance(len(block))
    found = {algorithm: one.hexdigest() for algorithm, one in hashes.items()}
    right = [known for known in KNOWN_FILES if found.get(known.algorithm) == known.checksum]
    if any(known in namesakes for known in right):
        yield f"{path}: its {right[0].algorithm} matches the published one."
    elif right:
        yield f"{path} has the {right[0].algorithm} of {right[0].name}, so it is that file under another name."
    elif namesakes:
        published = " or ".join(known.checksum for known in namesakes)
        algorithm = namesakes[0].algorithm
        yield (
            f"{path}: its {algorithm} is {found[algorithm]}; the published file of this name has {published}. It is "
            "damaged or was repacked. tench check shows whether its images decode."
        )


def _records(path: str, advance: _Advance) -> Iterator[_Found]:
    with open(path, "rb") as file:
        try:
            for fault in tfrecord.faults(file, path):
                yield Damaged(path, fault.removeprefix(f"{path}: "))
        except TenchError as error:  # no more records can be found
            yield Damaged(path, str(error).removeprefix(f"{path}: "))
    advance(os.path.getsize(path))


def _members(path: str, advance: _Advance) -> Iterator[_Found]:
    """Compare the CRC of each stored member; those of deflated members were compared on unpacking."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                continue
            try:
                with archive.open(info) as member:
                    while block := member.read(_BLOCK_BYTES):
                        advance(len(block))
            except (zipfile.BadZipFile, EOFError) as error:
                yield Damaged(path, f"member {info.filename!r}: {error}. Copy or download the archive again.")
