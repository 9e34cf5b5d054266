"""Download one published file by HTTP, resume an interrupted download, and verify it before it gets its name.

A file is written as FILE.part and gets its final name when its size and MD5 are the published ones. Only that checksum
decides whether a file is accepted, so any mirror can be used, and an interrupted download is resumed by HTTP Range,
even from another mirror. Source: RFC 9110, sections 13.1.5 (If-Range) and 14.

Pooch, the usual library, and torchvision's own helpers start again after an interruption, so a file of gigabytes may
never arrive over a poor connection. They would replace only the request itself, about 20 lines.
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
"""A connection that sends nothing for this long is treated as lost."""
_PAUSES_SECONDS = (1.0, 4.0, 15.0)
"""Pauses before each retry after an attempt that received nothing new."""

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
    """Download the published file with this MD5 (hexadecimal) to `path`, from the first address that has it.

    An existing file is kept if it has this MD5. num_bytes: its published size; None: use the server's. timeout_seconds:
    how long a connection may send nothing before it is treated as lost. pauses_seconds: before each retry at an address
    after an attempt that received nothing new. Raises TenchError if no address has the file, if the disk is full, or if
    another file is in its place.
    """
    if path.exists():
        if (found := _md5_of(path)) != md5:
            raise TenchError(
                f"{path} already exists, but its MD5 is {found}; the published file's is {md5}. It is "
                "damaged or belongs to another set. Move or remove it and run the same command again, or name another "
                "folder."
            )
        _log.info("%s: already downloaded, with the published MD5.", path)
        return
    try:
        with _Part(path, num_bytes) as part:
            try:
                _have_right(addresses, part, md5, timeout_seconds, pauses_seconds)
            except KeyboardInterrupt:
                _log.info("%s: %s are kept; the same command resumes the download.", part.path, part.arrived)
                raise
            part.becomes(path)
    except OSError as error:
        raise TenchError(
            f"{error.filename or path}: cannot be written ({error.strerror}). The download so far is kept. When that "
            "is fixed, run the same command again."
        ) from error
    _log.info("%s: complete, with the published MD5.", path)


class _PassingError(Exception):
    """A connection failed in a way that may be temporary: try the address again."""


class _MirrorError(Exception):
    """An address does not have the file; another may."""


class _Part:
    """A partial download, kept next to the file as FILE.part; its checksum is computed as it grows.

    FILE.part.from stores the address it came from and that server's validator (ETag or time), for If-Range.
    published_bytes: the published size of the whole file, None if unknown; total_bytes: the published size, else the
    one that a server has stated, None until then.
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
        """The progress for messages, "1.0 MB of 9.9 MB"."""
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
            count = self._file.write(rest)  # may be short on a nearly full disk
            self._md5.update(rest[:count])
            self.num_bytes += count
            rest = rest[count:]

    def clear(self) -> None:
        self._file.truncate(0)
        self._origin.unlink(missing_ok=True)
        self._md5 = _new_md5()
        self.num_bytes = 0

    def begin(self, address: str, mark: str) -> None:
        """Start again, for a file with this validator from this address."""
        self.clear()
        write_text(self._origin, f"{address}\n{mark}\n")

    def mark(self, address: str) -> str:
        """The validator from the server at this address, if the download began there; else ""."""
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
    """Complete the part until it has this MD5, trying one address after the other."""
    if part.is_whole and part.md5() != md5:
        _log.info("%s: removed, because it is not a part of this file.", part.path)
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
                raise _MirrorError(f"has a file whose MD5 is {found}; the published file's is {md5}")
        except _MirrorError as error:
            _log.info("%s: %s.", address, error)
            if resumed and not part.num_bytes:  # the older part may be wrong, so try this address once more
                _log.info("%s: starting again.", address)
                todo.insert(0, address)
            else:
                problems.append(f"{address}: {error}")


def _have_all(address: str, part: _Part, timeout_seconds: float, pauses_seconds: Sequence[float]) -> None:
    """Fetch the rest of the file, over as many connections as necessary while each receives something new."""
    furthest, failures = part.num_bytes, 0
    part.total_bytes = part.published_bytes  # another mirror may have stated another size
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
    """Append the bytes from one connection to the part."""
    if part.total_bytes is not None:
        require_room(part.path.parent, part.total_bytes - part.num_bytes, address)
    request = urllib.request.Request(address, headers={"User-Agent": "tench", "Accept-Encoding": "identity"})
    if part.num_bytes:
        request.add_header("Range", f"bytes={part.num_bytes}-")
        if mark := part.mark(address):
            request.add_header("If-Range", mark)
    try:
        response = urllib.request.build_opener().open(
            request, timeout=timeout_seconds
        )  # uses the environment's proxies
    except urllib.error.HTTPError as error:
        with error:
            text = f"HTTP {error.code} ({error.reason})"
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.clear()
                raise _PassingError(f"{text}: the server cannot resume there") from error
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
        part.total_bytes = part.num_bytes  # the size is unknown; the checksum shows whether this is all
    if not part.is_whole:
        raise _PassingError(f"the connection ended after byte {part.num_bytes:,} of {total:,}")


def _begin(response: Any, address: str, part: _Part) -> None:
    """Check a server's answer before its content: the rest of the part, or the file from its beginning."""
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):  # a weak tag does not promise the same bytes
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
            raise _PassingError("the file on the server has changed")
        offered_bytes, continued = None if match[2] == "*" else int(match[2]), asked > 0
    if part.published_bytes is None:
        part.total_bytes = offered_bytes
    elif offered_bytes not in (None, part.published_bytes):
        raise _MirrorError(
            f"offers a file of {offered_bytes:,} bytes, but the published one has {part.published_bytes:,}"
        )
    if continued:
        _log.info("%s: resuming after %s.", address, part.arrived)
        return
    if part.num_bytes:
        _log.info("%s: sends the file from its beginning, because it has changed or the server cannot resume.", address)
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
    """The error for a file that no address has."""
    kept = "When that is fixed, run the same command again."
    if part.num_bytes:
        kept = f"{part.arrived} are kept in {part.path}; the same command resumes from there."
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
            f"{what} needs {size_text(num_bytes)} more in {folder}, but only {size_text(free)} are free. Make room "
            "and run the same command again, or name a folder on a larger disk."
        )


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_md5).hexdigest()


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
