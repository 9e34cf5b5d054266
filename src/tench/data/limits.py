"""Limits on what a file may claim, so that damaged or hostile input takes bounded time and memory.

Real datasets stay far below every limit. A file that exceeds one is refused, never read in part, and the message states
the limit. A tree of files passes its limits to everything that reads it, and a test can set smaller ones.
"""

import dataclasses
import os
from pathlib import Path

from tench.errors import TenchError
from tench.files import open_regular


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Limits for reading one source. Bytes are bytes in memory unless the docstring says otherwise."""

    name_bytes: int = 4096
    """Length of a file's path below the root of its source, in UTF-8; Linux itself allows 4,096."""

    path_depth: int = 128
    """Folders above a file. Every folder on a path is stored by name, so memory grows with depth times length."""

    folder_name_bytes: int = 2**28
    """Total length of all folder names of a source, in characters."""

    members: int = 2**24
    """Files of one source. ImageNet-21k has 14.2 million."""

    header_bytes: int = 2**20
    """The extended (pax) header of one tar member."""

    links_to_folder: int = 64
    """Paths to the same folder on disk, through symbolic links."""

    nested_archives: int = 8
    """Levels of nested archives, from the outermost to the one that contains an image."""

    listing_bytes: int = 2**31
    """The central directory of a zip archive."""

    member_bytes: int = 2**28
    """A file that a reader loads whole, such as a `.mat` file."""

    text_bytes: int = 2**27
    """A text file that is read whole, such as a list of images. ImageNet-1k's take up to 80 MB; short lines need ten
    times their size in memory."""

    annotation_bytes: int = 2**24
    """An annotation, or a devkit's class list, inside an archive."""

    classes_bytes: int = 2**24
    """A text file with one line per class, such as `classes.txt`."""

    image_bytes: int = 2**30
    """One encoded image."""

    classes: int = 1_000_000
    """Classes of a dataset, and the largest class number plus one if no file names the classes."""

    rows: int = 2**24
    """Rows of one table. A few bytes of input can claim billions."""

    pattern_files: int = 1_000_000
    """Files that a pattern such as `train-{0000..0127}.tar` may expand to."""

    inflation: int = 100
    """Unpacked bytes per compressed byte. Images barely compress; deflate reaches 1,032, bzip2 and xz far more."""

    inflated_bytes: int = 2**28
    """Bytes on disk that may be unpacked at any ratio: small images of flat colour do compress well."""

    dictionary_bytes: int = 2**28
    """Memory that unpacking an xz, lzma or zstd stream may need; `xz -9` needs 65 MB."""

    opcodes: int = 2**22
    """Opcodes of a pickle; the largest batch of CIFAR has about 200,000."""

    nesting: int = 32
    """Depth of nested lists, dictionaries, cells and structures in a data file."""

    pixels: int = 178_956_970
    """Height times width of a decoded image: Pillow's own limit, half a gigabyte as RGB."""

    decode_bytes: int = 2**31
    """Memory of one decode, including intermediate copies: 16-bit and RGBA images need several times the size as
    RGB."""

    large_decode_bytes: int = 2**29
    """Images that need more memory than this are decoded one at a time, whatever the number of threads."""

    jpeg_scans: int = 100
    """Scans of a progressive JPEG. Encoders write about 10, and each costs a pass over the whole image. libtiff has the
    same limit; libjpeg-turbo's fuzzers use 500."""

    child_seconds: float = 60.0
    """Time limit for a child process that reads a file for us."""

    def read_file(self, path: str | Path, what: str, at_most: int | None = None) -> bytes:
        """Return the bytes of a small file on disk.

        what: the kind of file, for messages ("a class list"). at_most: size limit, by default `member_bytes`.
        Raises TenchError if the file is larger, is a pipe or a device, or cannot be read.
        """
        most = self.member_bytes if at_most is None else at_most
        with open_regular(path) as file:
            self.require(os.fstat(file.fileno()).st_size, most, str(path), what)
            data = file.read(most + 1)
        self.require(len(data), most, str(path), what)  # it may have grown, and files in /proc report size 0
        return data

    def require(self, num_bytes: int, at_most: int, where: str, what: str) -> None:
        """Raise TenchError if a file to be read whole is larger than its limit."""
        if num_bytes > at_most:
            raise TenchError(
                f"{where}: the file has {num_bytes:,} bytes, but {what} may have at most {at_most:,}. The file is "
                "damaged or is something else. Replace it, or move it out of the dataset."
            )


LIMITS = Limits()
"""The default limits."""
