"""The byte ranges of images in a Parquet file, and the columns next to them.

In uncompressed pages an image is stored verbatim, after its length. It is searched for after the previous one,
compared byte by byte, and addressed in place. All other files (compressed, as most are, or with an encoding for which
this fails, such as a dictionary that stores an image once for two rows) are copied once, after checking for space.
Only one page of the file and a few images are in memory. Page checksums are verified if present.
Source: Encodings.md of Apache Parquet (PLAIN, byte arrays).
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from tench.data.files.compressed import refuse_bomb
from tench.data.files.names import shown
from tench.data.files.tree import Tree
from tench.data.formats.columns import NO_LABEL, ImageFile, columns_of
from tench.data.limits import Limits
from tench.data.options import RecordKeys
from tench.errors import TenchError, counted
from tench.files import complete_file, require_space

if TYPE_CHECKING:
    from pyarrow import parquet

DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""pyarrow's errors for a file that is damaged, or has names that are not UTF-8."""

_BATCH = 64
"""Images in memory at the same time, in addition to their page."""
_BUFFER_BYTES = 2**20
_HEADER_BYTES = 2**16
"""An upper bound for the page headers between two images."""
_MAX_GROWTH = 2
_SMALL_BYTES = 2**28
"""A dictionary may store an image once for several rows, so the images may have _MAX_GROWTH times the bytes that the
file states, or _SMALL_BYTES if that is more."""
_SMALL_ROWS = 10_000
"""Rows that are accepted whatever the size of the images."""
_PATH_ROWS = 4096
"""Paths read at a time, because all rows of a page may share one long path."""

_SHOWN = 300
"""Characters shown of pyarrow's messages, which can quote the file."""

_log = logging.getLogger("tench")


def open_file(tree: Tree, name: str) -> ImageFile:
    """A file without its images. Raises TenchError if it is damaged or lacks the columns."""
    where = tree.place(name)
    try:
        with tree.open(name) as stream:
            file_bytes, keys = int(tree.length[tree.index(name)]), tree.options.record_keys()
            return _opened(_parquet(stream), name, where, keys, file_bytes, tree.limits)
    except DAMAGE as error:
        raise _failure(where, error) from error


def find_images(tree: Tree, files: Sequence[ImageFile]) -> None:
    """Locate the images of files, or copy them. Raises TenchError for a damaged file and for a row without an image."""
    _announce(tree, [file for file in files if file.compressed], "compressed")
    for file in files:
        try:
            if file.compressed or not _find_in_place(tree, file):
                _spool(tree, file)
        except DAMAGE as error:
            raise _failure(file.where, error) from error


def _opened(
    file: "parquet.ParquetFile", name: str, where: str, keys: RecordKeys, file_bytes: int, limits: Limits
) -> ImageFile:
    metadata, columns = file.metadata, columns_of(file.schema_arrow, where, keys)
    image, label, leaf = columns.image, columns.label, columns.leaf
    number = next(number for number in range(metadata.num_columns) if metadata.schema.column(number).path == leaf)
    chunks = [metadata.row_group(group).column(number) for group in range(metadata.num_row_groups)]
    image_bytes = sum(chunk.total_uncompressed_size for chunk in chunks)
    _refuse_many_rows(metadata.num_rows, image_bytes, where, file_bytes, limits)
    refuse_bomb(file_bytes, image_bytes, where, limits)
    labels = _labels(file, label, "" if columns.text else NO_LABEL)
    paths: list[str | None] = [None] * len(labels)
    if columns.has_path:
        paths = _paths(file, image, where, limits)
    if {len(labels), len(paths)} != {metadata.num_rows}:
        raise TenchError(
            f"{where} has {metadata.num_rows:,} rows, but {len(labels):,} labels and {len(paths):,} paths. It is "
            "damaged. Copy it again."
        )
    return ImageFile(
        name=name,
        where=where,
        image=image,
        leaf=leaf,
        number=number,
        label=label,
        text=columns.text,
        class_names=columns.class_names,
        compressed=any(chunk.compression != "UNCOMPRESSED" for chunk in chunks),
        num_bytes=image_bytes,
        labels=labels,
        paths=paths,
    )


def _refuse_many_rows(num_rows: int, image_bytes: int, where: str, file_bytes: int, limits: Limits) -> None:
    """Raise TenchError for more rows than images are possible: billions of equal values take a few bytes."""
    believed = min(image_bytes, limits.inflation * file_bytes)
    if num_rows > limits.rows or num_rows > max(_SMALL_ROWS, believed):
        raise TenchError(
            f"{where} has {num_rows:,} rows, but its images take {image_bytes:,} bytes and the file {file_bytes:,}. "
            f"At most {limits.rows:,} rows of at least one byte are read. It is damaged, or has no images."
        )


def _labels(file: "parquet.ParquetFile", column: str, none: Any) -> list[Any]:
    """The labels by row; equal labels are one object."""
    found = list[Any]()
    for chunk in file.read(columns=[column]).column(column).chunks:
        coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        values = [none if value is None else value for value in coded.dictionary.to_pylist()] + [none]
        found += map(values.__getitem__, coded.indices.fill_null(-1).to_pylist())
    return found


