"""A small valid source of every layout, and an image of every format, as starting points for changes."""

import bz2
import dataclasses
import functools
import gzip
import io
import json
import lzma
import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_sample_image
from tests.data import miniature
from tests.support.tfrecords import masked_crc

SAMPLES = Path(__file__).parents[1] / "data/samples"

Borders = Callable[[bytes], list[int]]
Repair = Callable[[bytes], bytes]


@dataclasses.dataclass(frozen=True)
class Seed:
    """A source to change.

    open: the path to pass to tench, "." for the folder. files: all files, by path. changed: the files that are changed.
    borders: where the parts of a changed file begin. repair: makes checksums match again, so that a change gets past
    them. wrap: compresses the file after the changes.
    """

    open: str
    files: Mapping[str, bytes]
    changed: tuple[str, ...]
    borders: Borders = lambda data: []
    repair: Repair = lambda data: data
    wrap: Callable[[bytes], bytes] = lambda data: data


def _at(pattern: bytes) -> Borders:
    found = re.compile(pattern, re.DOTALL)
    return lambda data: [match.start() for match in found.finditer(data)]


def _tar_borders(data: bytes) -> list[int]:
    return [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]


_zip_borders = _at(rb"PK(?:\x01\x02|\x03\x04|\x05\x06)")
_jpeg_borders = _at(rb"\xff[\xc0-\xfe]")
_png_borders = _at(rb".{4}(?:IHDR|PLTE|tRNS|IDAT|IEND)")


