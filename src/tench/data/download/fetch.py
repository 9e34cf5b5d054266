"""One published file by HTTP: continued where a download stopped, and checked before it gets its name.

A file arrives as FILE.part and gets its own name when its size and MD5 are those its publisher gives. Whatever a
server answers, that checksum decides, so any mirror will do, and what was interrupted is continued by HTTP Range, from
another mirror too. Source: RFC 9110, sections 13.1.5 (If-Range) and 14.

Pooch, the usual library, and torchvision's own helpers begin again after an interruption, which for a file of gigabytes
on a poor line means never to arrive. What they would replace here is the request itself, about 20 lines.
"""

import hashlib
import http.client
import logging
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tench.errors import TenchError
from tench.files import size_text, write_text
from tench.progress import progress

_BLOCK_BYTES = 2**18
_TIMEOUT_SECONDS = 30.0
"""Without a byte for so long, a connection counts as lost."""
_PAUSES_SECONDS = (1.0, 4.0, 15.0)
"""Pauses before retries after an attempt that received nothing new."""

_log = logging.getLogger("tench")


def fetch(
    addresses: Sequence[str],
    path: Path,
    *,
    md5: str,
    num_bytes: int | None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
    pauses_seconds: Sequence[float] = _PAUSES_SECONDS,
) -> None:
    """Download the published file of this MD5 (hexadecimal) to `path`, from the first address that gives it.

    A file that is already there is kept if it has this MD5. num_bytes: its published size; None: what the server says.
    timeout_seconds: how long a connection may send nothing before it counts as lost. pauses_seconds: before each new
    try at an address after one that brought nothing new. Raises TenchError if no address gives the file, if the disk is
    full, and if another file is in its place.
    """
    if path.exists():
        if (found := _md5_of(path)) != md5:
            raise TenchError(
                f"{path}: already exists, but its MD5 is {found}; the published file's is {md5}. It is "
                "damaged or belongs to another set. Move or remove it and run the same command again, or name another "
                "folder."
            )
        _log.info("%s: already there, with the published MD5; kept.", path)
        return
    try:
        with _Part(path, num_bytes) as part:
            try:
                _have_right(addresses, part, md5, timeout_seconds, pauses_seconds)
            except KeyboardInterrupt:
                _log.info("%s: %s are kept; the same command continues.", part.path, part.arrived)
                raise
            part.becomes(path)
    except OSError as error:
        raise TenchError(
            f"{error.filename or path}: cannot be written ({error.strerror}). The download so far is kept. When that "
            "is fixed, run the same command again."
        ) from error
    _log.info("%s: complete, with the published MD5.", path)


class _PassingError(Exception):
    """A connection failed in a way that may pass: try the address again."""


class _MirrorError(Exception):
    """An address does not give the file; another may."""


