"""Restart markers for JPEGs that have none, without loss, by libjpeg-turbo's own program `jpegtran`.

Only the coding of the coefficients is written anew: the pixels stay what they are, and so do EXIF data and colour
profiles. A process for each image costs a few milliseconds, once. Progressive JPEGs become sequential ones.
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
"""Pixels of a unit of coding, by simplejpeg's names of the colours' resolution."""


@functools.cache
def program() -> str:
    """The path of jpegtran. Raises UsageError where it is not installed."""
    found = shutil.which("jpegtran")
    if found is None:
        raise UsageError(
            "--addressable rewrites JPEGs with libjpeg-turbo's program jpegtran, which is not found. Install it "
            "(Debian, Ubuntu: apt install libjpeg-turbo-progs; macOS: brew install jpeg-turbo), "
            "or leave the option out."
        )
    return found


def version() -> str:
    """What jpegtran says of itself."""
    return subprocess.run([program(), "-version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr


def made_addressable(data: bytes) -> bytes:
    """A JPEG with the same pixels of which parts can be decoded alone.

    What is no JPEG, has such segments already, exceeds `bounds`, or makes jpegtran complain (damage, a rare form of
    coding) is returned unchanged.
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
