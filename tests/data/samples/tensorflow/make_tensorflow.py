"""Write the files in this folder with TensorFlow, from crops of scikit-learn's photographs, and what TensorFlow reads.

Run `python make_tensorflow.py` with a Python that has tensorflow (or tensorflow-cpu), pillow and scikit-learn. The keys
of `official` are those of imagenet_to_gcs.py, of `slim` those of build_imagenet_data.py, and of `tfds` those that
TensorFlow Datasets writes for imagenet2012. truth.json contains, for each file, its records as TensorFlow's own reader
and protobuf classes return them: {key: [kind, values]}, bytes as text, or as SHA-256 if they are not a short text."""

import hashlib
import io
import json
from pathlib import Path

import sklearn  # type: ignore[import-untyped,unused-ignore]
import tensorflow as tf  # type: ignore[import-not-found,import-untyped,unused-ignore]
from PIL import Image

HERE = Path(__file__).parent
PHOTOS = Path(sklearn.__file__).parent / "datasets/images"
CLASSES = {
    "n04417672": ("thatch, thatched roof", "china.jpg", 180, 60),
    "n09332890": ("lakeside, lakeshore", "china.jpg", 30, 330),
    "n11939491": ("daisy", "flower.jpg", 190, 120),
}
"""Classes of ImageNet, and crops that look somewhat like them: file, left, top."""


def crop(wnid: str, number: int) -> tuple[bytes, int, int]:
    """(JPEG, height, width) of one crop; the first daisy is large, the others have about a kilobyte."""
    _, file, left, top = CLASSES[wnid]
    width, height = (120, 96) if (wnid, number) == ("n11939491", 0) else (24 + 7 * number, 45 - 6 * number)
    box = (left + 9 * number, top + 3 * number, left + 9 * number + width, top + 3 * number + height)
    stream = io.BytesIO()
    with Image.open(PHOTOS / file) as photo:
        photo.crop(box).save(stream, "JPEG", quality=60)
    return stream.getvalue(), height, width


def feature(*values: object) -> tf.train.Feature:
    """A feature of ints, floats or bytes. No values make an empty list of floats."""
    if values and isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def example(features: dict[str, tf.train.Feature]) -> bytes:
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def official(wnid: str, file: str, number: int) -> dict[str, tf.train.Feature]:
    data, height, width = crop(wnid, number)
    return {
        "image/height": feature(height),
        "image/width": feature(width),
        "image/colorspace": feature(b"RGB"),
        "image/channels": feature(3),
        "image/class/label": feature(1 + sorted(CLASSES).index(wnid)),
        "image/class/synset": feature(wnid.encode()),
        "image/format": feature(b"JPEG"),
        "image/filename": feature(file.encode()),
        "image/encoded": feature(data),
    }


def slim(wnid: str, file: str, number: int) -> dict[str, tf.train.Feature]:
    label = 1 + sorted(CLASSES).index(wnid)
    boxes = [(0.125, 0.25, 0.5 + 0.1 * index, 0.75) for index in range(number if file.startswith("n") else 0)]
    sides = {name: [box[index] for box in boxes] for index, name in enumerate(("xmin", "ymin", "xmax", "ymax"))}
    return official(wnid, file, number) | {
        "image/class/text": feature(CLASSES[wnid][0].encode()),
        **{f"image/object/bbox/{name}": feature(*values) for name, values in sides.items()},
        "image/object/bbox/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label] * len(boxes))),
    }


def tfds(wnid: str, file: str, number: int) -> dict[str, tf.train.Feature]:
    return {
        "image": feature(crop(wnid, number)[0]),
        "label": feature(sorted(CLASSES).index(wnid)),
        "file_name": feature(file.encode()),
    }


def images(split: str) -> list[tuple[str, str, int]]:
    """(class, file name, number) of each image of a split, with the classes mixed."""
    if split == "train":
        return [(wnid, f"{wnid}_{10 * number + 7}.JPEG", number) for number in (1, 0, 2) for wnid in sorted(CLASSES)]
    return [(wnid, f"ILSVRC2012_val_{index:08}.JPEG", 3) for index, wnid in enumerate(sorted(CLASSES, reverse=True), 1)]


