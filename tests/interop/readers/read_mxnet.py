"""Print as JSON what MXNet reads from record files and lists.

    python read_mxnet.py FILE... [--pixels FILE.npy SIDE WIDTH]

Output: {file: {"in turn": [...], "by key": {...}, "rewritten": ..., "lines": {...}}}

in turn: the records as MXRecordIO finds them one after the other. by key: the records as MXIndexedRecordIO finds them
by the keys of the `.idx`. rewritten: the SHA-256 of the file that MXNet writes from them. lines: the `.lst` as read by
im2rec.py; a FILE.lst has only these. With --pixels, {"iterated": [...]} is added: WIDTH labels for each image, as one
ImageRecordIter over all files returns them. Its pixels, SIDE x SIDE, are written to FILE.npy.
"""

import argparse
import hashlib
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

IM2REC = Path(mx.__file__).parent / "tools/im2rec.py"


def described(payload: bytes) -> dict[str, object]:
    header, image = mx.recordio.unpack(payload)
    labels = np.atleast_1d(header.label).tolist()
    return {"id": header.id, "labels": labels, "flag": header.flag, "sha256": hashlib.sha256(image).hexdigest()}


def in_turn(file: str) -> list[dict[str, object]]:
    found = []
    records = mx.recordio.MXRecordIO(file, "r")
    while (payload := records.read()) is not None:
        found.append(described(payload))
    return found


def rewritten(file: str) -> str:
    """The SHA-256 of what MXNet writes for these records, which depends on how it splits them into parts."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.rec"
        records, written = mx.recordio.MXRecordIO(file, "r"), mx.recordio.MXRecordIO(str(copy), "w")
        while (payload := records.read()) is not None:
            written.write(payload)
        written.close()
        return hashlib.sha256(copy.read_bytes()).hexdigest()


def by_key(file: Path) -> dict[int, dict[str, object]]:
    records = mx.recordio.MXIndexedRecordIO(str(file.with_suffix(".idx")), str(file), "r")
    return {key: described(records.read_idx(key)) for key in sorted(records.keys)}


def lines(file: Path) -> dict[int, list[object]]:
    """{id: [path, labels]} from a list."""
    spec = importlib.util.spec_from_file_location("im2rec", IM2REC)
    assert spec is not None
    assert spec.loader is not None
    im2rec = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(im2rec)
    return {number: [path, labels] for number, path, *labels in im2rec.read_list(str(file))}


def iterated(files: list[Path], side: int, width: int) -> tuple[list[Any], Any]:
    """(labels, pixels) of all images: (N) or (N, width) float32 and (N, 3, side, side) uint8, RGB."""
    batches = mx.io.ImageRecordIter(
        path_imgrec=";".join(map(str, files)),
        path_imgidx=str(files[0].with_suffix(".idx")) if len(files) == 1 else "",  # it accepts only one index
        data_shape=(3, side, side),
        label_width=width,
        batch_size=1,
        dtype="uint8",
        preprocess_threads=1,
    )
    found = [(batch.label[0].asnumpy()[0].tolist(), batch.data[0].asnumpy()[0]) for batch in batches]
    labels, pixels = zip(*found)  # noqa: B905 - also for Python 3.8
    return list(labels), np.stack(pixels)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--pixels", nargs=3, metavar=("FILE", "SIDE", "WIDTH"))
    asked = parser.parse_args()
    answer: dict[str, Any] = {}
    for file in asked.files:
        answer[str(file)] = {"lines": lines(file.with_suffix(".lst"))}
        if file.suffix == ".rec":
            answer[str(file)].update(
                {"in turn": in_turn(str(file)), "by key": by_key(file), "rewritten": rewritten(str(file))}
            )
    if asked.pixels:
        answer["iterated"], pixels = iterated(asked.files, int(asked.pixels[1]), int(asked.pixels[2]))
        np.save(asked.pixels[0], pixels)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