def _repaired_tar(data: bytes) -> bytes:
    changed = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            total = sum(changed[at : at + 148]) + 8 * 32 + sum(changed[at + 156 : at + 512])
            changed[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(changed)


def _repaired_png(data: bytes) -> bytes:
    changed, at = bytearray(data), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        changed[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(changed)


def _record_borders(data: bytes) -> list[int]:
    found, at = [], 0
    while at + 16 <= len(data):
        found += [at, at + 12]
        at += 16 + int.from_bytes(data[at : at + 8], "little")
    return found


def _repaired_records(data: bytes) -> bytes:
    changed, at = bytearray(data), 0
    while at + 16 <= len(data):
        length = int.from_bytes(data[at : at + 8], "little")
        if at + 16 + length > len(data):
            break
        changed[at + 8 : at + 12] = masked_crc(data[at : at + 8])
        changed[at + 12 + length : at + 16 + length] = masked_crc(data[at + 12 : at + 12 + length])
        at += 16 + length
    return bytes(changed)


@functools.cache
def _photo() -> Image.Image:
    return Image.fromarray(load_sample_image("flower.jpg")).resize((60, 40))


@functools.cache
def encoded(kind: str = "JPEG", mode: str = "RGB", number: int = 0, **options: object) -> bytes:
    """A small photograph as an image file."""
    stream = io.BytesIO()
    _photo().crop((number, number, 34 + number, 27 + number)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _folders() -> dict[str, bytes]:
    return {
        f"{split}/{name}/{number}.jpg": encoded(number=number)
        for split in ("train", "val")
        for name in ("ant", "bee")
        for number in (1, 2)
    }


def _image(
    kind: str, mode: str = "RGB", borders: Borders = lambda data: [], repair: Repair = bytes, **options: object
) -> Seed:
    name = f"train/ant/x.{kind.lower()}"
    return Seed(".", _folders() | {name: encoded(kind, mode, **options)}, (name,), borders, repair)


def _tar(files: Mapping[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _zip(files: Mapping[str, bytes], compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _archive(name: str, data: bytes, borders: Borders, repair: Repair = lambda data: data, **more: object) -> Seed:
    return Seed(name, {name: data}, (name,), borders, repair, **more)  # type: ignore[arg-type]


def _wrapped_tar(suffix: str, compress: Callable[[bytes], bytes]) -> Seed:
    name = f"set.tar.{suffix}"
    return Seed(name, {name: _tar(_folders())}, (name,), _tar_borders, _repaired_tar, compress)


def _webdataset() -> Seed:
    members = {}
    for number in range(4):
        members[f"{number:04}.jpg"] = encoded(number=number)
        members[f"{number:04}.cls"] = str(number % 2).encode()
        members[f"{number:04}.json"] = json.dumps({"name": f"n{number}"}).encode()
    return _archive("train-000000.tar", _tar(members), _tar_borders, _repaired_tar)


def _tfrecord() -> Seed:
    files = {path.name: path.read_bytes() for path in sorted((SAMPLES / "tensorflow/official").iterdir())}
    return Seed(".", files, tuple(files), _record_borders, _repaired_records)


def _recordio() -> Seed:
    files = {path.name: path.read_bytes() for path in sorted((SAMPLES / "mxnet/photos").iterdir())}
    return Seed(".", files, tuple(files), _at(rb"\x0a\x23\xd7\xce"))


def _parquet() -> Seed:
    stream = io.BytesIO()
    images = [{"bytes": encoded(number=number), "path": f"{number}.jpg"} for number in range(6)]
    table = pa.table({"image": images, "label": pa.array([0, 1, 0, 1, 0, 1])})
    info = {
        "info": {"features": {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}}
    }
    table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, stream)
    name = "data/train-00000-of-00001.parquet"
    # The footer holds the structure. The last 8 bytes say how far before the end it begins.
    return Seed(".", {name: stream.getvalue()}, (name,), lambda data: [*range(max(0, len(data) - 1500), len(data), 20)])


def _listed(name: str, lines: bytes) -> Seed:
    files = {f"images/{number}.jpg": encoded(number=number) for number in range(4)} | {name: lines}
    return Seed(".", files, (name,), _at(rb"[\n,]"))


def _csv() -> Seed:
    rows = "".join(f"{number}.jpg,{'ant' if number % 2 else 'bee'}\n" for number in range(4))
    return _listed("train.csv", f"image,label\n{rows}".encode())


def _jsonl() -> Seed:
    rows = "".join(
        json.dumps({"image": f"images/{number}.jpg", "label": ("ant", "bee")[number % 2]}) + "\n" for number in range(4)
    )
    return _listed("train.jsonl", rows.encode())


def _lst() -> Seed:
    return _listed("train.lst", "".join(f"{n}\t{n % 2}\timages/{n}.jpg\n" for n in range(4)).encode())


def _idx(suffix: str = "", wrap: Callable[[bytes], bytes] = lambda data: data) -> Seed:
    images = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(6, 8, 8)
    files = {}
    for prefix in ("train", "t10k"):
        files[f"{prefix}-images-idx3-ubyte{suffix}"] = struct.pack(">4I", 2051, *images.shape) + images.tobytes()
        files[f"{prefix}-labels-idx1-ubyte{suffix}"] = struct.pack(">2I", 2049, 6) + bytes([0, 1, 2, 0, 1, 2])
    return Seed(".", files, tuple(files), lambda data: [0, 4, 8, 12, 16], wrap=wrap)


def _cifar_binary() -> Seed:
    record = bytes([3]) + bytes(range(256)) * 12
    files = {f"data_batch_{number}.bin": record * 2 for number in range(1, 6)} | {"test_batch.bin": record}
    files["batches.meta.txt"] = b"\n".join(b"class %d" % number for number in range(10))
    return Seed(".", files, ("data_batch_1.bin", "batches.meta.txt"), lambda data: [0, 3073])


def _cifar_pickle(protocol: int) -> Seed:
    def batch(count: int) -> bytes:
        data = np.arange(count * 3072, dtype=np.uint8).reshape(count, 3072)
        return pickle.dumps({"data": data, "fine_labels": [number % 100 for number in range(count)]}, protocol)

    names = [f"class {number}" for number in range(100)]
    files = {"meta": pickle.dumps({"fine_label_names": names}, protocol), "train": batch(3), "test": batch(2)}
    # Most of a batch is pixels; its structure is at the beginning and at the end.
    return Seed(
        ".", files, tuple(files), lambda data: [*range(0, 300, 10), *range(max(0, len(data) - 300), len(data), 10)]
    )


def _stl10() -> Seed:
    pixels = bytes(range(256)) * 108
    files = {"class_names.txt": b"\n".join(b"class%d" % number for number in range(10))}
    for split in ("train", "test"):
        files[f"{split}_X.bin"], files[f"{split}_y.bin"] = pixels * 2, bytes([1, 10])
    return Seed(".", files, tuple(files), lambda data: [0])


def _pixel_table() -> Seed:
    lines = ["label," + ",".join(f"pixel{number}" for number in range(64))]
    lines += [f"{number}," + ",".join(str(value + number) for value in range(64)) for number in range(3)]
    return _archive("train.csv", "\n".join(lines).encode(), _at(rb"[\n,]"))


def _npz(save: Callable[..., None]) -> Seed:
    stream = io.BytesIO()
    images, labels = np.arange(4 * 784, dtype=np.uint8).reshape(4, 28, 28), np.array([[0], [1], [1], [0]], np.uint8)
    save(stream, train_images=images, train_labels=labels, test_images=images[:2], test_labels=labels[:2])
    return _archive("set.npz", stream.getvalue(), lambda data: sorted({*_zip_borders(data), *_at(rb"\x93NUMPY")(data)}))


def _hdf5() -> Seed:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["images"] = np.arange(4 * 300, dtype=np.uint8).reshape(4, 10, 10, 3)
        file["labels"] = np.array([0, 1, 1, 0])
    return _archive("set.h5", stream.getvalue(), lambda data: [*range(0, min(len(data), 2048), 32)])


def _arrow() -> Seed:
    images = [{"bytes": encoded(number=number), "path": f"{number}.jpg"} for number in range(4)]
    table = pa.table({"image": images, "label": pa.array([0, 1, 0, 1])})
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    name = "train/data-00000-of-00001.arrow"
    return Seed(".", {name: stream.getvalue()}, (name,), lambda data: [*range(0, 800, 16), len(data) - 16])


def _svhn() -> Seed:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, {"X": np.ones((32, 32, 3, 2), np.uint8), "y": np.array([[1], [10]], np.uint8)})
    return _archive("train_32x32.mat", stream.getvalue(), lambda data: [*range(128, 220, 8), len(data) - 64])


def _devkit() -> Seed:
    files = {
        "ILSVRC2012_img_val.tar": _tar(miniature.flat("val")),
        "ILSVRC2012_img_train.tar": _tar({f"{wnid}.tar": miniature.class_tar(wnid) for wnid in miniature.CLASSES}),
        "ILSVRC2012_devkit_t12/data/meta.mat": miniature.meta_mat(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": miniature.ground_truth(),
    }
    changed = tuple(name for name in files if "devkit" in name)
    return Seed(".", files, changed, lambda data: [*range(128, min(len(data), 400), 8)])


def _tar_of_tars() -> Seed:
    data = _tar({f"{wnid}.tar": miniature.class_tar(wnid) for wnid in list(miniature.CLASSES)[:2]})
    return _archive("ILSVRC2012_img_train.tar", data, _tar_borders, _repaired_tar)


def _restarts() -> Seed:
    return _image("JPEG", borders=_jpeg_borders, quality=80, restart_marker_blocks=2)


def _classes_txt() -> Seed:
    return Seed(".", _folders() | {"classes.txt": b"ant\nbee\n"}, ("classes.txt",), _at(rb"\n"))


SEEDS: dict[str, Callable[[], Seed]] = {
    "folder with classes.txt": _classes_txt,
    "tar, pax": lambda: _archive("set.tar", _tar(_folders()), _tar_borders, _repaired_tar),
    "tar, GNU": lambda: _archive(
        "set.tar",
        _tar({f"{'d' * 120}/{k}": v for k, v in _folders().items()}, form=tarfile.GNU_FORMAT),
        _tar_borders,
        _repaired_tar,
    ),
    "tar of tars": _tar_of_tars,
    "tar.gz": lambda: _wrapped_tar("gz", gzip.compress),
    "tar.gz, compressed bytes": lambda: _archive("set.tar.gz", gzip.compress(_tar(_folders())), lambda data: [0]),
    "tar.xz, compressed bytes": lambda: _archive("set.tar.xz", lzma.compress(_tar(_folders())), lambda data: [0]),
    "tar.bz2, compressed bytes": lambda: _archive("set.tar.bz2", bz2.compress(_tar(_folders())), lambda data: [0]),
    "zip, stored": lambda: _archive("set.zip", _zip(_folders(), zipfile.ZIP_STORED), _zip_borders),
    "zip, deflated": lambda: _archive("set.zip", _zip(_folders(), zipfile.ZIP_DEFLATED), _zip_borders),
    "webdataset": _webdataset,
    "tfrecord": _tfrecord,
    "recordio": _recordio,
    "parquet": _parquet,
    "list, csv": _csv,
    "list, jsonl": _jsonl,
    "list, lst": _lst,
    "npz, stored": lambda: _npz(np.savez),
    "npz, deflated": lambda: _npz(np.savez_compressed),
    "hdf5": _hdf5,
    "arrow": _arrow,
    "mnist": _idx,
    "mnist, gzip": lambda: _idx(".gz", gzip.compress),
    "cifar, binary": _cifar_binary,
    "cifar, pickle 2": lambda: _cifar_pickle(2),
    "cifar, pickle 5": lambda: _cifar_pickle(5),
    "stl10": _stl10,
    "svhn": _svhn,
    "pixel table": _pixel_table,
    "devkit": _devkit,
    "jpeg, baseline": lambda: _image("JPEG", borders=_jpeg_borders, quality=80),
    "jpeg, progressive": lambda: _image("JPEG", borders=_jpeg_borders, progressive=True),
    "jpeg, restart markers": _restarts,
    "jpeg, CMYK": lambda: _image("JPEG", "CMYK", borders=_jpeg_borders),
    "jpeg, grey": lambda: _image("JPEG", "L", borders=_jpeg_borders),
    "png": lambda: _image("PNG", borders=_png_borders, repair=_repaired_png),
    "png, palette": lambda: _image("PNG", "P", borders=_png_borders, repair=_repaired_png),
    "png, grey with alpha": lambda: _image("PNG", "LA", borders=_png_borders, repair=_repaired_png),
    "gif": lambda: _image("GIF", "P", borders=_at(rb"[\x21\x2c]")),
    "webp": lambda: _image("WebP", borders=_at(rb"RIFF|VP8|WEBP")),
    "tiff": lambda: _image("TIFF", borders=_at(rb"II\*|[\x00\x01][\x01-\x02]\x03\x00"), compression="tiff_lzw"),
    "bmp": lambda: _image("BMP", borders=lambda data: [0, 14, 26]),
    "ppm": lambda: _image("PPM", borders=lambda data: [0, 3, 6]),
    "jpeg 2000": lambda: _image("JPEG2000", borders=_at(rb"\xff[\x4f-\x93]|jP|ihdr|jp2c")),
}
"""Functions that make a seed, by name. Every call makes a new, identical one."""
