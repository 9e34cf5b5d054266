"""Whether the EXIF orientation of a dataset's images is applied.

Phones store photographs in the orientation of the sensor and tag it, so your own photographs need it. For published
datasets the tag is ignored: published models were trained and evaluated with programs that ignore it.
"""

from typing import Literal

import numpy as np

from tench.data.check.known import is_published
from tench.data.images.image import orientation_of
from tench.data.images.orientation import Exif
from tench.data.table import FILE, UPRIGHT, Dataset, Table
from tench.errors import counted

_SAMPLED_IMAGES = 64
_TIFF = (b"II*\0", b"MM\0*")


def resolved(exif: Exif | Literal["auto"], dataset: Dataset) -> Exif:
    """Resolve `auto`: ignore the orientation in published sets and apply it in all others."""
    if exif != "auto":
        return exif
    return "ignore" if is_published(dataset) else "apply"


def oriented(table: Table, exif: Exif) -> Table:
    """The table, with its images read upright if `exif` is `apply`."""
    return table.upright() if exif == "apply" else table


def sentence(table: Table, exif: Exif) -> str:
    """A log line: what is done, and how many images of a sample have an orientation; "" for raw pixels, which cannot
    have one."""
    num_rotated, num_sampled = sampled(table)
    done = "applied" if exif == "apply" else "ignored"
    if not num_sampled:
        return ""
    return (
        f"EXIF orientation: {done}; {num_rotated:,} of a sample of {counted(num_sampled, 'image')} "
        f"{'has' if num_rotated == 1 else 'have'} one."
    )


def sampled(table: Table) -> tuple[int, int]:
    """(images with an orientation other than upright, image files examined), of up to 64 spread over the table."""
    spread = np.linspace(0, len(table) - 1, min(_SAMPLED_IMAGES, len(table))).astype(int).tolist()
    rows = [row for row in spread if table.encoding(row) == FILE and not table.too_large(row)]
    return sum(_is_rotated(table.read(row)) for row in rows), len(rows)


def _is_rotated(data: bytes) -> bool:
    # Pillow turns a TIFF upright by itself, so its orientation can be neither applied nor ignored.
    return not data.startswith(_TIFF) and orientation_of(data) != 1


def is_upright(table: Table) -> bool:
    """Whether the images of the table are read upright."""
    return bool(len(table)) and bool((table.flags & UPRIGHT).all())