def write(name: str, payloads: list[bytes], compression: str = "") -> None:
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for payload in payloads:
            writer.write(payload)
    records = tf.data.TFRecordDataset(str(path), compression_type=compression)
    TRUTH[name] = [{key: shown(found) for key, found in read(record.numpy()).items()} for record in records]


def read(payload: bytes) -> dict[str, tf.train.Feature]:
    return dict(sorted(tf.train.Example.FromString(payload).features.feature.items()))


def shown(found: tf.train.Feature) -> list[object]:
    kind = found.WhichOneof("kind")
    values = list(getattr(found, kind).value) if kind else []
    if kind == "bytes_list":
        values = [value.decode() if len(value) < 64 else hashlib.sha256(value).hexdigest() for value in values]
    return [kind, values]


def odd() -> list[bytes]:
    """Examples written byte by byte, as other writers may write them. TensorFlow reads these too."""

    def field(number: int, data: bytes) -> bytes:
        assert len(data) < 128
        return bytes([number << 3 | 2, len(data)]) + data

    def entry(key: bytes, value: bytes) -> bytes:
        return field(1, field(1, key) + field(2, value))

    minus_two = b"\xfe" + b"\xff" * 8 + b"\x01"
    unknown = b"\x98\x06\x05" + b"\x9d\x06abcd" + b"\xa1\x06abcdefgh" + field(14, b"?")  # fields 99 to 101, 99, 14
    value_first = field(1, field(2, field(1, field(1, b"x.jpg"))) + field(1, b"file_name"))
    entries = [
        entry(b"packed", field(3, field(1, b"\x05\x80\x01" + minus_two))),
        entry(b"unpacked", field(3, b"\x08\x05\x08\x80\x01\x08" + minus_two)),
        entry(b"both", field(3, b"\x08\x07" + field(1, b"\x08\x09") + b"\x08\x0a")),
        entry(b"floats", field(2, b"\x0d\x00\x00\x80\x3f" + field(1, b"\x00\x00\x00\xc0\x00\x00\x00\x3f"))),
        entry(b"in two parts", field(3, b"\x08\x01") + field(3, b"\x08\x02")),
        entry(b"the last kind", field(3, b"\x08\x01") + field(1, field(1, b"text"))),
        entry(b"empty list", field(3, b"")),
        entry(b"no kind", b""),
        entry(b"twice", field(3, b"\x08\x01")) + entry(b"twice", field(3, b"\x08\x02")),
        entry(b"with unknown", unknown + field(3, unknown + b"\x08\x03")),
        entry(b"", field(3, b"\x08\x04")),
        field(1, field(1, b"no value")),
        value_first,
        unknown,
    ]
    whole = b"".join(field(1, part) for part in entries)  # Example.features in many parts, which readers join
    return [b"", field(1, b""), unknown, whole]


def main() -> None:
    for name, keys in (("official", official), ("slim", slim)):
        examples = [example(keys(*image)) for image in images("train")]
        write(f"{name}/train-00000-of-00002", examples[:5])
        write(f"{name}/train-00001-of-00002", examples[5:])
        write(f"{name}/validation-00000-of-00001", [example(keys(*image)) for image in images("validation")])
    for split in ("train", "validation"):
        examples = [example(tfds(*image)) for image in images(split)]
        write(f"tfds/photos-{split}.tfrecord-00000-of-00001", examples)
    unlabelled = [tfds(wnid, f"test_{number}.JPEG", 3) | {"label": feature(-1)} for number, wnid in enumerate(CLASSES)]
    write("tfds/photos-test.tfrecord-00000-of-00001", [example(one) for one in unlabelled])
    (HERE / "tfds/label.labels.txt").write_text("".join(f"{wnid}\n" for wnid in sorted(CLASSES)))
    write("packed/train.tfrecord.gz", [example(official(*image)) for image in images("train")[::2]], "GZIP")
    write("packed/validation.tfrecord.zlib", [example(official(*image)) for image in images("validation")], "ZLIB")
    write("odd.tfrecord", odd())
    lines = [f"{json.dumps(name)}: {json.dumps(records, separators=(',', ':'))}" for name, records in TRUTH.items()]
    (HERE / "truth.json").write_text("{" + ",\n".join(lines) + "}\n")


TRUTH: dict[str, list[dict[str, list[object]]]] = {}

if __name__ == "__main__":
    main()
