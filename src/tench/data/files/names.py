"""What file names tell: images by their suffix, and what is left out of every tree."""

import functools
import importlib.util
from pathlib import Path

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


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its suffix."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in EXTENSIONS


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is a destination of `prepare` that is not complete yet."""
    return (folder / WORK / PLAN).exists()