class _Part:
    """A partial download, kept beside the file as FILE.part; its checksum is computed as it grows.

    FILE.part.from remembers the address it came from and how that marked its file (ETag or time): for If-Range.
    published_bytes: the size of the whole file, None if only a server knows it; total_bytes: either, None until one
    has told it.
    """

    def __init__(self, path: Path, published_bytes: int | None) -> None:
        self.published_bytes = self.total_bytes = published_bytes
        self.path = path.with_name(f"{path.name}.part")
        self._origin = path.with_name(f"{path.name}.part.from")
        self._md5 = _new_md5()
        self.num_bytes = 0
        self._file = self.path.open("a+b", buffering=0)
        try:
            self._file.seek(0)
            while block := self._file.read(_BLOCK_BYTES):
                self._md5.update(block)
                self.num_bytes += len(block)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "_Part":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if not self.num_bytes:
            self.path.unlink(missing_ok=True)
            self._origin.unlink(missing_ok=True)

    @property
    def arrived(self) -> str:
        """For messages: how much of the file is here, "1.0 MB of 9.9 MB"."""
        whole = f" of {size_text(self.total_bytes)}" if self.total_bytes is not None else ""
        return f"{size_text(self.num_bytes)}{whole}"

    @property
    def is_whole(self) -> bool:
        return self.total_bytes is not None and self.num_bytes >= self.total_bytes

    def md5(self) -> str:
        return str(self._md5.hexdigest())

    def write(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            count = self._file.write(rest)  # less than all of it on a disk that is nearly full
            self._md5.update(rest[:count])
            self.num_bytes += count
            rest = rest[count:]

    def clear(self) -> None:
        self._file.truncate(0)
        self._origin.unlink(missing_ok=True)
        self._md5 = _new_md5()
        self.num_bytes = 0

    def begin(self, address: str, mark: str) -> None:
        """Empty it, for a file that the server at this address marks so."""
        self.clear()
        write_text(self._origin, f"{address}\n{mark}\n")

    def mark(self, address: str) -> str:
        """How the server at this address marked the file when it was begun from there; else ""."""
        lines = self._origin.read_text("utf-8", "replace").splitlines() if self._origin.exists() else []
        return lines[1] if len(lines) == 2 and lines[0] == address else ""

    def becomes(self, path: Path) -> None:
        os.fsync(self._file.fileno())
        self.path.replace(path)
        self._origin.unlink(missing_ok=True)


def _have_right(
    addresses: Sequence[str],
    part: _Part,
    md5: str,
    timeout_seconds: float,
    pauses_seconds: Sequence[float],
) -> None:
    """Make the part the file of this MD5, from one address after the other."""
    if part.is_whole and part.md5() != md5:
        _log.info("%s: is not a part of this file; removed.", part.path)
        part.clear()
    todo, problems = list(addresses), list[str]()
    while part.md5() != md5:
        if not todo:
            raise TenchError(*_failed(part, problems))
        address, resumed = todo.pop(0), part.num_bytes > 0
        try:
            _have_all(address, part, timeout_seconds, pauses_seconds)
            if (found := part.md5()) != md5:
                part.clear()
                raise _MirrorError(f"gives a file whose MD5 is {found}; the published file's is {md5}")
        except _MirrorError as error:
            _log.info("%s: %s.", address, error)
            if resumed and not part.num_bytes:  # the older part may be to blame, so the address gets one more chance
                _log.info("%s: beginning anew.", address)
                todo.insert(0, address)
            else:
                problems.append(f"{address}: {error}")


def _have_all(address: str, part: _Part, timeout_seconds: float, pauses_seconds: Sequence[float]) -> None:
    """Make the part as long as the file, over as many connections as it takes while each brings something new."""
    furthest, failures = part.num_bytes, 0
    part.total_bytes = part.published_bytes  # another mirror may have told another size
    while not part.is_whole:
        try:
            _transfer(address, part, timeout_seconds)
        except _PassingError as error:
            if part.num_bytes > furthest:
                furthest, failures = part.num_bytes, 0
            if failures == len(pauses_seconds):
                raise _MirrorError(f"{error}, after {failures + 1} tries") from error
            pause = pauses_seconds[failures]
            failures += 1
            _log.info("%s: %s. Try %d in %g s.", address, error, failures + 1, pause)
            time.sleep(pause)


def _transfer(address: str, part: _Part, timeout_seconds: float) -> None:
    """Add to the part what one connection brings."""
    if part.total_bytes is not None:
        require_room(part.path.parent, part.total_bytes - part.num_bytes, address)
    request = urllib.request.Request(address, headers={"User-Agent": "tench", "Accept-Encoding": "identity"})
    if part.num_bytes:
        request.add_header("Range", f"bytes={part.num_bytes}-")
        if mark := part.mark(address):
            request.add_header("If-Range", mark)
    try:
        response = urllib.request.build_opener().open(request, timeout=timeout_seconds)  # proxies as in the environment
    except urllib.error.HTTPError as error:
        with error:
            text = f"HTTP {error.code} ({error.reason})"
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.clear()
                raise _PassingError(f"{text}: it does not continue there") from error
            passing = error.code >= 500 or error.code in (http.HTTPStatus.REQUEST_TIMEOUT, 429)
            raise (_PassingError if passing else _MirrorError)(text) from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        kind = _MirrorError if isinstance(reason, ssl.SSLCertVerificationError) else _PassingError
        raise kind(_said(reason, timeout_seconds)) from error
    with response:
        _begin(response, address, part)
        total, shown = part.total_bytes, part.num_bytes // 1000
        if part.published_bytes is None and total is not None:
            require_room(part.path.parent, total - part.num_bytes, address)
        with progress(part.path.stem, (total or 0) // 1000, "kB", done=shown) as advance:
            while block := _next_block(response, timeout_seconds):
                if total is not None and part.num_bytes + len(block) > total:
                    part.clear()
                    raise _MirrorError(f"sends more than the {total:,} bytes of the published file")
                part.write(block)
                advance(part.num_bytes // 1000 - shown, "")
                shown = part.num_bytes // 1000
    if total is None:
        part.total_bytes = part.num_bytes  # nobody told the size; the checksum tells whether this is all
    if not part.is_whole:
        raise _PassingError(f"the connection ended after byte {part.num_bytes:,} of {total:,}")


def _begin(response: Any, address: str, part: _Part) -> None:
    """Judge what a server answers before its content: a continuation of the part, or the file from its beginning."""
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):  # a weak one does not promise the same bytes
        tag = response.headers.get("Last-Modified", "")
    offered_bytes, continued = response.length, False
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        asked, answer = part.num_bytes, response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer)
        if not match or int(match[1]) != asked:
            part.clear()
            raise _PassingError(f"asked for the file from byte {asked:,}, but the server answered {answer!r}")
        if tag and part.mark(address) not in ("", tag):
            part.clear()
            raise _PassingError("the file has changed there")
        offered_bytes, continued = None if match[2] == "*" else int(match[2]), asked > 0
    if part.published_bytes is None:
        part.total_bytes = offered_bytes
    elif offered_bytes not in (None, part.published_bytes):
        raise _MirrorError(
            f"offers a file of {offered_bytes:,} bytes, but the published one has {part.published_bytes:,}"
        )
    if continued:
        _log.info("%s: continuing after %s.", address, part.arrived)
        return
    if part.num_bytes:
        _log.info("%s: gives the file from its beginning: it has changed, or cannot be continued.", address)
    else:
        size = "size unknown" if part.total_bytes is None else size_text(part.total_bytes)
        _log.info("%s: %s.", address, size)
    part.begin(address, tag)


def _next_block(response: Any, timeout_seconds: float) -> bytes:
    try:
        block: bytes = response.read1(_BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(_said(error, timeout_seconds)) from error
    return block


def _said(error: object, timeout_seconds: float) -> str:
    """The reason of a failed connection, in a few words."""
    if isinstance(error, TimeoutError):
        return f"no answer for {timeout_seconds:g} s"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _failed(part: _Part, problems: Sequence[str]) -> list[str]:
    """The lines of an error."""
    kept = "When that is fixed, run the same command again."
    if part.num_bytes:
        kept = f"{part.arrived} have arrived and are kept in {part.path}; the same command continues from there."
    return [
        f"{part.path.stem}: could not be downloaded.",
        *(f"  {problem}." for problem in problems),
        f"{kept} Proxies are taken from the environment (https_proxy); TENCH_MIRROR names another base address to "
        "download from.",
    ]


def require_room(folder: Path, num_bytes: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise TenchError(
            f"{what}: needs {size_text(num_bytes)} more in {folder}, but only {size_text(free)} are free. Make room "
            "and run the same command again, or name a folder on a larger disk."
        )


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_md5).hexdigest()


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
