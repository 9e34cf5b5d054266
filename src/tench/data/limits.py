"""Bounds on what is believed of a file, so that damaged or hostile input costs a stated amount of time and memory.

Real data sets stay far below every number here. A file that exceeds one is refused with the number in the message; it
is never read in part as if it were whole. A tree of files carries its limits to everything that reads it, and a test
can make smaller ones.
"""

import dataclasses
import os
from pathlib import Path

from tench.errors import TenchError
from tench.files import open_regular


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one source may ask for. Bytes are bytes in memory unless the docstring says otherwise."""

    name_bytes: int = 4096
    """Length of a file's path below the root of its source, in UTF-8; Linux itself allows 4,096."""

    path_depth: int = 128
    """Folders above a file. Each folder of a path becomes a name of its own, so depth costs length times depth."""

    folder_name_bytes: int = 2**28
    """The names of all folders of a source together, in characters."""

    members: int = 2**24
    """Files of one source. ImageNet-21k has 14.2 million."""

    header_bytes: int = 2**20
    """The extended (pax) header of one tar member."""

    links_to_folder: int = 64
    """Paths below one source that lead to the same folder on disk through symbolic links."""

    nested_archives: int = 8
    """Archives inside one another, from the outermost to the one that holds an image."""

    listing_bytes: int = 2**31
    """The central directory of a zip archive."""

    member_bytes: int = 2**28
    """A file that a reader needs whole, such as a `.mat` file."""

    text_bytes: int = 2**27
    """A text that is read whole, such as a list of images. ImageNet-1k's take up to 80 MB; short lines cost ten times
    their bytes in memory."""

    annotation_bytes: int = 2**24
    """An annotation or a devkit's list of classes inside an archive."""

    classes_bytes: int = 2**24
    """A text file with one line per class, such as `classes.txt`."""

    image_bytes: int = 2**30
    """One encoded image."""

    classes: int = 1_000_000
    """Classes of a data set, and the largest class number plus one where nothing names the classes."""

    rows: int = 2**24
    """Rows of one table, of which a few bytes can stand for billions."""

    pattern_files: int = 1_000_000
    """Files that a pattern such as `train-{0000..0127}.tar` may stand for."""

    inflation: int = 100
    """Unpacked bytes per compressed byte. Images barely compress; deflate can reach 1,032, bzip2 and xz far more."""

    inflated_bytes: int = 2**28
    """Bytes on disk that may be unpacked whatever the ratio: small images of flat colour do compress well."""

    dictionary_bytes: int = 2**28
    """Memory that an xz, lzma or zstd stream may ask for to be unpacked; `xz -9` needs 65 MB."""

    opcodes: int = 2**22
    """Opcodes of a pickle; the largest batch of CIFAR has about 200,000."""

    nesting: int = 32
    """Levels of lists, dictionaries, cells and structures inside one another in a data file."""

    pixels: int = 178_956_970
    """Height times width of an image that is decoded: Pillow's own limit, half a gigabyte of RGB."""

    decode_bytes: int = 2**31
    """Memory of one decode, all intermediate copies included: 16-bit and RGBA images need several times their RGB."""

    large_decode_bytes: int = 2**29
    """Images whose decode takes more are decoded one at a time, whatever the number of threads."""

    jpeg_scans: int = 100
    """Scans of a progressive JPEG; encoders write about 10, and each costs a pass over the whole image. libtiff has the
    same bound, libjpeg-turbo's fuzzers take 500."""

    child_seconds: float = 60.0
    """Time for a child process that reads a file on our behalf before it is killed."""

    def read_file(self, path: str | Path, what: str, at_most: int | None = None) -> bytes:
        """The bytes of a small file on disk.

        what: what the file should be, for messages ("a class list"). at_most: bytes allowed; `member_bytes` unless told
        otherwise. Raises TenchError if the file is larger, is a pipe or a device, or cannot be read.
        """
        most = self.member_bytes if at_most is None else at_most
        with open_regular(path) as file:
            self.require(os.fstat(file.fileno()).st_size, most, str(path), what)
            data = file.read(most + 1)
        self.require(len(data), most, str(path), what)  # it may grow, and files of /proc say that they are empty
        return data

    def require(self, num_bytes: int, at_most: int, where: str, what: str) -> None:
        """Raise TenchError if a file that would be read whole is larger than a limit."""
        if num_bytes > at_most:
            raise TenchError(
                f"{where}: has {num_bytes:,} bytes, but {what} may have at most {at_most:,}. The file is damaged or is "
                "something else: replace it, or move it out of the data set."
            )


LIMITS = Limits()
"""The limits that hold unless a caller passes others."""
