"""Files that are written completely or not at all."""

import errno
import os
import re
import secrets
import shlex
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from tench.errors import PassingError, TenchError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading, unbuffered.

    Raises TenchError if it is anything else (a pipe would block, a device may never end), or cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # no effect on regular files
    except OSError as error:
        link = " It is a link: restore its target, or remove it." if os.path.islink(path) else ""
        reason = "it is a socket" if error.errno == errno.ENXIO else error.strerror  # ENXIO: open() on a socket
        raise TenchError(f"{path}: cannot be read ({reason}).{link}") from error
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind != stat.S_IFREG:
            raise TenchError(
                f"{path}: expected a file, found {_KINDS.get(kind, 'something else')}. Pass a file or a folder."
            )
        return cast(BinaryIO, os.fdopen(descriptor, "rb", buffering=0))
    except BaseException:
        os.close(descriptor)
        raise


def is_there(path: str | Path) -> bool:
    """Whether a file or folder exists. Raises PassingError if that is unknown because a folder above it is not
    readable.

    (`exists` of os.path and pathlib call such a file missing, or raise PermissionError, depending on the version.)
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character in the name
        return False
    except OSError as error:
        raise PassingError(f"{path}: cannot be read ({error.strerror}).") from error
    return True


_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")
"""The temporary name of a file that is being written; the group is its final name."""


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` to write to; flush and rename it into place on success, else remove it.

    The file gets the mode that the umask gives a new file, whatever mode its writer chooses (safetensors: 0600).
    Raises TenchError naming `path` if the disk is full.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with full_disk_names(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.touch(exist_ok=False)  # the only thread-safe way to learn the umask
            mode = stat.S_IMODE(part.stat().st_mode)
            yield part
            if stat.S_IMODE(part.stat().st_mode) != mode:
                part.chmod(mode)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


class DiskFullError(TenchError):
    """The disk or the disk quota is full."""


@contextmanager
def full_disk_names(path: str | Path) -> Iterator[None]:
    """Turn the error of a full disk, raised while a file is written in this block, into a DiskFullError naming it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, TenchError) or not (reason := _full_disk(error)):
            raise
        raise DiskFullError(
            f"{path}: cannot be written: {reason}. Free some space, or use a larger disk, then run the command again."
        ) from error


_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be too large",
}
_SAYS_FULL = re.compile(rf"\(os error ({'|'.join(map(str, _FULL))})\)|No space left on device")
"""The texts of library errors without an errno: safetensors, HDF5."""


def _full_disk(error: BaseException) -> str | None:
    """Why the disk is full, if the error or one of its causes says so."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in _FULL:
            return _FULL[chain.errno]
        if found := _SAYS_FULL.search(str(chain)):
            return _FULL[int(found[1] or errno.ENOSPC)]
        chain = chain.__cause__ or chain.__context__
    return None


def remove_parts(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove the temporary files that `complete_file` leaves in a folder if its process is killed.

    names: final names of the files that were being written; None: all.
    """
    for path in folder.glob(".*.part"):
        found = _PART.fullmatch(path.name)
        if found and (names is None or found[1] in names) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all."""
    with complete_file(path) as part:
        part.write_text(text, encoding="utf-8")


def user_path(path: str | os.PathLike[str]) -> Path:
    """A path from the user, with a leading ~ replaced by the home folder: a shell does not expand --run=~/x.

    Raises UsageError if the home folder is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: the home folder is unknown ({error}). Write the path without ~.") from error


def shell_command(*words: object) -> str:
    """A command to copy into a shell, with words quoted as needed."""
    return shlex.join(map(str, words))


def require_place(path: str | Path, what: str) -> None:
    """Raise UsageError if the file cannot be written. what: "the preview", for messages."""
    folder = user_path(path).absolute().parent
    while not folder.exists():  # missing ones are created
        folder = folder.parent
    if user_path(path).is_dir():
        raise UsageError(f"{path} is a folder, so {what} cannot be written to it. Name a file.")
    try:
        with tempfile.TemporaryFile(dir=folder):  # root ignores permission bits, and /proc mostly does
            pass
    except OSError as error:
        raise UsageError(
            f"{path}: {what} cannot be written there: {folder} is not writable ({error.strerror}). Name another file."
        ) from error


def require_png(path: str | Path, what: str) -> None:
    """Raise UsageError unless the name ends in .png and can be written. what: "the preview", for messages."""
    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"{path}: {what} is written as PNG. Name a file that ends in .png.")
    require_place(path, what)


def write_png(path: str | Path, picture: "Image", what: str) -> None:
    """Write a picture as a PNG, completely or not at all. Raises UsageError if it cannot be written."""
    try:
        with complete_file(user_path(path)) as part:
            picture.save(part, format="PNG")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{path}: {what} cannot be written there ({reason}). Name another file.") from error


def require_space(path: Path, num_bytes: int, where: str) -> None:
    """Raise TenchError unless the disk has room for a file of that size at `path`. Creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if num_bytes > free:
        raise TenchError(
            f"{where}: {num_bytes / 1e9:,.1f} GB must be copied to {path.parent}, but only {free / 1e9:,.1f} GB are "
            "free. Make room there, or set TENCH_CACHE to a folder on a larger disk."
        )


def spreadsheet_cell(value: object) -> object:
    """A value for a CSV file that may be opened in a spreadsheet: text that would be a formula is prefixed with a
    quote.

    Not for files that are read by programs, which would take the quote as part of the name. Source: OWASP, CSV
    injection.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def size_text(num_bytes: int) -> str:
    """A human-readable size: "4.5 kB", "170.5 MB", "155.0 GB"."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:,.1f} {name}"
    return f"{num_bytes / 1e3:,.1f} kB"