def _paths(file: "parquet.ParquetFile", image: str, where: str, limits: Limits) -> list[str | None]:
    found = list[str | None]()
    for batch in file.iter_batches(_PATH_ROWS, columns=[f"{image}.path"]):
        paths = batch.column(0).flatten()[0].to_pylist()
        if longest := max((path for path in paths if path and len(path) > limits.name_bytes), key=len, default=None):
            raise TenchError(
                f"{where}: the path {shown(longest)} is too long; at most {limits.name_bytes:,} characters are read. "
                "Write the file again with shorter paths."
            )
        found += paths
    return found


def _parquet(stream: BinaryIO) -> "parquet.ParquetFile":
    from pyarrow import parquet

    # With a buffer, a column is read in pieces; without one, the whole column would be in memory.
    return parquet.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)


def _failure(where: str, error: Exception) -> TenchError:
    if isinstance(error, OSError) and error.errno is not None:  # for damage, Arrow raises OSError without a number
        return TenchError(f"{where}: cannot be read or copied ({error.strerror}: {error.filename}).")
    if isinstance(error, UnicodeDecodeError):
        return TenchError(f"{where} has a name or path that is not UTF-8 ({error.reason}). Write the file again.")
    first = str(error).partition("\n")[0].rstrip(".")[:_SHOWN]
    text = "".join(letter if letter.isprintable() else "?" for letter in first)
    return TenchError(f"{where}: cannot be read as Parquet ({text}). It is damaged or truncated. Copy it again.")


def _announce(tree: Tree, files: Sequence[ImageFile], why: str) -> None:
    """Check that there is room for copies of the files, and log their size."""
    if not files:
        return
    num_bytes = sum(file.num_bytes for file in files)
    require_space(_spooled(tree, files[0]), num_bytes, str(tree.source))
    _log.info(
        "%s: the images of %s are %s. Copying %.1f MB once to %s.",
        *(tree.source, counted(len(files), "file"), why, num_bytes / 1e6, tree.spool),
    )


def _spooled(tree: Tree, file: ImageFile) -> Path:
    return tree.spooled(file.name, "images")


def _spool(tree: Tree, file: ImageFile) -> None:
    path, offset = _spooled(tree, file), 0
    file.shard = str(path)
    with complete_file(path) as part, part.open("wb") as sink, tree.open(file.name) as stream:
        for _, images in _batches(_parquet(stream), file):
            for image in images:
                sink.write(image)
                file.offset.append(offset)
                offset += len(image)
            if offset > max(_SMALL_BYTES, _MAX_GROWTH * file.num_bytes):
                raise TenchError(
                    f"{file.where} claims that its images take {file.num_bytes:,} bytes, but they take more than "
                    f"{offset:,}. An image repeated this often is not a dataset, so the file is not copied."
                )
    tree.stamp[file.shard] = None


def _find_in_place(tree: Tree, file: ImageFile) -> bool:
    """Locate all images in the file itself; False if one is not stored in one piece."""
    position = tree.index(file.name)
    file.shard, start = tree.shards[int(tree.shard[position])], int(tree.offset[position])
    with tree.open(file.name) as stream, tree.open(file.name) as window:
        source = _parquet(stream)
        group, cursor, end = -1, 0, 0
        for of_group, images in _batches(source, file):
            if of_group != group:
                group, chunk = of_group, source.metadata.row_group(of_group).column(file.number)
                begins = (chunk.dictionary_page_offset, chunk.data_page_offset)
                cursor = min(offset for offset in begins if offset is not None)
                end = cursor + chunk.total_compressed_size
            window.seek(cursor)
            raw = window.read(min(end - cursor, sum(map(len, images)) + 4 * len(images) + _HEADER_BYTES))
            at = 0
            for image in images:
                at = _find(raw, image, at)
                if at < 0:
                    del file.offset[:], file.length[:]
                    _announce(tree, [file], "not in one piece each")
                    return False
                file.offset.append(start + cursor + at)
                at += len(image)
            cursor += at
    return True


def _find(raw: bytes, image: bytes, start: int) -> int:
    """The offset of an image in some bytes from `start` on, after its length; -1 if it is not there."""
    begins = len(image).to_bytes(4, "little") + image[:32]  # searching for the whole image would be slower than reading
    at = raw.find(begins, start)
    while at >= 0 and raw[at + 4 : at + 4 + len(image)] != image:
        at = raw.find(begins, at + 1)
    return at + 4 if at >= 0 else -1


def _batches(source: "parquet.ParquetFile", file: ImageFile) -> Iterator[tuple[int, list[bytes]]]:
    """The images of a file, a few at a time, with the number of their row group; lengths are added to the file."""
    for group in range(source.metadata.num_row_groups):
        for batch in source.iter_batches(_BATCH, row_groups=[group], columns=[file.leaf]):
            column = batch.column(0)
            images = (column.flatten()[0] if file.leaf != file.image else column).to_pylist()
            if not all(images):
                row = len(file.length) + [bool(image) for image in images].index(False)
                raise TenchError(
                    f"{file.row(row)} contains no image in {file.leaf!r}. Images that are only referred to by path "
                    "are not read. Write the file again with the images inside, or remove the row."
                )
            file.length.extend(map(len, images))
            yield group, images
