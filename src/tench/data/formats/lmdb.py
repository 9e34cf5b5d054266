"""The records of an LMDB environment, read by the package lmdb in a child process.

A value is an image file (LSUN) or Caffe's Datum: pixels or an image file, with a label. LMDB does not expose the offset
of a value, so images are copied once into the cache. Pickled values (tuples of image and label, as some ImageNet
scripts write them) are refused: unpickling can run code. Caffe stores colours as BGR; they are copied as RGB.

Run as a program (`python -m tench.data.formats.lmdb FILE TARGET INDEX`), this module is the child.
Source: mdb.c of OpenLDAP (meta page); caffe.proto and tools/convert_imageset.cpp of Caffe.
"""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from tench.data.files.apart import RefusalError, answer_of, reply
from tench.data.files.spool import on_disk, spool_path
from tench.data.files.tree import Tree
from tench.data.formats.tfrecord import fields
from tench.data.images.image import format_of_start
from tench.errors import TenchError
from tench.files import complete_file, full_disk_names, require_space

_MAGIC_AT, _MAGIC = 16, b"\xde\xc0\xef\xbe"
"""Offset and value of the magic number, which follows the header of the first page."""

_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _ENCODED = 1, 2, 3, 4, 5, 7
"""Fields of a Datum."""
_MAX_SIDE = 65_535


def is_environment(head: bytes) -> bool:
    """Whether a file that begins with these 20 bytes is the data file of an LMDB environment."""
    return head[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC


@dataclasses.dataclass(frozen=True)
class LmdbImages:
    """The images of one environment, in `path`: one entry each in keys, offset, length, label.

    label: None if the values are plain image files. shape: (height, width, channels) of raw pixels, plane by plane;
    None for image files.
    """

    name: str
    where: str
    path: Path
    keys: list[str]
    offset: list[int]
    length: list[int]
    label: list[int] | None
    shape: tuple[int, int, int] | None


def open_environment(tree: Tree, name: str) -> LmdbImages:
    """Copy the images of an environment. name: its data file. Raises TenchError if lmdb is missing or fails."""
    where = tree.place(name)
    if importlib.util.find_spec("lmdb") is None:
        raise TenchError(f"{where} is an LMDB environment, which requires lmdb: pip install 'tench[interop]'")
    path, target, index = on_disk(tree, name), spool_path(tree, name, ".images"), spool_path(tree, name, ".index")
    num_bytes = path.stat().st_size
    require_space(target, num_bytes, where)
    answer = answer_of(__name__, [str(path), str(target), str(index)], where, num_bytes=num_bytes)
    tree.stamp[str(target)] = None
    with pa.OSFile(str(index)) as file:
        table = pa.ipc.open_file(file).read_all()
    index.unlink()
    columns = {column: table.column(column).to_pylist() for column in ("key", "offset", "length", "label")}
    return LmdbImages(
        name=name,
        where=where,
        path=target,
        keys=columns["key"],
        offset=columns["offset"],
        length=columns["length"],
        label=columns["label"] if answer["datum"] else None,
        shape=tuple(answer["shape"]) if answer["shape"] else None,
    )


def _copy(path: str, target: str, index: str) -> dict[str, Any]:
    import lmdb

    keys, offsets, lengths, labels = list[str](), list[int](), list[int](), list[int]()
    shapes: set[tuple[int, int, int] | None] = set()
    kinds = set()
    size = Path(path).stat().st_size
    environment = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=True, max_readers=1)
    with complete_file(Path(target)) as part, part.open("wb") as sink, environment.begin(buffers=False) as transaction:
        at = 0
        for key, value in transaction.cursor():
            name = key.decode("utf-8", "backslashreplace")
            image, label, shape = _parsed(name, value)
            kinds.add(label is None)
            shapes.add(shape)
            if len(kinds) > 1 or len(shapes) > 1:
                raise RefusalError(f"record {name!r} differs in kind or size from the previous ones.")
            sink.write(image)
            keys.append(name)
            offsets.append(at)
            lengths.append(len(image))
            labels.append(-1 if label is None else label)
            at += len(image)
            if at > size:  # pages of a damaged tree can form a cycle
                raise RefusalError("its records have more bytes in total than the file. It is damaged. Copy it again.")
    if not keys:
        raise RefusalError("the environment contains no records.")
    table = pa.table({"key": keys, "offset": offsets, "length": lengths, "label": labels})
    with full_disk_names(index), pa.OSFile(index, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return {"datum": kinds == {False}, "shape": shapes.pop()}


def _parsed(name: str, value: bytes) -> tuple[bytes, int | None, tuple[int, int, int] | None]:
    """(image, label, shape) of a value; see LmdbImages."""
    if format_of_start(value[:16]):
        return value, None, None
    if value[:1] == b"\x80" and value[-1:] == b".":
        raise RefusalError(
            f"record {name!r} is a Python pickle, and loading one can run code, so it is not read. Use the script that "
            "created the environment to write its images as files into class folders."
        )
    datum = _datum(value)
    if datum is None:
        raise RefusalError(
            f"record {name!r} is neither an image file nor a Caffe Datum; it begins with {value[:12]!r}. Write the "
            "images as files into class folders."
        )
    return datum


def _datum(value: bytes) -> tuple[bytes, int, tuple[int, int, int] | None] | None:
    """A Caffe Datum, None if it is anything else."""
    numbers: dict[int, int] = {}
    data = b""
    try:
        for number, wire, start, stop, varint in fields(value):
            if number == _DATA and wire == 2:
                data = value[start:stop]
            elif wire == 0 and number <= _ENCODED:
                numbers[number] = varint
    except ValueError:
        return None
    label = numbers.get(_LABEL, 0)
    label = label - 2**64 if label >= 2**63 else label
    if data and (numbers.get(_ENCODED) or format_of_start(data[:16])):
        return data, label, None
    channels, height, width = (numbers.get(field, 0) for field in (_CHANNELS, _HEIGHT, _WIDTH))
    if channels not in (1, 3) or not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        return None
    if len(data) != channels * height * width:
        return None
    plane = height * width
    planes = [data[plane * number : plane * (number + 1)] for number in range(channels)]
    return b"".join(reversed(planes)), label, (height, width, channels)


if __name__ == "__main__":
    reply(lambda: _copy(*sys.argv[1:]), "LMDB")
