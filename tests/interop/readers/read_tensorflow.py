"""Print as JSON what TensorFlow reads from TFRecord files: python read_tensorflow.py FILE...

The files are read with tf.data and parse_single_example, with the keys of Slim and of the official converter. Keys that
every image has are without a default, so a missing one is an error. TensorFlow verifies both checksums of a record.
Output: {file: {"records": [...], "error": the error at which TensorFlow stops}}
"""

import hashlib
import json
import sys
from typing import Any

import tensorflow as tf

SIDES = ("xmin", "ymin", "xmax", "ymax")
KEYS = {
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
    "image/format": tf.io.FixedLenFeature((), tf.string),
    "image/filename": tf.io.FixedLenFeature((), tf.string),
    "image/colorspace": tf.io.FixedLenFeature((), tf.string),
    "image/height": tf.io.FixedLenFeature((), tf.int64),
    "image/width": tf.io.FixedLenFeature((), tf.int64),
    "image/channels": tf.io.FixedLenFeature((), tf.int64),
    "image/class/label": tf.io.FixedLenFeature((), tf.int64),
    "image/class/synset": tf.io.FixedLenFeature((), tf.string, ""),
    "image/class/text": tf.io.FixedLenFeature((), tf.string, ""),
    **{f"image/object/bbox/{side}": tf.io.VarLenFeature(tf.float32) for side in SIDES},
    "image/object/bbox/label": tf.io.VarLenFeature(tf.int64),
}


def decoded(encoded: Any) -> Any:
    """(height, width, 3) uint8, decoded as by the official readers, but with the inverse transform that others use."""
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def described(found: dict[str, Any]) -> dict[str, object]:
    pixels = decoded(found["image/encoded"]).numpy()
    boxes = [tf.sparse.to_dense(found[f"image/object/bbox/{side}"]).numpy().tolist() for side in SIDES]
    return {
        "sha256": hashlib.sha256(found["image/encoded"].numpy()).hexdigest(),
        "shape": list(pixels.shape),
        "mean": pixels.mean(axis=(0, 1)).tolist(),
        "boxes": [list(box) for box in zip(*boxes, strict=True)],
        "labels of boxes": tf.sparse.to_dense(found["image/object/bbox/label"]).numpy().tolist(),
        **{
            key.removeprefix("image/"): value.decode() if isinstance(value := found[key].numpy(), bytes) else int(value)
            for key, kind in KEYS.items()
            if isinstance(kind, tf.io.FixedLenFeature) and key != "image/encoded"
        },
    }


def read(file: str) -> dict[str, object]:
    records = []
    try:
        for found in tf.data.TFRecordDataset(file).map(lambda record: tf.io.parse_single_example(record, KEYS)):
            records.append(described(found))
    except tf.errors.DataLossError as error:
        return {"records": records, "error": error.message}
    return {"records": records, "error": None}


if __name__ == "__main__":
    print(json.dumps({file: read(file) for file in sys.argv[1:]}))
