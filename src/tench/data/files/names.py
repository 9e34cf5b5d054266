"""What file names tell: images by their suffix, what is left out of every tree, and which names an archive may have.

Names are compared in Unicode's composed form (NFC): macOS writes "é" as two characters where other systems write one,
and a list made on one system must find the files packed on another. A tree has composed names only, and looks a name
up by its composed form.
"""

import functools
import importlib.util
import re
import unicodedata
from pathlib import Path

from tench.errors import TenchError

HEIF_EXTENSIONS = frozenset({".heic", ".heif"})
"""Suffixes of image files that only the extra `interop` decodes."""


@functools.cache
def reads_heif() -> bool:
    """Whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm .jp2 .avif".split()
) | (HEIF_EXTENSIONS if reads_heif() else frozenset())
"""Suffixes of image files, in lower case."""

PREPARED = "prepared.json"
"""What `prepare` leaves in a destination, beside the images."""

WORK, PLAN = ".tench-prepare", "plan.json"
"""Hidden folder of a destination that is not complete yet, and the file in it that says what is being written."""

JUNK = ("__MACOSX", "@eaDir", "lost+found", PREPARED)
"""What archivers, file servers and `prepare` leave behind. It is left out, as is every name that begins with a dot."""


_SHOWN = 120
"""Characters of a name that a message shows; a damaged archive can have names of thousands."""
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its suffix."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in EXTENSIONS


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is a destination of `prepare` that is not complete yet."""
    return (folder / WORK / PLAN).exists()


def composed(name: str) -> str:
    """A name in the form in which names are compared (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def shown(name: str) -> str:
    """A name of a stranger's file for a message: quoted, without control characters, cut if it is long."""
    return repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}... ({len(name):,} characters)"


def inside(name: str, where: str) -> str:
    """An archive member's name without "./" and a final "/"; "" for the archive's root itself.

    Raises TenchError for a name that leads outside the archive's folder, on this or another system. where: the archive.
    """
    if name[1:2] == ":" and _DRIVE.match(name):
        raise _outside(name, where)
    if name and "/." not in name and "//" not in name and "\\" not in name and name[0] not in "./" and name[-1] != "/":
        return name  # nearly every name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not name or name[0] in "/\\" or ".." in name.replace("\\", "/").split("/"):
        raise _outside(name, where)
    return "/".join(parts)


def _outside(name: str, where: str) -> TenchError:
    return TenchError(
        f"{where}: the member {shown(name)} lies outside the archive's own folder. Such an archive is not read: pack "
        "it again with relative names."
    )
