"""Add restart markers to JPEGs without loss, with libjpeg-turbo's program `jpegtran`.

Only the coding of the coefficients is rewritten; pixels, EXIF data and colour profiles stay the same. The price is one
process per image, once. Progressive JPEGs become sequential.
"""

import functools
import shutil
import subprocess

import simplejpeg

from tench.data.images.addressable import interval_of, is_addressable
from tench.data.images.bounds import ImageError, check_scans, check_size
from tench.data.images.image import JPEG_START
from tench.errors import UsageError

_UNIT_WIDTHS = {"444": 8, "440": 8, "Gray": 8, "422": 16, "420": 16, "411": 32}
"""Pixels per unit of coding, by simplejpeg's names of the chroma subsampling."""


@functools.cache
def program() -> str:
    """The path of jpegtran. Raises UsageError if it is not installed."""
    found = shutil.which("jpegtran")
    if found is None:
        raise UsageError(
            "--addressable rewrites JPEGs with libjpeg-turbo's program jpegtran, which is not installed. Install it "
            "(Debian, Ubuntu: apt install libjpeg-turbo-progs; macOS: brew install jpeg-turbo), "
            "or leave the option out."
        )
    return found


def version() -> str:
    """jpegtran's version text."""
    return subprocess.run([program(), "-version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr


def made_addressable(data: bytes) -> bytes:
    """A JPEG with the same pixels, whose parts can be decoded alone.

    Data that are not a JPEG, already have such segments, exceed `bounds`, or make jpegtran complain (damage, a rare
    coding) are returned unchanged.
    """
    if not data.startswith(JPEG_START) or is_addressable(data):
        return data
    try:
        height, width, _, subsampling = simplejpeg.decode_jpeg_header(data)
        check_size(int(height), int(width))
        check_scans(data, int(height), int(width))
        interval = interval_of(int(width), _UNIT_WIDTHS[subsampling])
    except (ValueError, KeyError, ImageError):
        return data
    command = [program(), "-copy", "all", "-optimize", "-restart", f"{interval}B"]
    result = subprocess.run(command, input=data, capture_output=True)
    return result.stdout if result.returncode == 0 and is_addressable(result.stdout) else data
