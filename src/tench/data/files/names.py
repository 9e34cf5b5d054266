"""Rules for file names: which are images, which are left out of every tree, and which names an archive may have.

Names are compared in Unicode's composed form (NFC): macOS writes "é" as two characters, other systems as one, and a
list from one system must find the files packed on another. A tree has only composed names, and looks up a name by
its composed form.
"""

import functools
import importlib.util
import re
import unicodedata
from pathlib import Path

from tench.errors import TenchError

HEIF_EXTENSIONS = frozenset({".heic", ".heif"})
"""Suffixes of image files that need the extra `interop`."""


@functools.cache
def reads_heif() -> bool:
    """Whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .jp2 .avif".split()
) | (HEIF_EXTENSIONS if reads_heif() else frozenset())
"""Suffixes of image files, in lower case."""

PREPARED = "prepared.json"
"""The file that `prepare` leaves in a destination, next to the images."""

WORK, PLAN = ".tench-prepare", "plan.json"
"""Hidden folder of an incomplete destination, and the file in it that describes the data being written."""

JUNK = ("__MACOSX", "@eaDir", "lost+found", PREPARED)
"""Names that archivers, file servers and `prepare` leave behind. They are left out, as is every name with a leading
dot."""


_SHOWN = 120
"""Characters of a name to show in a message; in a damaged archive names can have thousands."""
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its suffix."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in EXTENSIONS


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is an incomplete destination of `prepare`."""
    return (folder / WORK / PLAN).exists()


def composed(name: str) -> str:
    """A name in the form used for comparison (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def shown(name: str) -> str:
    """A file name for a message: quoted, without control characters, shortened if long."""
    return repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}... ({len(name):,} characters)"


def inside(name: str, where: str) -> str:
    """An archive member's name without "./" and a final "/"; "" for the archive's root.

    Raises TenchError if a name leads outside the archive's folder, on this or another system. where: the archive.
    """
    if name[1:2] == ":" and _DRIVE.match(name):
        raise _outside(name, where)
    if name and "/." not in name and "//" not in name and "\\" not in name and name[0] not in "./" and name[-1] != "/":
        return name  # the common case
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not name or name[0] in "/\\" or ".." in name.replace("\\", "/").split("/"):
        raise _outside(name, where)
    return "/".join(parts)


def _outside(name: str, where: str) -> TenchError:
    return TenchError(
        f"{where}: the member {shown(name)} is outside the archive's own folder. Such an archive is not read. Pack "
        "it again with relative names."
    )
