"""The byte ranges of images in an Arrow IPC file: the stream of Hugging Face's `save_to_disk`, or the file form.

Arrow stores the bytes of a column contiguously, so images are addressed in place unless the file is compressed or the
images are dictionary-encoded; then they are copied once into the cache. While the table is built, a file on disk is
mapped, so that only offsets and labels are read; afterwards it is read like any other.
Source: Columnar.md of Apache Arrow (IPC streaming and file format).
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tench.data.files.spool import on_disk, spool_path
from tench.data.files.tree import Tree
from tench.data.formats.columns import NO_LABEL, Columns, ImageFile, columns_of
from tench.errors import TenchError
from tench.files import complete_file, require_space

FILE_MAGIC, STREAM_MAGIC = b"ARROW1", b"\xff\xff\xff\xff"
_FILE_HEAD_BYTES = 8
"""The magic of the file form; a stream follows it."""

_log = logging.getLogger("tench")


def begins_as_arrow(head: bytes) -> bool:
    """Whether a file that begins with these 6 bytes is an Arrow stream or file."""
    return head.startswith((FILE_MAGIC, STREAM_MAGIC))


def schema_of(tree: Tree, name: str) -> Any:
    """The schema of a file. Raises pa.ArrowException or OSError if it has none."""
    with tree.open(name) as file:
        file.seek(_FILE_HEAD_BYTES if file.read(len(FILE_MAGIC)) == FILE_MAGIC else 0)
        return pa.ipc.read_schema(pa.PythonFile(file, mode="r"))


def open_file(tree: Tree, name: str) -> ImageFile:
    """A file with its labels and the byte ranges of its images. Raises TenchError if it is damaged or lacks the
    columns."""
    where = tree.place(name)
    path = on_disk(tree, name)
    try:
        with pa.memory_map(str(path)) as mapped:
            return _opened(tree, name, path, mapped, where)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        first = str(error).partition("\n")[0].rstrip(".")
        raise TenchError(
            f"{where}: cannot be read as Arrow ({first}). It is damaged or truncated. Copy it again."
        ) from error


def found_already(tree: Tree, files: Sequence[ImageFile]) -> None:
    """Do nothing: the images of Arrow files are located when the files are opened."""


def _opened(tree: Tree, name: str, path: Path, mapped: Any, where: str) -> ImageFile:
    base = mapped.read_buffer(1).address if mapped.size() else 0
    mapped.seek(0)
    if mapped.read(len(FILE_MAGIC)) == FILE_MAGIC:
        mapped.seek(_FILE_HEAD_BYTES)
    else:
        mapped.seek(0)
    reader = pa.ipc.open_stream(mapped)
    columns = columns_of(reader.schema, where, tree.options.record_keys())
    file = ImageFile(
        name=name,
        where=where,
        image=columns.image,
        leaf=columns.leaf,
        number=-1,
        label=columns.label,
        text=columns.text,
        class_names=columns.class_names,
        compressed=False,
        num_bytes=mapped.size(),
        labels=[],
        paths=[],
        shard=str(path),
    )
    in_place = _places(reader, file, columns, base, mapped.size())
    if not in_place:
        mapped.seek(_FILE_HEAD_BYTES if mapped.read_at(len(FILE_MAGIC), 0) == FILE_MAGIC else 0)
        _spool(tree, file, columns, pa.ipc.open_stream(mapped))
    return file


def _places(reader: Any, file: ImageFile, columns: Columns, base: int, size: int) -> bool:
    """Add all rows with the byte ranges of their images; False if these cannot be addressed in the file."""
    for batch in _batches(reader, columns):
        _add_labels(file, columns, batch)
        leaf = _leaf(batch.column(columns.image), columns)
        _, offsets_buffer, data = leaf.buffers()
        kind = np.dtype(np.int64 if pa.types.is_large_binary(leaf.type) else np.int32)
        offsets = np.frombuffer(offsets_buffer, kind, len(leaf) + 1, leaf.offset * kind.itemsize).astype(np.int64)
        start = data.address - base if data is not None else 0
        if len(leaf) and not 0 <= start <= size - int(offsets[-1]):
            file.labels.clear()
            file.paths.clear()
            del file.offset[:], file.length[:]
            return False  # decompressed into memory
        lengths = np.diff(offsets)
        _refuse_missing(file, leaf, lengths)
        file.offset.extend((start + offsets[:-1]).tolist())
        file.length.extend(lengths.tolist())
    return True


def _spool(tree: Tree, file: ImageFile, columns: Columns, reader: Any) -> None:
    target = spool_path(tree, file.name, ".images")
    require_space(target, file.num_bytes, file.where)
    _log.info("%s is compressed. Copying its images once to %s.", file.where, target)
    file.shard = str(target)
    offset = 0
    with complete_file(target) as part, part.open("wb") as sink:
        for batch in _batches(reader, columns):
            _add_labels(file, columns, batch)
            leaf = _leaf(batch.column(columns.image), columns)
            _refuse_missing(file, leaf, np.array([len(image or b"") for image in leaf.to_pylist()]))
            for image in leaf.to_pylist():
                sink.write(image)
                file.offset.append(offset)
                file.length.append(len(image))
                offset += len(image)
    tree.stamp[str(target)] = None


def _batches(reader: Any, columns: Columns) -> Iterator[Any]:
    for batch in reader:
        taken = batch.select([columns.image, columns.label])
        taken.validate(full=True)  # offsets of a damaged file can point anywhere
        yield taken


def _leaf(column: Any, columns: Columns) -> Any:
    return column.flatten()[column.type.get_field_index("bytes")] if columns.leaf != columns.image else column


def _add_labels(file: ImageFile, columns: Columns, batch: Any) -> None:
    none = "" if columns.text else NO_LABEL
    file.labels.extend(none if label is None else label for label in batch.column(columns.label).to_pylist())
    image = batch.column(columns.image)
    if columns.has_path:
        file.paths.extend(image.flatten()[image.type.get_field_index("path")].to_pylist())
    else:
        file.paths.extend([None] * len(image))


def _refuse_missing(file: ImageFile, leaf: Any, lengths: Any) -> None:
    absent = (lengths == 0) | np.array(leaf.is_null().to_numpy(zero_copy_only=False), bool)
    if absent.any():
        row = len(file.length) + int(absent.argmax())
        raise TenchError(
            f"{file.row(row)} contains no image in {file.leaf!r}. Images that are only referred to by path are not "
            "read. Write the file again with the images inside, or remove the row."
        )
