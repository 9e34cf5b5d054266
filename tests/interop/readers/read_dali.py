"""Print as JSON what the readers of NVIDIA DALI find on the CPU: python read_dali.py KIND ARGUMENT...

    tfrecord FILE...             with an index made here in the way of DALI's tfrecord2idx
    mxnet FILE.rec
    webdataset SUFFIXES FILE...  SUFFIXES of images, such as jpg;png
    list ROOT FILE               a file of lines `path label`

Output: [{"sha256": of the stored bytes, "label": ..., "shape": of the decoded image, "mean": colour}], in file order.
"""

import hashlib
import json
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nvidia.dali.tfrecord as tfrec
from nvidia.dali import Pipeline, fn


def tfrecord(*files: str) -> tuple[Any, Any]:
    folder = Path(tempfile.mkdtemp())
    indexes = []
    for number, file in enumerate(files):
        indexes.append(folder / str(number))
        indexes[-1].write_text("".join(f"{offset} {size}\n" for offset, size in frames(Path(file).read_bytes())))
    features = {
        "image/encoded": tfrec.FixedLenFeature((), tfrec.string, ""),
        "image/class/label": tfrec.FixedLenFeature([1], tfrec.int64, -2),
    }
    read = fn.readers.tfrecord(
        path=list(files), index_path=[str(index) for index in indexes], features=features, name="reader"
    )
    return read["image/encoded"], read["image/class/label"]


def frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of each record of a TFRecord file, including its length and checksums."""
    offset = 0
    while offset < len(data):
        size = 8 + 4 + struct.unpack_from("<Q", data, offset)[0] + 4
        yield offset, size
        offset += size


def mxnet(file: str) -> tuple[Any, Any]:
    index = str(Path(file).with_suffix(".idx"))  # DALI supports only one file here
    encoded, label = fn.readers.mxnet(path=[file], index_path=[index], name="reader")
    return encoded, label


def webdataset(suffixes: str, *files: str) -> tuple[Any, Any]:
    encoded, label = fn.readers.webdataset(
        paths=list(files), ext=[suffixes, "cls"], missing_component_behavior="error", name="reader"
    )
    return encoded, label


def listed(root: str, file: str) -> tuple[Any, Any]:
    encoded, label = fn.readers.file(file_root=root, file_list=file, name="reader")
    return encoded, label


KINDS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "tfrecord": tfrecord,
    "mxnet": mxnet,
    "webdataset": webdataset,
    "list": listed,
}


def label_of(data: Any) -> float:
    """The text of a `.cls`, or a number."""
    return float(bytes(data)) if data.dtype == "uint8" else float(data.reshape(-1)[0])


def main(kind: str, *arguments: str) -> None:
    pipeline = Pipeline(batch_size=1, num_threads=1, device_id=None)
    with pipeline:
        encoded, label = KINDS[kind](*arguments)
        pipeline.set_outputs(encoded, label, fn.decoders.image(encoded, device="cpu"))
    pipeline.build()
    found = []
    for _ in range(pipeline.epoch_size("reader")):
        stored, label, pixels = (part.at(0) for part in pipeline.run())
        digest = hashlib.sha256(bytes(stored)).hexdigest()
        mean = pixels.mean(axis=(0, 1)).tolist()
        found.append({"sha256": digest, "label": label_of(label), "shape": list(pixels.shape), "mean": mean})
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
